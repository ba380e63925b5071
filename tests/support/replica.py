"""A replica of the echo service as a process of its own, to be restarted on its port while calls go on.

Run as a module it is that process. Its CreateEcho writes each text that it was called with into a file, so that a test
can tell whether a call that was tried several times was also done several times.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared import lifecycle
from shared.config import ServerConfig
from shared.grpc.server import GrpcServer
from shared.lifecycle import Lifecycle
from tests.support.echo import SERVICE, Echo, EchoServicer, plain_channel
from tests.support.waiting import until

_ROOT = Path(__file__).parents[2]


class Replica:
    """The process and its port. done: the file of what CreateEcho did."""

    def __init__(self, done: Path, *, drain: float = 10.0) -> None:
        self.port = _free_port()
        self.target = f"127.0.0.1:{self.port}"
        self._done = done
        self._drain = drain
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it says that it serves."""
        command = (sys.executable, "-m", "tests.support.replica", str(self.port), str(self._done), str(self._drain))
        self._process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT)
        await until(self._serves, what=f"{self.target} serving")

    async def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()

    async def kill(self) -> None:
        """Whatever state it is in, it is gone afterwards."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _serves(self) -> bool:
        # A new channel each time: one that failed waits before it tries again.
        async with plain_channel(self.target) as channel:
            try:
                state = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            except Exception:
                return False
            return bool(state.status == health_pb2.HealthCheckResponse.SERVING)


@contextlib.asynccontextmanager
async def replicas(count: int, done: Path) -> AsyncIterator[list[Replica]]:
    """That many of them, serving; gone at the end."""
    found = [Replica(done) for _ in range(count)]
    try:
        await asyncio.gather(*(each.start() for each in found))
        yield found
    finally:
        await asyncio.gather(*(each.kill() for each in found))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _main(life: Lifecycle) -> None:
    port, done, drain = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    # Appended to in one write each: the lines of several processes don't mix.
    file = os.open(done, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def unary(request: Any, context: Any) -> Any:
        # Now and then a call that is still running when the others are done.
        await asyncio.sleep(0.4 if random.random() < 0.005 else 0.0)
        if request.text.startswith("write"):
            os.write(file, f"{request.text}\n".encode())
        return request

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        for letter in request.text:
            await asyncio.sleep(0.005)
            yield Echo(text=letter)

    server = GrpcServer(
        ServerConfig(listen=f"127.0.0.1:{port}"), [(SERVICE, EchoServicer(unary, listed))], raw=["RawEcho"]
    )
    await server.start()
    life.on_drain(lambda: server.stop(drain))
    await life.wait_for_stop()


if __name__ == "__main__":
    lifecycle.run(_main)
