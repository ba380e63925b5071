"""Receives the invalidations that all processes publish through Redis pub/sub."""

import logging

from services.graph_service.adapters.list_cache import parse_message
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.memory_cache import MemoryCache
from services.graph_service.usecases.watch_edges import WatchEdges

log = logging.getLogger(__name__)


class Channel:
    """Callbacks of a Subscription. While the channel is down, the memory cache is closed."""

    def __init__(self, lookup: ListLookup, existence: Existence, watch: WatchEdges, memory: MemoryCache) -> None:
        self._lookup = lookup
        self._existence = existence
        self._watch = watch
        self._memory = memory

    def on_ready(self) -> None:
        self._memory.reopen()

    def on_lost(self) -> None:
        self._memory.close()

    def on_message(self, channel: bytes, data: bytes) -> None:
        try:
            kind, user_id, node_ids = parse_message(data)
        except ValueError:
            log.warning("a message on the channel of invalidations can't be read")
            self._memory.clear()  # it may have been the invalidation of any list
            return
        self._lookup.invalidate(user_id, node_ids)
        self._watch.notify(user_id)
        if kind == "G":
            self._existence.invalidate(user_id, node_ids)
