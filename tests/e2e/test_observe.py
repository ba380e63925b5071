"""`make run ARGS=--observe`: Prometheus reads the running services, with the project's rules."""

import io
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from deploy.local import observe
from deploy.local.console import Console
from deploy.local.stack import SERVICES, Stack
from tests.support.waiting import until


async def _asked(url: str, path: str, **query: str) -> Any:
    async with httpx2.AsyncClient(base_url=url, timeout=10.0) as http:
        return (await http.get(f"/api/v1/{path}", params=query)).json()["data"]


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed (Debian: prometheus)")
async def test_prometheus_reads_every_service_and_knows_the_rules(stack: Stack, tmp_path: Path) -> None:
    async with observe.prometheus(stack.metrics, tmp_path, Console(io.StringIO())) as url:
        assert url.startswith("http://127.0.0.1:")

        async def up() -> bool:
            found = (await _asked(url, "query", query="up"))["result"]
            return {each["metric"]["service"]: each["value"][1] for each in found} == dict.fromkeys(SERVICES, "1")

        await until(up, seconds=40, what="a scrape of each service")
        groups = (await _asked(url, "rules"))["groups"]
        wanted = yaml.safe_load(observe.RULES.read_text(encoding="utf-8"))["groups"]
        assert {group["name"]: len(group["rules"]) for group in groups} == {
            group["name"]: len(group["rules"]) for group in wanted
        }
        latency = (await _asked(url, "query", query="count by (service) (rpc_server_duration_ms_count)"))["result"]
        assert {each["metric"]["service"] for each in latency} == set(SERVICES)


async def test_where_it_is_not_installed_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    printed = io.StringIO()
    async with observe.prometheus({"node": "127.0.0.1:1"}, tmp_path / "data", Console(printed)) as url:
        assert url == ""
    [line] = printed.getvalue().splitlines()
    assert observe.MISSING in line
    assert not (tmp_path / "data").exists()
