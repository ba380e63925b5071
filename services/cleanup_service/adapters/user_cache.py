"""All keys of a user in Redis: those with the hash tag {user}, whichever service wrote them (docs/adr/0044).

The names of the keys are not known, so they are found by SCAN in small steps, which blocks nobody; erasures are rare.
No value names another user, and no key without the tag names a user.
"""

from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from shared.errors import Unavailable

_STEP = 1000
_TIMEOUT = 5.0


class UserCache:
    """Opens a connection for each call: the service needs Redis for nothing else."""

    def __init__(self, url: str, *, cluster: bool) -> None:
        self._url = url
        self._cluster = cluster

    async def remove_user(self, user_id: str) -> int:
        """Removes the user's keys and returns how many. Raises Unavailable when Redis doesn't answer."""
        count = 0
        try:
            async with self._client() as client:
                keys: list[bytes] = []
                async for key in client.scan_iter(match=f"*{{{user_id}}}*", count=_STEP):
                    keys.append(key)
                    if len(keys) == _STEP:
                        count += await client.unlink(*keys)
                        keys = []
                if keys:
                    count += await client.unlink(*keys)
        except (RedisError, OSError, TimeoutError) as error:
            raise _unreachable(error) from error
        return count

    async def remove_everything(self) -> None:
        """Empties all primaries, for a table that was restored. Raises Unavailable when Redis doesn't answer."""
        try:
            async with self._client() as client:
                await (client.flushall(target_nodes="primaries") if self._cluster else client.flushall())
        except (RedisError, OSError, TimeoutError) as error:
            raise _unreachable(error) from error

    def _client(self) -> Any:
        make: Any = redis.RedisCluster if self._cluster else redis.Redis
        return make.from_url(self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)


def _unreachable(error: Exception) -> Unavailable:
    return Unavailable(f"Redis: {type(error).__name__}: {error}", reason="CACHE_UNREACHABLE")
