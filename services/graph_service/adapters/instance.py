"""The name of the Redis instance that answers: the run ids of its masters, which a restart or a failover changes."""

from collections.abc import Awaitable, Callable

from shared.errors import Unavailable
from shared.redis import Redis


def instance_name(redis: Redis) -> Callable[[], Awaitable[str]]:
    """Returns a function that asks for the name; it raises Unavailable when Redis doesn't answer."""

    async def ask() -> str:
        return ",".join(sorted(_run_id(info) for info in await redis.every_instance("INFO", "server")))

    return ask


def _run_id(info: bytes) -> str:
    for line in info.decode().splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:").strip()
    raise Unavailable("Redis doesn't report its run id", reason="REDIS_UNREACHABLE")
