"""The name of the Redis instance that answers: the run ids of its masters, which a restart or a failover changes."""

from collections.abc import Awaitable, Callable

from redis import exceptions

from shared.errors import Unavailable
from shared.redis import Redis


def instance_name(redis: Redis, *, clustered: bool) -> Callable[[], Awaitable[str]]:
    """Returns a function that asks for the name; it raises Unavailable when Redis doesn't answer."""

    async def single() -> str:
        return _run_id(await redis.call("INFO", "server"))

    async def cluster() -> str:
        client = redis.client
        try:
            await client.initialize()
            nodes = sorted(client.get_primaries(), key=lambda node: str(node.name))
            infos = [await client.execute_command("INFO", "server", target_nodes=node) for node in nodes]
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"the Redis cluster doesn't answer: {error!r}", reason="REDIS_UNREACHABLE") from error
        return ",".join(sorted(_run_id(each) for each in infos))

    return cluster if clustered else single


def _run_id(info: bytes | str) -> str:
    text = info.decode() if isinstance(info, bytes) else info
    for line in text.splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:").strip()
    raise Unavailable("Redis doesn't report its run id", reason="REDIS_UNREACHABLE")
