"""ChangeFeed on a Redis stream per user; finish.lua appends to it."""

from collections.abc import Sequence
from typing import Any

from services.graph_service.adapters.list_cache import Commands, RedisLists
from services.graph_service.ports import FeedEntry
from services.graph_service.usecases.watch_edges import expired

_START = "0-0"


class RedisFeed:
    """See ChangeFeed. Its keys are made by RedisLists, so it is disabled together with the lists."""

    def __init__(self, redis: Commands, lists: RedisLists) -> None:
        self._redis = redis
        self._lists = lists

    async def last(self, user_id: str) -> str:
        newest = await self._redis.call("XREVRANGE", self._lists.key(user_id, "f"), "+", "-", "COUNT", 1)
        return newest[0][0].decode() if newest else _START

    async def after(self, user_id: str, id: str, limit: int) -> Sequence[FeedEntry]:
        key = self._lists.key(user_id, "f")
        found = await self._redis.call("XRANGE", key, f"({id}", "+", "COUNT", limit)
        if id == _START:
            lost = await self._trimmed(key)
        else:
            # While the last entry that the reader has seen is kept, all later entries are kept.
            lost = not await self._redis.call("XRANGE", key, id, id)
        if lost:
            raise expired()
        return [FeedEntry(entry.decode(), fields[1]) for entry, fields in found]

    async def _trimmed(self, key: str) -> bool:
        if not await self._redis.call("EXISTS", key):
            return False
        info = await self._redis.call("XINFO", "STREAM", key)
        facts: dict[bytes, Any] = dict(zip(info[::2], info[1::2], strict=True))
        return bool(facts[b"entries-added"] != facts[b"length"])
