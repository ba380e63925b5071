"""Reads the lists of many notes by one query, where few edges lie between them: those of an import, for example.

Ids that are made one after the other are neighbours in the order of the table, so the edges of such notes are too.
"""

import asyncio
from collections.abc import Mapping, Sequence

from services.graph_service.model.neighbors import Neighbor
from services.graph_service.ports import EdgeStore
from shared.resilience.bulkhead import Bulkhead

# One query serves notes with at most so many edges a note between the first and the last of them.
_EDGES_A_NOTE = 4


class RangeRead:
    """One query for all lists that are asked for in the same turn of the event loop.

    places: bounds the queries that run at the same time.
    """

    def __init__(self, store: EdgeStore, places: Bulkhead, user_id: str, node_ids: Sequence[str]) -> None:
        self._store = store
        self._places = places
        self._user_id = user_id
        self._node_ids = node_ids
        self._most = _EDGES_A_NOTE * len(node_ids)
        self._next: asyncio.Task[Mapping[str, Sequence[Neighbor]]] | None = None

    async def is_worthwhile(self) -> bool:
        """Whether few edges lie between the notes."""
        async with self._places.place(self._user_id):
            return await self._store.count_between(self._user_id, self._node_ids, self._most + 1) <= self._most

    async def neighbors(self, node_id: str) -> Sequence[Neighbor] | None:
        """The neighbours of one of the notes, by a consistent read that begins after this call.

        None when more edges were made meanwhile, so that the note must be read by itself.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        # A caller that is cancelled does not take the read away from the others.
        return (await asyncio.shield(self._next)).get(node_id)

    async def _read(self) -> Mapping[str, Sequence[Neighbor]]:
        async with self._places.place(self._user_id):
            await asyncio.sleep(0)
            self._next = None  # whoever asks from now on gets a read that begins later
            return await self._store.neighbors_between(self._user_id, self._node_ids, 2 * self._most)
