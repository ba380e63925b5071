"""What Redis holds of a user: every key that carries the hash tag {user}, whichever service made it (docs/adr/0044).

Such keys are in one slot of a cluster, but their names aren't known, so the keys are looked through with SCAN in small
steps: it blocks nobody, and an erasure is rare. Values never name another user, and no key without the tag names one.
"""

from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from shared.errors import Unavailable

_STEP = 1000
_TIMEOUT = 5.0


class UserCache:
    """A connection of its own for each erasure: the service needs Redis for nothing else."""

    def __init__(self, url: str, *, cluster: bool) -> None:
        self._url = url
        self._cluster = cluster

    async def forget(self, user_id: str) -> int:
        """Removes the user's keys; how many. Unavailable when Redis doesn't answer: then nobody knows what is left."""
        make: Any = redis.RedisCluster if self._cluster else redis.Redis
        count = 0
        try:
            async with make.from_url(self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT) as client:
                keys: list[bytes] = []
                async for key in client.scan_iter(match=f"*{{{user_id}}}*", count=_STEP):
                    keys.append(key)
                    if len(keys) == _STEP:
                        count += await client.unlink(*keys)
                        keys = []
                if keys:
                    count += await client.unlink(*keys)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"Redis: {type(error).__name__}: {error}", reason="CACHE_UNREACHABLE") from error
        return count
