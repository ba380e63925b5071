"""What a measurement runs on: embedded stores, services and comparison servers as processes, each on its core."""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from deploy.local import processes
from tests.bench.graph import bare
from tests.support import stores as test_stores
from tests.support.stores import Stores

SERVER_CORE = 0
LOAD_CORE = 1
ROOT = Path(__file__).resolve().parents[3]


def pinned(core: int, *command: str) -> list[str]:
    return [sys.executable, "-m", "tests.bench.graph.pinned", str(core), *command]


class Bench:
    """Starts servers; all of them end with the block. stores: where the data is."""

    def __init__(self, stores: Stores, stack: contextlib.AsyncExitStack) -> None:
        self.stores = stores
        self._stack = stack

    @contextlib.asynccontextmanager
    async def apart(self) -> "AsyncIterator[Bench]":
        """On the same stores; what it starts ends with the block."""
        async with contextlib.AsyncExitStack() as stack:
            yield Bench(self.stores, stack)

    async def _start(self, name: str, argv: list[str], env: Mapping[str, str], port: int) -> int:
        """Start a server and wait until it listens; its pid."""
        import os

        merged = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
        child = await processes.start(name, argv, env=merged, on_line=lambda *line: print(*line, file=sys.stderr))
        self._stack.push_async_callback(child.stop, 10.0)
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        try:
            await asyncio.wait_for(channel.channel_ready(), 30)
        finally:
            await channel.close()
        return child.pid

    async def service(self, context: str, *, core: int = SERVER_CORE, **env: str) -> int:
        """A service as in production, tracing on at 1 %; answers its port."""
        (port,) = processes.free_ports(1)
        environment = {
            **self.stores.environment(context),
            "BRAIN2_LISTEN": f"127.0.0.1:{port}",
            "BRAIN2_TRACE_RATIO": "0.01",
            "BRAIN2_LOG_LEVEL": "WARNING",
            "BRAIN2_MAX_CONNECTION_AGE_SECONDS": "0",
            **env,
        }
        await self._start(context, pinned(core, sys.executable, "-m", f"services.{context}_service"), environment, port)
        return port

    async def bare(self, answer: bytes, *, loop: str = "asyncio", command: list[str] | None = None) -> int:
        """A comparison server; answers its port."""
        (port,) = processes.free_ports(1)
        await self._start("bare", pinned(SERVER_CORE, *self._bare(answer, port, loop, command)), {}, port)
        return port

    async def bare_process(self, answer: bytes, port: int, *, loop: str) -> int:
        """A comparison server on any core; answers its pid."""
        return await self._start("bare", self._bare(answer, port, loop, None), {}, port)

    def _bare(self, answer: bytes, port: int, loop: str, command: list[str] | None) -> list[str]:
        config = {
            "port": port,
            "loop": loop,
            "answer": answer.hex(),
            "redis_url": self.stores.redis_url if command else "",
            "command": command or [],
        }
        return [sys.executable, "-m", bare.__name__, json.dumps(config)]

    async def sink(self) -> str:
        """Where spans go; answers its address."""
        (port,) = processes.free_ports(1)
        argv = pinned(LOAD_CORE, sys.executable, "-m", "tests.bench.graph.sink", str(port))
        await self._start("sink", argv, {}, port)
        return f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def bench(env: Mapping[str, str]) -> AsyncIterator[Bench]:
    """The stores share the load's core: in production they are other machines, too."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brain2-bench-")))
        found = await stack.enter_async_context(test_stores.running(folder, env))
        servers = await stack.enter_async_context(contextlib.AsyncExitStack())
        yield Bench(found, servers)


async def call(port: int, method: str, request: bytes, timeout: float = 60.0) -> bytes:
    """One unary call by bytes."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1)]) as ch:
        unary: Any = ch.unary_unary(method)
        return bytes(await unary(request, timeout=timeout))
