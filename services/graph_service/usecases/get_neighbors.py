"""GetNeighbors: the full path, for every request that fast_path.py leaves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.graph_service.model.neighbors import Neighbor, NeighborsRequest, next_page_token, position_of
from services.graph_service.ports import Codec
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.fast_path import is_whole
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.memory_cache import MemoryCache
from services.graph_service.usecases.neighbor_pages import NeighborPages


@dataclass(frozen=True, slots=True)
class GetNeighbors:
    """One page of a note's neighbours."""

    lookup: ListLookup
    pages: NeighborPages
    existence: Existence
    memory: MemoryCache
    codec: Codec

    async def get_neighbors(self, request: NeighborsRequest, data: bytes = b"") -> bytes:
        """A GetNeighborsResponse.

        request: checked by the codec.
        data: the bytes of the request, under which memory may keep the response; b"": it is not kept.
        """
        query, token = request.query, request.token
        if request.page_token:
            query = replace(query, after=position_of(query, request.page_token))
        result = await self.lookup.find(query.user_id, (query.node_id,), token)
        if query.node_id in result.hidden:
            return b""
        found = result.lists[query.node_id]
        entry, packed_list = found.entry, found.packed_list
        if packed_list is not None and not request.with_titles and is_whole(packed_list, query, result.hidden):
            response = self.codec.response(packed_list.packed, "", packed_list.size)
        else:
            page, entry = await self.pages.page(query, result, token)
            if request.with_titles:
                page = replace(page, neighbors=await self._with_titles(query.user_id, page.neighbors))
            page_token = ""
            if page.more:
                page_token = next_page_token(query, page.neighbors[-1])
            response = self.codec.response(self.codec.pack(page.neighbors), page_token, page.degree)
        if data and not request.with_titles:  # titles have no invalidation
            self.memory.put_response(data, response, entry, result.hidden_entry)
        return response

    async def _with_titles(self, user_id: str, neighbors: Sequence[Neighbor]) -> list[Neighbor]:
        titles = await self.existence.titles(user_id, [neighbor.node_id for neighbor in neighbors])
        return [neighbor._replace(title=titles.get(neighbor.node_id, "")) for neighbor in neighbors]
