"""A cluster: the map from slots to servers, and the redirections by which the servers correct it.

Each master has the same pipelined connection as a single server. A call goes to the owner of its key by the map; MOVED
corrects the slot at once and lets the whole map be read again, once for all calls that were redirected meanwhile. Lost
connections and CLUSTERDOWN let the map be read again, too, so that a replica that was promoted is found.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from shared.errors import Unavailable
from shared.redis.address import Address
from shared.redis.connection import Command, NotReady, ReplyError
from shared.redis.server import Options, Server
from shared.redis.slots import SLOTS, parse_redirection, parse_slots, slot_of
from shared.resilience.background import cancel_all
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, retry

log = logging.getLogger(__name__)

# Redirections of one call. More than two are rare: a slot would have to move again meanwhile.
_MOST_HOPS = 5
# Between two tries while the keys of one call are on their way to another server. Seconds.
_TRY_AGAIN = Backoff(base=0.01, cap=0.1)
# Seconds between two readings of the map: a reshard of many slots redirects many calls.
_PAUSE = 0.1


# What makes it likely that another server has taken over: reasons, and codes of replies.
_REASONS = ("BREAKER_OPEN", "REDIS_UNREACHABLE", "REDIS_LOST", "REDIS_TIMEOUT")
_TAKEN_OVER = frozenset((*_REASONS, "CLUSTERDOWN", "MASTERDOWN", "LOADING", "READONLY"))


class Cluster:
    """The cluster behind a URL, which names any of its servers. The methods are those of Server.

    breaker: each server gets one with these settings, so that a lost server keeps no call from the others.
    on_lost: called when a connection is lost or other servers serve: what was cached or heard may be out of date.
    """

    def __init__(self, address: Address, options: Options, breaker: Breaker, on_lost: Callable[[], None]) -> None:
        self._seed = address
        self._options = options
        self._breaker = breaker
        self._on_lost = on_lost
        self._servers: dict[tuple[str, int], Server] = {}
        # For each slot its server, and those servers; empty until a map was read.
        self._owners: list[Server | None] = []
        self._masters: set[Server] = set()
        self._reading: asyncio.Task[None] | None = None
        self._read_at = -_PAUSE
        self._retiring: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def available(self) -> bool:
        """Whether some server would be sent a call made now."""
        return any(server.available for server in self._masters)

    @property
    def breakers(self) -> Sequence[Breaker]:
        return [server.breaker for server in self._servers.values()]

    async def start(self) -> None:
        """Read the map and connect to all masters. What fails is tried again in the background."""
        try:
            await self._read()
        except Unavailable as error:
            log.warning("starting without the Redis cluster; it is tried again", extra={"error": str(error)})
            self._read_soon()
        await asyncio.gather(*(server.start() for server in list(self._servers.values())))

    async def call(self, args: Command) -> Any:
        """One command on the server that owns its key."""
        server = self._owner(args)
        try:
            return await server.call(args)
        except (ReplyError, Unavailable) as error:
            return await self._again(args, server, error)

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """A reply or an error for each command: one round trip to all servers concerned, and one for each command that
        was redirected, in order. Unavailable when no command reached its server."""
        replies: list[Any] = [None] * len(commands)
        parts: dict[Server, list[int]] = {}
        for place, command in enumerate(commands):
            try:
                parts.setdefault(self._owner(command), []).append(place)
            except Unavailable as error:
                replies[place] = error

        async def part(server: Server, places: list[int]) -> None:
            try:
                found = await server.pipeline([commands[place] for place in places])
            except Unavailable as error:
                self._suspect(error)
                found = [error] * len(places)
            for place, reply in zip(places, found, strict=True):
                if isinstance(reply, ReplyError | NotReady):
                    try:
                        reply = await self._again(commands[place], server, reply)
                    except (ReplyError, Unavailable) as error:
                        reply = error
                replies[place] = reply

        await asyncio.gather(*(part(server, places) for server, places in parts.items()))
        if all(isinstance(reply, Unavailable) and not isinstance(reply, NotReady) for reply in replies):
            raise replies[0]
        return replies

    async def every_instance(self, args: Command) -> list[Any]:
        """The reply of each master, by a map that is read anew. Unavailable when one is missing."""
        await self._read()
        if None in self._owners:
            raise _uncovered()
        return await asyncio.gather(*(server.call(args) for server in self._masters))

    def any_address(self) -> Address:
        """Where some master is. Unavailable when none is known yet."""
        return self._any().address

    async def close(self) -> None:
        """Close every connection; what is under way fails."""
        self._closed = True
        tasks = [*self._retiring, *([self._reading] if self._reading is not None else [])]
        await cancel_all(tasks)
        await asyncio.gather(*(server.close() for server in self._servers.values()))

    def _owner(self, args: Command) -> Server:
        slot = slot_of(args)
        if slot is None or not self._owners:
            return self._any()
        server = self._owners[slot]
        if server is None:
            self._read_soon()
            raise _uncovered()
        return server

    def _any(self) -> Server:
        """Some master, one that is available if there is such a one."""
        masters = [server for server in self._masters if server.available] or list(self._masters)
        if not masters:
            raise Unavailable("no server of the Redis cluster is known yet", reason="REDIS_UNREACHABLE")
        return masters[int(self._options.rng.random() * len(masters))]

    async def _again(self, args: Command, server: Server, error: ReplyError | Unavailable) -> Any:
        """Do what a server's error asks for, until there is a reply; raises an error that asks for nothing."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._options.timeout
        hops = tries = 0
        while True:
            code = error.code if isinstance(error, ReplyError | NotReady) else ""
            if isinstance(error, ReplyError) and code in ("MOVED", "ASK"):
                hops += 1
                if hops > _MOST_HOPS:
                    raise Unavailable("the Redis cluster redirects without end", reason="REDIS_NOT_READY") from error
                server = self._redirected(error, server)
            elif code == "TRYAGAIN" and loop.time() < until:
                # Some keys of the command are on one server and some on another, until all have moved.
                await self._options.sleep(_TRY_AGAIN.delay(tries, self._options.rng))
                tries += 1
                server = self._owner(args)
            else:
                self._suspect(error)
                raise error
            try:
                return await (server.asking(args) if code == "ASK" else server.call(args))
            except (ReplyError, Unavailable) as next_error:
                error = next_error

    def _redirected(self, error: ReplyError, asked: Server) -> Server:
        """The server that a MOVED or an ASK names."""
        slot, host, port = parse_redirection(error.text, asked.address.host)
        server = self._server(host, port)
        if error.code == "MOVED" and self._owners[slot] is not server:
            self._owners[slot] = server
            if server not in self._masters:
                self._masters.add(server)
                self._on_lost()
            self._read_soon(server)
        return server

    def _suspect(self, error: ReplyError | Unavailable) -> None:
        """Let the map be read again if the error can mean that another server has taken over."""
        sign = error.code if isinstance(error, NotReady) else error.reason
        if sign in _TAKEN_OVER:
            self._read_soon()

    def _lost(self) -> None:
        self._on_lost()
        self._read_soon()

    def _server(self, host: str, port: int) -> Server:
        """The server at an address; a new one begins to connect, and its calls wait for that."""
        server = self._servers.get((host, port))
        if server is None:
            server = Server(self._seed.beside(host, port), self._options, self._breaker.another(), self._lost)
            self._servers[host, port] = server
            server.begin()
        return server

    def _read_soon(self, first: Server | None = None) -> None:
        """Read the map in the background unless that is under way. first: whom to ask first."""
        if not self._closed and (self._reading is None or self._reading.done()):
            self._reading = asyncio.get_running_loop().create_task(
                self._until_read(first), context=contextvars.Context()
            )

    async def _until_read(self, first: Server | None) -> None:
        options = self._options
        pause = self._read_at + _PAUSE - asyncio.get_running_loop().time()
        if pause > 0:
            await options.sleep(pause)
        await retry(
            lambda: self._read(first), attempts=None, backoff=options.backoff, sleep=options.sleep, rng=options.rng
        )

    async def _read(self, first: Server | None = None) -> None:
        """Read the map from the first server that knows it."""
        self._read_at = asyncio.get_running_loop().time()
        failed: Exception | None = None
        for server in self._to_ask(first):
            try:
                found = parse_slots(await server.probe(("CLUSTER", "SLOTS")), server.address.host)
            except (ReplyError, Unavailable) as error:
                failed = error
                continue
            if found:
                self._learn(found)
                return
        raise Unavailable(f"no server knows the Redis cluster: {failed}", reason="REDIS_UNREACHABLE") from failed

    def _to_ask(self, first: Server | None) -> Iterator[Server]:
        if first is not None:
            yield first
        yield from sorted(
            self._masters - {first}, key=lambda server: (not server.available, self._options.rng.random())
        )
        # No master has answered: the name in the URL may have got another address by now.
        seed = self._server(self._seed.host, self._seed.port)
        if seed not in self._masters:
            yield seed

    def _learn(self, found: Sequence[tuple[int, int, str, int]]) -> None:
        owners: list[Server | None] = [None] * SLOTS
        masters = set()
        for first, last, host, port in found:
            server = self._server(host, port)
            masters.add(server)
            owners[first : last + 1] = [server] * (last + 1 - first)
        before, self._owners, self._masters = self._masters, owners, masters
        seed = self._servers.get((self._seed.host, self._seed.port))
        for server in (before | ({seed} if seed is not None else set())) - masters:
            del self._servers[server.address.host, server.address.port]
            task = asyncio.get_running_loop().create_task(server.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        if before and masters - before:
            self._on_lost()


def _uncovered() -> Unavailable:
    return Unavailable("no server of the Redis cluster serves this slot", reason="REDIS_NOT_READY")
