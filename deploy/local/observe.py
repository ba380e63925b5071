"""Starts Prometheus beside a running stack: the services' metrics with the rules of deploy/prometheus, on loopback.

The stack does not need it: where Prometheus is not installed, or does not start, the services go on without it.
"""

import asyncio
import contextlib
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from deploy.local import processes, stores
from deploy.local.console import Console

# As Prometheus's own port: 9090 beside 50051 to 50054.
USUAL_PORT = 9090
RULES = stores.ROOT / "deploy" / "prometheus" / "rules.yaml"
MISSING = "Prometheus is not installed (Debian: apt install prometheus): nothing reads the metrics here"
_SCRAPE_SECONDS = 5
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0


def config(metrics: Mapping[str, str]) -> dict[str, Any]:
    """The configuration for these services (context -> host:port of GET /metrics), labelled as in Kubernetes."""
    seconds = f"{_SCRAPE_SECONDS}s"
    targets = [{"targets": [address], "labels": {"service": name}} for name, address in metrics.items()]
    return {
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "brain2", "static_configs": targets}],
    }


@contextlib.asynccontextmanager
async def prometheus(metrics: Mapping[str, str], data: Path, console: Console) -> AsyncIterator[str]:
    """The address of a Prometheus that is ready; "", and a printed line, when none is installed or it does not start.

    metrics: context -> host:port of GET /metrics. data: the folder of the stack; it keeps the samples of a day.
    """
    program = shutil.which("prometheus")
    if program is None:
        console.step(MISSING)
        yield ""
        return
    folder = data / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    # YAML of Prometheus is a superset of JSON.
    (folder / "prometheus.json").write_text(json.dumps(config(metrics), indent=2) + "\n", encoding="utf-8")
    port = USUAL_PORT if processes.is_free(USUAL_PORT) else processes.free_ports(1)[0]
    child = await processes.start(
        "prometheus",
        (
            program,
            f"--config.file={folder / 'prometheus.json'}",
            f"--storage.tsdb.path={folder / 'samples'}",
            "--storage.tsdb.retention.time=1d",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ),
        env={"PATH": os.environ.get("PATH", "")},
        on_line=console.log,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        if await _is_ready(child, url):
            yield url
        else:
            console.step(f"{child.obituary()}; the services do not need it")
            yield ""
    finally:
        await child.stop(_STOP_SECONDS)


async def _is_ready(child: processes.Child, url: str) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            while not child.ended.done():
                if await asyncio.to_thread(_asked, url):
                    return True
                await asyncio.wait({child.ended}, timeout=0.1)
    return False


def _asked(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1.0) as answer:  # noqa: S310 - our own http URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
