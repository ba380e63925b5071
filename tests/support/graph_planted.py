"""A planted bug of the list cache: a fill stores what it read, whether its lease has ended or not."""

from services.graph_service.adapters.list_cache import RedisLists, encode
from services.graph_service.ports import Lease, PackedList


async def store_without_lease(cache: RedisLists, lease: Lease, packed_list: PackedList) -> bool:
    """In place of RedisLists.store."""
    key = cache.key(lease.user_id, "a", lease.node_id)
    await cache._redis.call("SET", key, encode(packed_list, lease.space), "PX", cache._list_ms)
    return True
