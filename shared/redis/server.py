"""One server: its pipelined connection (or a few), made again when it is lost, behind a breaker."""

import asyncio
import contextvars
import logging
import random as _random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Unavailable
from shared.redis.address import Address
from shared.redis.connection import Command, Connection, NotReady, ReplyError, connect, gone, pack
from shared.resilience.background import cancel_all
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, Rng, Sleep, retry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How servers are connected to; the fields are parameters of Redis, which explains them."""

    name: str = "brain2"
    timeout: float = 0.25
    connect_timeout: float = 1.0
    connections: int = 1
    limit: int = 10_000
    backoff: Backoff = field(default_factory=lambda: Backoff(base=0.02, cap=1.0))
    sleep: Sleep = asyncio.sleep
    rng: Rng = _random


class Server:
    """start() connects; close() ends everything.

    on_lost() is called whenever a connection is lost, at once and in the loop.
    """

    def __init__(self, address: Address, options: Options, breaker: Breaker, on_lost: Callable[[], None]) -> None:
        self.address = address
        self.breaker = breaker
        self._options = options
        self._on_lost = on_lost
        self._slots: list[Connection | None] = [None] * options.connections
        self._reconnecting: dict[int, asyncio.Task[None]] = {}
        self._starting: asyncio.Task[list[BaseException | None]] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a connection is there."""
        return any(slot is not None and not slot.lost for slot in self._slots)

    @property
    def available(self) -> bool:
        """Whether a call made now would be sent."""
        return self.breaker.state != "open" and self.connected

    @property
    def breakers(self) -> Sequence[Breaker]:
        return (self.breaker,)

    async def start(self) -> None:
        """Make the connections. One that can't be made is tried again in the background, and only logged here."""
        for error in await asyncio.shield(self.begin()):
            if isinstance(error, Unavailable):
                log.warning("starting without Redis; connecting is tried again", extra={"error": str(error)})
            elif error is not None:
                await self.close()
                raise error

    def begin(self) -> "asyncio.Task[list[BaseException | None]]":
        """Begin to connect, once. Calls wait for the first try to end; the task gives what went wrong."""
        if self._starting is None:
            # In no call's context: the connection serves all calls.
            self._starting = asyncio.get_running_loop().create_task(self._first(), context=contextvars.Context())
        return self._starting

    async def call(self, args: Command) -> Any:
        """The reply to one command.

        ReplyError: the server refused it. Unavailable: see Redis.call().
        """
        # As _send(), without a coroutine of its own: this is what nearly every use of Redis goes through.
        with self.breaker.enter() as permit:
            try:
                return await (self._pick() or await self._first_connection()).send(pack((args,)), 1)
            except Unavailable as error:
                permit.end(_outcome(error))
                raise

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """A reply or an error reply for each command."""
        try:
            answer = await self._send(pack(commands), len(commands))
        except (ReplyError, NotReady) as error:  # a pipeline of one: its future carries the error
            return [error]
        replies: list[Any] = answer if len(commands) > 1 else [answer]
        return replies

    async def probe(self, args: Command) -> Any:
        """As call(), but the breaker neither refuses it nor counts it: to find out how the cluster is."""
        return await (self._pick() or await self._first_connection()).send(pack((args,)), 1)

    async def asking(self, args: Command) -> Any:
        """The reply to one command about a slot that is on its way to this server (ASK)."""
        reply = (await self._send(pack((("ASKING",), args)), 2))[1]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def every_instance(self, args: Command) -> list[Any]:
        """What Cluster.every_instance() gives: here, of one server."""
        return [await self.call(args)]

    def any_address(self) -> Address:
        """What Cluster.any_address() gives: here, of the one server."""
        return self.address

    async def retire(self) -> None:
        """Close the connections when what is under way has its replies."""
        self._closed = True  # a connection that is lost from here on is not reported, and not made again
        last = [slot.send(pack((("PING",),)), 1) for slot in self._slots if slot is not None and not slot.lost]
        await asyncio.gather(*last, return_exceptions=True)
        await self.close()

    async def close(self) -> None:
        """Close the connections; what is under way fails."""
        self._closed = True
        tasks = [*self._reconnecting.values(), *([self._starting] if self._starting is not None else [])]
        await cancel_all(tasks)
        for connection in self._slots:
            if connection is not None:
                connection.close()

    async def _send(self, packed: bytes, count: int) -> Any:
        with self.breaker.enter() as permit:
            try:
                return await (self._pick() or await self._first_connection()).send(packed, count)
            except Unavailable as error:
                permit.end(_outcome(error))
                raise

    def _pick(self) -> Connection | None:
        if len(self._slots) == 1:
            return self._slots[0]
        return min((slot for slot in self._slots if slot), key=lambda slot: slot.pending, default=None)

    async def _first_connection(self) -> Connection:
        """The connection once the first try has ended; a lost one isn't waited for."""
        if self._starting is not None and not self._starting.done():
            await asyncio.wait((self._starting,))
        connection = self._pick()
        if connection is None:
            raise Unavailable(f"there is no connection to Redis at {self.address}", reason="REDIS_UNREACHABLE")
        return connection

    async def _first(self) -> list[BaseException | None]:
        results = await asyncio.gather(*map(self._connect, range(len(self._slots))), return_exceptions=True)
        for slot, result in enumerate(results):
            if isinstance(result, Unavailable) and not self._closed:
                self._reconnect(slot)
        return results

    async def _connect(self, slot: int) -> None:
        def closed(connection: Connection) -> None:
            self._slots[slot] = None
            if self._closed:
                return
            log.warning("lost a connection to Redis", extra={"address": str(self.address)})
            self._on_lost()
            self._reconnect(slot)

        connection = await connect(
            self.address,
            name=self._options.name,
            timeout=self._options.timeout,
            connect_timeout=self._options.connect_timeout,
            limit=self._options.limit,
            on_close=closed,
        )
        if self._closed:
            connection.close()
            raise gone()
        self._slots[slot] = connection

    def _reconnect(self, slot: int) -> None:
        options = self._options

        async def until_connected() -> None:
            await options.sleep(options.backoff.delay(0, options.rng))
            await retry(
                lambda: self._connect(slot),
                attempts=None,
                when=went_on,
                backoff=options.backoff,
                sleep=options.sleep,
                rng=options.rng,
            )
            log.info("connected to Redis again", extra={"address": str(self.address)})

        def went_on(error: BaseException, made: int) -> bool:
            if made == 1:
                log.info("Redis can't be reached yet", extra={"error": str(error)})
            return not self._closed

        self._reconnecting[slot] = asyncio.get_running_loop().create_task(
            until_connected(), context=contextvars.Context()
        )


def _outcome(error: Unavailable) -> bool | None:
    """What an Unavailable says of the server: that it fails (False), or nothing of the kind (None): too much is asked
    of it, or a slot is on its way to another server."""
    if error.reason == "REDIS_OVERLOADED" or (isinstance(error, NotReady) and error.code in ("OOM", "TRYAGAIN")):
        return None
    return False
