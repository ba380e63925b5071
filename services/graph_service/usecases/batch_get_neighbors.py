"""BatchGetNeighbors: the first neighbours of many notes, with one lookup for all."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.graph_service.model.consistency_token import Token
from services.graph_service.model.neighbors import NeighborQuery
from services.graph_service.ports import Codec
from services.graph_service.usecases.fast_path import batch_keys, is_whole
from services.graph_service.usecases.list_lookup import ListLookup, LookupResult
from services.graph_service.usecases.memory_cache import Entry, MemoryCache
from services.graph_service.usecases.neighbor_pages import NeighborPages
from services.graph_service.usecases.validation import check_nodes, check_query
from shared.resilience.slices import Slices

_MAX_NODES = 1000


@dataclass(frozen=True, slots=True)
class BatchGetNeighbors:
    """Its response is the parts of all notes, one after the other; memory keeps each part by itself."""

    lookup: ListLookup
    pages: NeighborPages
    memory: MemoryCache
    codec: Codec

    async def batch_get_neighbors(
        self, user_id: str, node_ids: Sequence[str], limit: int, min_weight: float = 0.0, token: Token | None = None
    ) -> bytes:
        """A BatchGetNeighborsResponse: one result for each different note, in the order of the request."""
        check_nodes(user_id, node_ids, _MAX_NODES)
        check_query(NeighborQuery(user_id, node_ids[0], limit, min_weight=min_weight))
        keys = batch_keys(user_id, node_ids, limit, min_weight)
        ready = self.memory.response
        parts = {node_id: ready(key) if token is None else None for node_id, key in keys.items()}
        missing = [node_id for node_id, part in parts.items() if part is None]
        if missing:
            result = await self.lookup.find(user_id, missing, token)
            slices = Slices()
            for node_id in missing:
                await slices.pause()
                part, entry = await self._part(
                    NeighborQuery(user_id, node_id, limit, min_weight=min_weight), result, token
                )
                parts[node_id] = part
                self.memory.put_response(keys[node_id], part, entry, result.hidden_entry)
        return b"".join([part for part in parts.values() if part is not None])

    async def _part(
        self, query: NeighborQuery, result: LookupResult, token: Token | None
    ) -> tuple[bytes, Entry | None]:
        if query.node_id in result.hidden:
            return self.codec.batch_part(query.node_id, b"", 0), None
        found = result.lists[query.node_id]
        packed_list = found.packed_list
        if packed_list is not None and is_whole(packed_list, query, result.hidden):
            return self.codec.batch_part(query.node_id, packed_list.packed, packed_list.size), found.entry
        page, entry = await self.pages.page(query, result, token)
        return self.codec.batch_part(query.node_id, self.codec.pack(page.neighbors), page.degree), entry
