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


def make(url: str, timeout: float, connect_timeout: float) -> Any:
    client: Any = RedisCluster.from_url(
        url,
        protocol=2,
        socket_timeout=timeout,
        socket_connect_timeout=connect_timeout,
        retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 2),
    )
    # These turn replies into sets, dicts and floats, and callers want what one server would have sent. redis-py itself
    # relies on those of the commands that describe the cluster.
    for command in list(client.response_callbacks):
        if not command.startswith(("CLUSTER", "COMMAND")):
            del client.response_callbacks[command]
    return client


async def close(client: Any) -> None:
    """Close every connection. redis-py's aclose() leaves them open after a node was lost: it takes itself for
    closed."""
    await client.aclose()
    await client.nodes_manager.aclose()
    await client.nodes_manager.aclose("startup_nodes")


async def call(client: Any, args: Command) -> Any:
    """One command on the node that owns its key."""
    lost: AttributeError | None = None
    for _ in range(_TRIES):
        try:
            return await client.execute_command(*args)
        except _ERRORS as error:
            raise _meaning(error) from error
        except AttributeError as error:
            # When redis-py renews its map of the cluster it closes every connection; one that was about to send then
            # has no writer left. Nothing was sent, so any command can be sent again.
            lost = error
    raise Unavailable("the Redis cluster's connections are being renewed", reason="REDIS_UNREACHABLE") from lost


async def pipeline(client: Any, commands: Sequence[Command]) -> list[Any]:
    """One round trip to each node concerned."""
    pipe = client.pipeline()
    for command in commands:
        pipe.execute_command(*command)
    try:
        replies = await pipe.execute(raise_on_error=False)
    except (*_ERRORS, AttributeError) as error:
        raise _meaning(error) from error
    return [_meaning(reply) if isinstance(reply, Exception) else reply for reply in replies]


async def pubsub(client: Any, rng: Rng) -> Any:
    """A PubSub on some node: messages reach every node, and the next try takes another one if this is dead."""
    await client.initialize()
    nodes = client.get_nodes()
    return client.pubsub(node=nodes[int(rng.random() * len(nodes))])


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
        AttributeError,  # see call()
    )
    if isinstance(error, down):
        return Unavailable(f"the Redis cluster doesn't answer: {error!r}", reason="REDIS_UNREACHABLE")
    return refusal(str(error))
