"""Pages of neighbours, whether the note's list is packed or a hub's. All use cases that read lists build on it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.graph_service.model.consistency_token import Token
from services.graph_service.model.neighbors import NeighborPage, NeighborQuery, select
from services.graph_service.ports import Codec
from services.graph_service.usecases.hubs import Hubs
from services.graph_service.usecases.list_lookup import ListLookup, LookupResult
from services.graph_service.usecases.memory_cache import Entry
from shared.resilience.slices import Slices


@dataclass(frozen=True, slots=True)
class NeighborPages:
    """Pages of lists that a lookup found, and of hubs."""

    lookup: ListLookup
    hubs: Hubs
    codec: Codec

    async def page(
        self, query: NeighborQuery, result: LookupResult, token: Token | None
    ) -> tuple[NeighborPage, Entry | None]:
        """The page that a query asks for, and the entry in memory under which a response may be kept."""
        found = result.lists[query.node_id]
        if found.packed_list is not None:
            return select(self.codec.unpack(found.packed_list.packed), query, result.hidden), found.entry
        page = await self.hubs.page(query, result.hidden, dynamodb_only=found.dynamodb_only, token=token)
        return page.page, page.entry

    async def first_pages(
        self, user_id: str, node_ids: Sequence[str], limit: int, min_weight: float = 0.0, token: Token | None = None
    ) -> dict[str, NeighborPage]:
        """The first neighbours of each note. Hidden notes are absent."""
        result = await self.lookup.find(user_id, node_ids, token)
        pages: dict[str, NeighborPage] = {}
        slices = Slices()
        for node_id in node_ids:
            if node_id not in result.hidden:
                query = NeighborQuery(user_id, node_id, limit, min_weight=min_weight)
                pages[node_id], _ = await self.page(query, result, token)
                await slices.pause()
        return pages

    async def linked_by_person(self, user_id: str, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Those of the pairs of notes between which there is an edge that is not automatic, of any type."""
        lists = (await self.lookup.find(user_id, sorted({a for a, _ in pairs}))).lists
        persons: dict[str, frozenset[str]] = {}
        found = set()
        slices = Slices()
        for a, b in pairs:
            await slices.pause()
            packed = lists[a].packed_list
            if packed is None:
                linked = await self.hubs.linked_by_person(user_id, a, b)
            else:
                if a not in persons:
                    persons[a] = frozenset(each.node_id for each in self.codec.unpack(packed.packed) if not each.auto)
                linked = b in persons[a]
            if linked:
                found.add((a, b))
        return frozenset(found)

    async def automatic_counts(self, user_id: str, node_ids: Sequence[str]) -> dict[str, int]:
        """The number of automatic edges of each note."""
        lists = (await self.lookup.find(user_id, node_ids)).lists
        counts: dict[str, int] = {}
        for node_id in node_ids:
            found = lists[node_id]
            if found.packed_list is not None:
                counts[node_id] = found.packed_list.auto
            else:
                page = await self.hubs.page(
                    NeighborQuery(user_id, node_id, 1), frozenset(), dynamodb_only=found.dynamodb_only
                )
                counts[node_id] = page.auto
        return counts
