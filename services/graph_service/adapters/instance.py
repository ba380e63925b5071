"""The name of the Redis instance that answers: the replication ids of its masters.

A master gets a new one when it starts and when it takes over, also when it was the master once before and has run all
the while: what it holds then is what its predecessor had.
"""

from collections.abc import Awaitable, Callable

from shared.errors import Unavailable
from shared.redis import Redis


def instance_name(redis: Redis) -> Callable[[], Awaitable[str]]:
    """Returns a function that asks for the name; it raises Unavailable when Redis doesn't answer."""

    async def ask() -> str:
        return ",".join(sorted(_replication_id(info) for info in await redis.every_instance("INFO", "replication")))

    return ask


def _replication_id(info: bytes) -> str:
    for line in info.decode().splitlines():
        if line.startswith("master_replid:"):
            return line.removeprefix("master_replid:").strip()
    raise Unavailable("Redis doesn't report its replication id", reason="REDIS_UNREACHABLE")
