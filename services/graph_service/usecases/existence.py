"""A cache of the notes that exist and of their titles, filled by the node service.

Missing notes are not cached: one may be created in a moment. An invalidation removes a deleted note, and callers check
the hidden set as well, so a stale entry does no harm.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from services.graph_service.ports import NodeDirectory
from shared.ids import Clock


class Existence:
    """max_entries: notes of all users. ttl: seconds that an entry lives."""

    def __init__(self, directory: NodeDirectory, clock: Clock, *, max_entries: int = 50_000, ttl: float = 30.0) -> None:
        self._directory = directory
        self._clock = clock
        self._max_entries = max_entries
        self._ttl = ttl
        self._entries: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        # Of each call that runs, the notes that were not invalidated meanwhile.
        self._asked: dict[object, set[tuple[str, str]]] = {}

    async def titles(self, user_id: str, node_ids: Collection[str]) -> Mapping[str, str]:
        """node_id -> title of the notes that exist and aren't deleted; one call for all that are not cached."""
        now = self._clock.monotonic()
        found: dict[str, str] = {}
        missing: list[str] = []
        for node_id in dict.fromkeys(node_ids):
            entry = self._entries.get((user_id, node_id))
            if entry is not None and now < entry[0]:
                found[node_id] = entry[1]
            else:
                missing.append(node_id)
        if missing:
            call = object()
            self._asked[call] = {(user_id, node_id) for node_id in missing}
            try:
                titles = await self._directory.live_titles(user_id, missing)
            finally:
                valid = self._asked.pop(call)
            for node_id, title in titles.items():
                if (user_id, node_id) in valid:
                    self.put(user_id, node_id, title)
            found.update(titles)
        return found

    async def missing(self, user_id: str, node_ids: Collection[str]) -> list[str]:
        """Those of the notes that don't exist or are deleted."""
        found = await self.titles(user_id, node_ids)
        return [node_id for node_id in dict.fromkeys(node_ids) if node_id not in found]

    def put(self, user_id: str, node_id: str, title: str) -> None:
        """A note exists."""
        key = (user_id, node_id)
        self._entries[key] = (self._clock.monotonic() + self._ttl, title)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def invalidate(self, user_id: str, node_ids: Sequence[str]) -> None:
        """These notes may have been deleted or renamed."""
        for node_id in node_ids:
            self._entries.pop((user_id, node_id), None)
            for asked in self._asked.values():
                asked.discard((user_id, node_id))
