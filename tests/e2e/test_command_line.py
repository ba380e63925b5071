"""`make run` and `make demo` as a person uses them: real processes, grpcurl with reflection, Ctrl-C."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local import stack
from deploy.local.stores import ROOT
from tests.support.waiting import PATIENCE, until

# A stack is started, toured and stopped.
pytestmark = pytest.mark.timeout(300)
_BIN = Path(sys.executable).parent


# What a shell may hold for other programs.
_SHELL = {
    **os.environ,
    "http_proxy": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "BRAIN2_HEALTH_LISTEN": "127.0.0.1:9",
}


@contextlib.asynccontextmanager
async def launched(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """`python -m deploy.local up`, running; its output so far."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", "up", "--data", str(data), "--free-ports", "--niceness", "0",
        cwd=ROOT, env=_SHELL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    lines: list[str] = []

    async def collect() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            lines.append(line.decode())

    reading = asyncio.create_task(collect())
    try:

        def running() -> bool:
            assert process.returncode is None, "".join(lines)
            return any("Ctrl-C stops everything" in line for line in lines)  # the addresses stand above it

        await until(running, seconds=90.0, what="the stack")
        yield process, lines
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await reading


def descendants(pid: int) -> set[int]:
    """Every process below this one."""
    table = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in table.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


async def grpcurl(address: str, method: str, request: dict[str, object]) -> dict[str, object]:
    """A call by reflection alone: grpcurl knows no .proto of ours."""
    process = await asyncio.create_subprocess_exec(
        str(_BIN / "grpcurl"), "-plaintext", "-d", json.dumps(request), address, method,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    found = json.loads(output)
    assert isinstance(found, dict)
    return found


async def test_run_grpcurl_demo_and_ctrl_c(tmp_path: Path) -> None:
    async with launched(tmp_path) as (process, lines):
        described = stack.describe(tmp_path) or {}
        services, url = described["services"], str(described["console"])
        shown = "".join(lines)
        assert all(address in shown for address in (*services.values(), url))

        for node_id, title in (("tea", "Green tea from Uji"), ("cup", "A cup for green tea from Uji")):
            draft = {"node_id": node_id, "title": title, "content": f"{title}, brewed with water from the spring."}
            answer = await grpcurl(
                services["node"], "brain2.node.v1.NodeService/CreateNode", {"user_id": "ada", "node": draft}
            )
            assert answer["node"]
        edge = {"source_id": "tea", "target_id": "cup", "type": "served_in"}
        await grpcurl(services["graph"], "brain2.graph.v1.GraphService/CreateEdge", {"user_id": "ada", "edge": edge})
        ask: dict[str, object] = {"user_id": "ada", "node_id": "tea", "with_titles": True}
        answer = await grpcurl(services["graph"], "brain2.graph.v1.GraphService/GetNeighbors", ask)
        neighbors = answer["neighbors"]
        assert isinstance(neighbors, list)
        assert neighbors[0]["title"] == "A cup for green tea from Uji"

        tour = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.local", "demo", "--data", str(tmp_path),
            cwd=ROOT, env=_SHELL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        account, errors = (text.decode() for text in await tour.communicate())
        assert tour.returncode == 0, account + errors
        assert "Everything was as promised." in account
        assert "in 4 services: cleanup, graph, node, similarity" in account
        assert f"  {url}/#demo-" in account
        # Nobody reads colours here.
        assert "\033[" not in account

        below = descendants(process.pid)
        assert len(below) >= 6
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60 * PATIENCE) == 0
        await until(lambda: not [pid for pid in below if alive(pid)], what="the end of every process")
    assert stack.describe(tmp_path) is None
    assert "stopped; the notes are kept" in lines[-1]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"BRAIN2_MAX_MESSAGE_BYTES": "5"}, "BRAIN2_MAX_MESSAGE_BYTES"),
        ({"BRAIN2_AUTH": "preshared", "BRAIN2_AUTH_KEYS": "/none.json"}, "/none.json"),
        ({"BRAIN2_TOKEN_FILE": "/none.token"}, "/none.token"),
        ({"BRAIN2_TLS_CERT": "/none.crt", "BRAIN2_TLS_KEY": "/none.key"}, "BRAIN2_TLS_CERT=/none.crt"),
    ],
)
async def test_a_wrong_setting_stops_the_start_and_is_named(tmp_path: Path, wrong: dict[str, str], named: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", "up", "--data", str(tmp_path), "--free-ports", "--niceness", "0",
        cwd=ROOT, env={**os.environ, **wrong},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert named in errors.decode()
    assert len(errors.splitlines()) == 1
