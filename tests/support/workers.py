"""A service of several workers as a process (`python -m tests.support.workers`), for the tests of the supervisor.

GetEcho answers with the pid of the worker. BAD_START names a file: once it exists, a worker that starts ends before it
serves, with the exit code that the file holds.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from deploy.local import processes
from shared.config import ServerConfig, load
from shared.grpc.metered import RpcMetrics
from shared.grpc.server import GrpcServer
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.workers import supervisor
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, plain_channel
from tests.support.waiting import until

_ROOT = Path(__file__).parents[2]


class Pod:
    """A running supervisor with its workers."""

    def __init__(self, child: processes.Child, port: int, metrics: int, lines: list[str]) -> None:
        self.child = child
        self.port = port
        self.target = f"127.0.0.1:{port}"
        self.metrics = f"127.0.0.1:{metrics}"
        self.lines = lines

    async def answer(self) -> int:
        """The pid of the worker that a new connection reaches; 0 while none answers."""
        async with plain_channel(self.target) as channel:
            call = channel.unary_unary(
                f"/{NAME}/GetEcho", request_serializer=Echo.SerializeToString, response_deserializer=Echo.FromString
            )
            try:
                return int((await call(Echo(text="pid"), timeout=5)).text)
            except Exception:
                return 0

    async def pids(self, count: int, *, without: int = 0) -> set[int]:
        """The pids of so many workers, each of which has answered a call. without: not this one."""
        found: set[int] = set()

        async def enough() -> bool:
            found.update({await self.answer()} - {0, without})
            return len(found) >= count

        await until(enough, what=f"{count} workers answering")
        return found


@contextlib.asynccontextmanager
async def pod(count: int, environment: Mapping[str, str] | None = None, *, ready: bool = True) -> AsyncIterator[Pod]:
    """That many workers, serving; gone at the end. ready: wait until one of them answers."""
    port, metrics = processes.free_ports(2)
    lines: list[str] = []
    child = await processes.start(
        "echo",
        [sys.executable, "-m", "tests.support.workers"],
        env={
            "PATH": os.defpath,
            "BRAIN2_LISTEN": f"127.0.0.1:{port}",
            "BRAIN2_METRICS_LISTEN": f"127.0.0.1:{metrics}",
            "BRAIN2_WORKERS": str(count),
            "BRAIN2_DRAIN_SECONDS": "5",
            **(environment or {}),
        },
        on_line=lambda _, line: lines.append(line),
        cwd=_ROOT,
    )
    found = Pod(child, port, metrics, lines)
    try:
        if ready:
            await until(found.answer, what="a worker answering")
        yield found
    finally:
        await child.stop(20.0)


async def _main(life: Lifecycle) -> None:
    config = load(ServerConfig)
    bad_start = Path(os.environ.get("BAD_START", "/nowhere"))
    if bad_start.exists():
        sys.stderr.flush()
        os._exit(int(bad_start.read_text()))
    metrics = await life.enter(Metrics("echo", config, link=life.link))

    async def unary(request: Any, context: Any) -> Any:
        await asyncio.sleep(0.2 if request.text == "slow" else 0.0)
        return Echo(text=str(os.getpid()))

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        yield request

    server = GrpcServer(
        config,
        [(SERVICE, EchoServicer(unary, listed))],
        raw=["RawEcho"],
        metrics=RpcMetrics(metrics, {}) if metrics.enabled else None,
    )
    life.supervise("metrics", metrics.run())
    await server.start()
    life.on_drain(lambda: server.stop(config.drain_seconds))
    await life.wait_for_stop()


if __name__ == "__main__":
    supervisor.run(ServerConfig, "echo", lambda: _main)
