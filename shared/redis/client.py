"""The Redis client: one pipelined connection (or a few), made again when it is lost, behind a breaker.

Libraries measured: redis-py, coredis and valkey-glide take 40 to 57 % of a handler's throughput for one command, one
shared connection with implicit pipelining 0 to 17 % (docs/adr/0006). redis-py serves pub/sub, streams and clusters.
"""

import asyncio
import logging
import random as _random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

import redis.asyncio as redis_py

from shared import telemetry
from shared.errors import Unavailable
from shared.ids import Clock, SystemClock
from shared.redis.address import Address, parse
from shared.redis.cluster import Cluster
from shared.redis.connection import Argument, Command, Connection, ReplyError, connect, gone, pack
from shared.redis.script import Script
from shared.redis.subscription import Subscription
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, Rng, Sleep, retry

log = logging.getLogger(__name__)


class RedisConfig(Protocol):
    """The part of a service's configuration that is about Redis."""

    @property
    def redis_url(self) -> str: ...
    @property
    def redis_cluster(self) -> bool: ...


class Redis:
    """`async with Redis(config) as redis: await redis.call("GET", key)`. Replies are RESP2: bytes, int, None, lists.

    timeout: seconds for one reply.
    connect_timeout: seconds for making a connection.
    connections: how many share the load; one is best unless replies are large.
    limit: replies that may be outstanding on a connection.

    Entering does not fail when Redis can't be reached: it is connected to later, and until then every call raises
    Unavailable at once.
    """

    def __init__(
        self,
        config: RedisConfig,
        *,
        breaker: Breaker | None = None,
        clock: Clock | None = None,
        name: str = "brain2",
        timeout: float = 0.25,
        connect_timeout: float = 1.0,
        connections: int = 1,
        limit: int = 10_000,
        backoff: Backoff | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: Rng = _random,
    ) -> None:
        self._url = config.redis_url
        self._address: Address = parse(config.redis_url)
        self._server = telemetry.server_attributes(str(self._address))
        self._cluster = Cluster(self._url, timeout, connect_timeout) if config.redis_cluster else None
        self._breaker = breaker or Breaker("redis", clock or SystemClock(), failures=10, max_cooldown=5.0)
        self._name = name
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._limit = limit
        self._backoff = backoff or Backoff(base=0.02, cap=1.0)
        self._sleep = sleep
        self._rng = rng
        self._slots: list[Connection | None] = [None] * connections
        self._reconnecting: dict[int, asyncio.Task[None]] = {}
        self._on_lost: list[Callable[[], None]] = []
        self._scripts: dict[str, str] = {}
        self._closed = False
        self._client: Any = None

    async def __aenter__(self) -> "Redis":
        if self._cluster is not None:
            self._client = self._cluster.client
            return self
        self._client = redis_py.Redis.from_url(
            self._url, protocol=2, client_name=f"{self._name}-py", socket_connect_timeout=self._connect_timeout
        )
        results = await asyncio.gather(*map(self._connect, range(len(self._slots))), return_exceptions=True)
        for slot, result in enumerate(results):
            if isinstance(result, Unavailable):
                log.warning("starting without Redis; connecting is tried again", extra={"error": str(result)})
                self._reconnect(slot)
            elif isinstance(result, BaseException):
                await self._close()
                raise result
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def client(self) -> Any:
        """redis-py's client (RedisCluster in cluster mode), for pub/sub, streams and whatever blocks."""
        return self._client

    @property
    def breaker(self) -> Breaker:
        """The breaker of the calls."""
        return self._breaker

    @property
    def available(self) -> bool:
        """Whether a call made now would be sent."""
        return self._breaker.state != "open" and (
            self._cluster is not None or any(slot is not None and not slot.lost for slot in self._slots)
        )

    def on_lost(self, fn: Callable[[], None]) -> None:
        """Call fn whenever a connection is lost, at once and in the loop: messages may have been missed since."""
        self._on_lost.append(fn)

    async def call(self, *args: Argument) -> Any:
        """The reply to one command. Concurrent calls are sent together.

        Not for commands that block or subscribe: see client and subscribe().
        Unavailable: the breaker is open, there is no connection, it was lost (the command may have run), or there was
        no reply in time.
        ReplyError: Redis refused the command.
        """
        if telemetry.is_recording():
            with self._span(str(args[0]), 1):
                return await self._call(args)
        return await self._call(args)

    async def _call(self, args: Sequence[Argument]) -> Any:
        with self._breaker.enter() as permit:
            try:
                if self._cluster is not None:
                    return await self._cluster.call(args)
                return await self._pick().send(pack((args,)), 1)
            except ReplyError as error:
                source = self._unknown_script(error, args)
                if source is None:
                    raise
            except Unavailable as error:
                permit.end(_outcome(error))
                raise
        return await self.call("EVAL", source, *args[2:])

    async def pipeline(self, commands: Sequence[Command], *, return_errors: bool = False) -> list[Any]:
        """One reply for each command, in order, in one round trip; not atomic (a Script or MULTI is).

        An error reply of any of them is raised after all have run, or with return_errors stands in its place.
        """
        if not commands:
            return []
        if telemetry.is_recording():
            with self._span("PIPELINE", len(commands)):
                return await self._pipeline(commands, return_errors=return_errors)
        return await self._pipeline(commands, return_errors=return_errors)

    async def _pipeline(self, commands: Sequence[Command], *, return_errors: bool) -> list[Any]:
        with self._breaker.enter() as permit:
            try:
                if self._cluster is not None:
                    replies = await self._cluster.pipeline(commands)
                else:
                    answer = await self._pick().send(pack(commands), len(commands))
                    replies = answer if len(commands) > 1 else [answer]
            except ReplyError as error:  # a pipeline of one: its future carries the error
                replies = [error]
            except Unavailable as error:
                permit.end(_outcome(error))
                if not return_errors or error.reason != "REDIS_NOT_READY":
                    raise
                replies = [error]
        for at, reply in enumerate(replies):
            source = self._unknown_script(reply, commands[at])
            if source is not None:
                try:
                    replies[at] = await self.call("EVAL", source, *commands[at][2:])
                except (ReplyError, Unavailable) as error:
                    replies[at] = error
        if not return_errors:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    def script(self, source: str) -> Script:
        """A Lua script: `await script(keys=[...], args=[...])`. In a cluster all its keys share a hash tag."""
        script = Script(source, self.call)
        self._scripts[script.sha] = source
        return script

    def subscribe(
        self,
        *channels: str,
        on_message: Callable[[bytes, bytes], None],
        on_ready: Callable[[], Awaitable[None] | None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> Subscription:
        """Hear channels on a connection of its own: `lifecycle.supervise("invalidations", subscription.run())`.

        See Subscription for what on_ready and on_lost promise.
        """
        return Subscription(
            self,
            channels,
            on_message=on_message,
            on_ready=on_ready,
            on_lost=on_lost,
            backoff=self._backoff,
            sleep=self._sleep,
            rng=self._rng,
        )

    async def pubsub(self) -> Any:
        """redis-py's PubSub, on a connection of its own; in a cluster, to any of its nodes."""
        return self._client.pubsub() if self._cluster is None else await self._cluster.pubsub(self._rng)

    def _span(self, operation: str, size: int) -> Any:
        """A client span. No attribute holds arguments: keys name users and notes."""
        attributes: dict[str, Any] = {"db.system.name": "redis", "db.operation.name": operation, **self._server}
        if size > 1:
            attributes["db.operation.batch.size"] = size
        return telemetry.span(operation, kind="client", attributes=attributes)

    def _unknown_script(self, error: Any, args: Sequence[Argument]) -> str | None:
        if isinstance(error, ReplyError) and error.code == "NOSCRIPT" and len(args) > 1:
            return self._scripts.get(str(args[1]))
        return None

    def _pick(self) -> Connection:
        if len(self._slots) == 1:
            connection = self._slots[0]
        else:
            connection = min((slot for slot in self._slots if slot), key=lambda slot: slot.pending, default=None)
        if connection is None:
            raise Unavailable("there is no connection to Redis", reason="REDIS_UNREACHABLE")
        return connection

    async def _connect(self, slot: int) -> None:
        def closed(connection: Connection) -> None:
            if self._closed:
                return
            self._slots[slot] = None
            log.warning("lost a connection to Redis", extra={"address": str(self._address)})
            for listener in self._on_lost:
                try:
                    listener()
                except Exception:
                    log.exception("a listener to lost Redis connections failed")
            self._reconnect(slot)

        connection = await connect(
            self._address,
            name=self._name,
            timeout=self._timeout,
            connect_timeout=self._connect_timeout,
            limit=self._limit,
            on_close=closed,
        )
        if self._closed:
            connection.close()
            raise gone()
        self._slots[slot] = connection

    def _reconnect(self, slot: int) -> None:
        async def until_connected() -> None:
            await self._sleep(self._backoff.delay(0, self._rng))
            await retry(
                lambda: self._connect(slot),
                attempts=None,
                when=went_on,
                backoff=self._backoff,
                sleep=self._sleep,
                rng=self._rng,
            )
            log.info("connected to Redis again", extra={"address": str(self._address)})

        def went_on(error: BaseException, made: int) -> bool:
            if made == 1:
                log.info("Redis can't be reached yet", extra={"error": str(error)})
            return not self._closed

        self._reconnecting[slot] = asyncio.get_running_loop().create_task(until_connected())

    async def _close(self) -> None:
        self._closed = True
        for task in self._reconnecting.values():
            task.cancel()
        await asyncio.gather(*self._reconnecting.values(), return_exceptions=True)
        for connection in self._slots:
            if connection is not None:
                connection.close()
        if self._cluster is not None:
            await self._cluster.close()
        elif self._client is not None:
            await self._client.aclose()


def _outcome(error: Unavailable) -> bool | None:
    """What an Unavailable says of the server: that it fails (False), or only that too much is asked of it (None)."""
    return None if error.reason == "REDIS_OVERLOADED" or "OOM" in error.message else False
