"""WarmCache: fills the caches with the lists of a user."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from services.graph_service.ports import EdgeStore
from services.graph_service.usecases.hubs import Hubs
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.validation import check_nodes, check_user

_CHUNK = 100
_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class WarmCache:
    """Looks lists up, as a reader would, some chunks at the same time."""

    store: EdgeStore
    lookup: ListLookup
    hubs: Hubs

    async def warm_cache(self, user_id: str, node_ids: Sequence[str], maximum: int) -> tuple[int, bool]:
        """The number of lists that are cached now, and whether there are more notes than `maximum`.

        node_ids: empty for all notes that have edges.
        """
        check_user(user_id)
        if node_ids:
            check_nodes(user_id, node_ids, len(node_ids))
        warmed, truncated, chunk = 0, False, list[str]()
        running: set[asyncio.Task[int]] = set()

        async def start(some: list[str]) -> int:
            done: set[asyncio.Task[int]] = set()
            if len(running) >= _PARALLEL:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running.difference_update(done)
            running.add(asyncio.create_task(self._warm(user_id, some)))
            return sum(task.result() for task in done)

        try:
            seen = 0
            async for node_id in self._node_ids(user_id, node_ids):
                if seen >= maximum:
                    truncated = True
                    break
                seen += 1
                chunk.append(node_id)
                if len(chunk) == _CHUNK:
                    warmed += await start(chunk)
                    chunk = []
            if chunk:
                warmed += await start(chunk)
            warmed += sum(await asyncio.gather(*running))
        finally:
            for task in running:
                task.cancel()
        return warmed, truncated

    async def _warm(self, user_id: str, node_ids: Sequence[str]) -> int:
        lists = (await self.lookup.find(user_id, node_ids)).lists
        hubs = [node_id for node_id, found in lists.items() if found.packed_list is None]
        # Hubs are filled one after the other: each takes many reads and many commands.
        return len(lists) - len(hubs) + sum([await self.hubs.warm(user_id, node_id) for node_id in hubs])

    async def _node_ids(self, user_id: str, node_ids: Sequence[str]) -> AsyncIterator[str]:
        if node_ids:
            for node_id in dict.fromkeys(node_ids):
                yield node_id
            return
        last = ""
        async for batch in self.store.incidences(user_id):
            for end in batch:
                if end.node_id != last:
                    last = end.node_id
                    yield last
