"""Cluster mode: redis-py keeps the slot map and follows MOVED and ASK; we take its replies as Redis sent them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import exceptions
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.errors import Brain2Error, Unavailable
from shared.redis.connection import Command, refusal
from shared.resilience.retry import Rng

_ERRORS = (exceptions.RedisError, OSError, TimeoutError)
_TRIES = 3
# Calls at once; further ones wait. redis-py allows 100 connections to a node.
_AT_ONCE = 64


class Cluster:
    """The cluster behind a URL; connected to when it is first called."""

    def __init__(self, url: str, timeout: float, connect_timeout: float) -> None:
        self.client: Any = RedisCluster.from_url(
            url,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=connect_timeout,
            # After so many MOVED it would close every connection, those in use too: a reshard would fail calls that
            # have nothing to do with it. A MOVED by itself corrects the map.
            reinitialize_steps=0,
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 2),
        )
        # These turn replies into sets, dicts and floats, and callers want what one server would have sent. redis-py
        # itself relies on those of the commands that describe the cluster.
        for command in list(self.client.response_callbacks):
            if not command.startswith(("CLUSTER", "COMMAND")):
                del self.client.response_callbacks[command]
        # A call holds a connection until its reply is there; redis-py refuses a call that finds none.
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Close every connection. redis-py's aclose() leaves them open after a node was lost: it takes itself for
        closed."""
        await self.client.aclose()
        await self.client.nodes_manager.aclose()
        await self.client.nodes_manager.aclose("startup_nodes")

    async def call(self, args: Command) -> Any:
        """One command on the node that owns its key."""
        lost: AttributeError | None = None
        for _ in range(_TRIES):
            try:
                async with self._turns:
                    await self._know()
                    return await self.client.execute_command(*args)
            except _ERRORS as error:
                raise _meaning(error) from error
            except AttributeError as error:
                # When redis-py renews its map of the cluster it closes every connection; one that was about to send
                # then has no writer left. Nothing was sent, so any command can be sent again.
                lost = error
        raise Unavailable("the Redis cluster's connections are being renewed", reason="REDIS_UNREACHABLE") from lost

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """One round trip to each node concerned."""
        pipe = self.client.pipeline()
        for command in commands:
            pipe.execute_command(*command)
        try:
            async with self._turns:
                await self._know()
                replies = await pipe.execute(raise_on_error=False)
        except (*_ERRORS, AttributeError) as error:
            raise _meaning(error) from error
        return [_meaning(reply) if isinstance(reply, Exception) else reply for reply in replies]

    async def pubsub(self, rng: Rng) -> Any:
        """A PubSub on some node: messages reach every node, and the next try takes another one if this is dead."""
        await self.client.initialize()
        nodes = self.client.get_nodes()
        return self.client.pubsub(node=nodes[int(rng.random() * len(nodes))])

    async def _know(self) -> None:
        """Read the map of the cluster if it never was: without it redis-py sends commands to any node."""
        if self.client.get_default_node() is None:
            await self.client.initialize()


def _meaning(error: BaseException) -> Brain2Error:
    if isinstance(error, exceptions.NoScriptError):
        return refusal(f"NOSCRIPT {error}")  # redis-py takes the code off the text
    down = (
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        exceptions.ClusterDownError,
        exceptions.ClusterError,
        exceptions.SlotNotCoveredError,
        OSError,
        asyncio.TimeoutError,
        AttributeError,  # see Cluster.call()
    )
    if isinstance(error, down):
        return Unavailable(f"the Redis cluster doesn't answer: {error!r}", reason="REDIS_UNREACHABLE")
    return refusal(str(error))
