"""GetGraphStats: counts over the whole graph of a user, in bounded memory."""

import asyncio
import heapq
from collections import Counter
from dataclasses import dataclass

from services.graph_service.model.traversal import Stats
from services.graph_service.ports import EdgeStore, NodeDirectory
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.validation import check_user
from shared.errors import DeadlineExceeded, Unavailable
from shared.ids import Clock

# Notes that are counted, in pages of 200, beside the pass over the edges; graph.proto states the number.
_MAX_COUNTED = 50_000


@dataclass(frozen=True, slots=True)
class GetGraphStats:
    """Counts edges by one pass over them, and notes through the node service."""

    store: EdgeStore
    lookup: ListLookup
    directory: NodeDirectory
    clock: Clock

    async def get_graph_stats(self, user_id: str, top: int) -> Stats:
        """top: the number of notes with the highest degrees to return."""
        check_user(user_id)
        hidden = await self.lookup.hidden(user_id)
        live = asyncio.ensure_future(self._count_nodes(user_id))
        try:
            ends = automatic = linked = degree = 0
            degrees: Counter[int] = Counter()
            hubs: list[tuple[int, str]] = []
            node_id = ""

            def add_node() -> None:
                nonlocal linked
                if degree:
                    linked += 1
                    degrees[degree.bit_length() - 1] += 1
                    heapq.heappush(hubs, (degree, node_id))
                    if len(hubs) > top:
                        heapq.heappop(hubs)

            async for batch in self.store.incidences(user_id):
                for end in batch:
                    if end.node_id != node_id:
                        add_node()
                        node_id, degree = end.node_id, 0
                    if end.node_id not in hidden and end.other not in hidden:
                        degree += 1
                        ends += 1
                        automatic += end.auto
                await asyncio.sleep(0)
            add_node()
            ranked = sorted(((id, degree) for degree, id in hubs), key=lambda hub: (-hub[1], hub[0]))
            counted, complete = await live
        finally:
            live.cancel()
        orphans = max(counted - linked, 0)
        now = self.clock.now_ms()
        return Stats(linked, ends // 2, automatic // 2, degrees, ranked, orphans, not complete, now)

    async def _count_nodes(self, user_id: str) -> tuple[int, bool]:
        try:
            return await self.directory.count(user_id, _MAX_COUNTED)
        except (Unavailable, DeadlineExceeded):
            return 0, False  # the counts of edges don't need it
