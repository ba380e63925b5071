"""The Redis client: commands, pipelines, scripts and channels, on one server or on a cluster.

Libraries measured: redis-py, coredis and valkey-glide take 40 to 57 % of a handler's throughput for one command, one
shared connection with implicit pipelining 0 to 17 % (docs/adr/0006). redis-py serves pub/sub.
"""

import asyncio
import contextlib
import logging
import random as _random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

import redis.asyncio as redis_py

from shared import telemetry
from shared.errors import Unavailable
from shared.ids import Clock, SystemClock
from shared.redis.address import Address, parse, url_beside
from shared.redis.cluster import Cluster
from shared.redis.connection import Argument, Command, ReplyError
from shared.redis.script import Script
from shared.redis.server import Options, Server
from shared.redis.subscription import Subscription
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, Rng, Sleep

log = logging.getLogger(__name__)

_NOTHING = contextlib.nullcontext()


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
        self._span_attributes = telemetry.server_attributes(str(self._address))
        breaker = breaker or Breaker("redis", clock or SystemClock(), failures=10, max_cooldown=5.0)
        self._options = Options(
            name, timeout, connect_timeout, connections, limit, backoff or Backoff(base=0.02, cap=1.0), sleep, rng
        )
        self._server: Server | Cluster = (
            Cluster(self._address, self._options, breaker, self._lost)
            if config.redis_cluster
            else Server(self._address, self._options, breaker, self._lost)
        )
        self._on_lost: list[Callable[[], None]] = []
        self._scripts: dict[str, str] = {}

    async def __aenter__(self) -> "Redis":
        try:
            await self._server.start()
        except BaseException:
            await self._server.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.close()

    @property
    def breakers(self) -> Sequence[Breaker]:
        """The breakers of the calls: one for each server."""
        return self._server.breakers

    @property
    def available(self) -> bool:
        """Whether a call made now would be sent; in a cluster, to one of the servers at least."""
        return self._server.available

    def on_lost(self, fn: Callable[[], None]) -> None:
        """Call fn whenever a connection is lost, at once and in the loop: messages may have been missed since."""
        self._on_lost.append(fn)

    async def call(self, *args: Argument) -> Any:
        """The reply to one command. Concurrent calls are sent together.

        Not for commands that block or subscribe: see pubsub() and subscribe().
        Unavailable: the breaker is open, there is no connection, it was lost (the command may have run), or there was
        no reply in time.
        ReplyError: Redis refused the command.
        """
        recorded = self._span(str(args[0]), 1) if telemetry.is_recording() else _NOTHING
        with recorded:
            try:
                return await self._server.call(args)
            except ReplyError as error:
                return await self._by_source(args, error)

    async def _by_source(self, args: Sequence[Argument], error: ReplyError) -> Any:
        """Send the script that the server does not know; raises any other error."""
        source = self._unknown_script(error, args)
        if source is None:
            raise error
        return await self.call("EVAL", source, *args[2:])

    async def pipeline(self, commands: Sequence[Command], *, return_errors: bool = False) -> list[Any]:
        """One reply for each command, in order, in one round trip; not atomic (a Script or MULTI is).

        An error reply of any of them is raised after all have run, or with return_errors stands in its place. In a
        cluster there is one round trip to all servers concerned, and a server that is lost is such an error, too.
        """
        if not commands:
            return []
        if telemetry.is_recording():
            with self._span("PIPELINE", len(commands)):
                return await self._pipeline(commands, return_errors=return_errors)
        return await self._pipeline(commands, return_errors=return_errors)

    async def _pipeline(self, commands: Sequence[Command], *, return_errors: bool) -> list[Any]:
        replies = await self._server.pipeline(commands)
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

    async def every_instance(self, *args: Argument) -> list[Any]:
        """The reply of each master to a command without keys. Unavailable: one of them does not answer."""
        return await self._server.every_instance(args)

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
            backoff=self._options.backoff,
            sleep=self._options.sleep,
            rng=self._options.rng,
        )

    async def pubsub(self) -> Any:
        """redis-py's PubSub, on a connection of its own; in a cluster, to any master, since each message reaches all.

        Unavailable when none is known yet.
        """
        address = self._server.any_address()
        client: Any = redis_py.Redis.from_url(
            url_beside(self._url, address.host, address.port),
            protocol=2,
            client_name=f"{self._options.name}-py",
            socket_connect_timeout=self._options.connect_timeout,
        )
        return client.pubsub()

    def _span(self, operation: str, size: int) -> Any:
        """A client span. No attribute holds arguments: keys name users and notes."""
        attributes: dict[str, Any] = {
            "db.system.name": "redis",
            "db.operation.name": operation,
            **self._span_attributes,
        }
        if size > 1:
            attributes["db.operation.batch.size"] = size
        return telemetry.span(operation, kind="client", attributes=attributes)

    def _unknown_script(self, error: Any, args: Sequence[Argument]) -> str | None:
        if isinstance(error, ReplyError) and error.code == "NOSCRIPT" and len(args) > 1:
            return self._scripts.get(str(args[1]))
        return None

    def _lost(self) -> None:
        for listener in self._on_lost:
            try:
                listener()
            except Exception:
                log.exception("a listener to lost Redis connections failed")
