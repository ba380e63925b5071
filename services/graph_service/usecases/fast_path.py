"""Every fast path of GetNeighbors and BatchGetNeighbors, and what each one may skip.

A fast path answers None when it doesn't apply; the full path (get_neighbors.py, batch_get_neighbors.py) then answers.
"""

from collections.abc import Awaitable, Callable, Iterable

from services.graph_service.model.neighbors import NeighborQuery, NeighborsRequest
from services.graph_service.ports import HIDDEN, Codec, ListCache, PackedList
from services.graph_service.usecases.memory_cache import LONGEST_KEY, MemoryCache
from shared.errors import Unavailable

# Requests whose decoded form is kept, each of LONGEST_KEY bytes at most.
_MAX_DECODED = 4096


class NeighborsFastPath:
    """GetNeighbors from the bytes of the request to the bytes of the response, by the shortest way that is correct.

    1. Ready response (ready_response; the server calls it before anything else). Skips decoding, checks and lookup: the
       same bytes ask for the same thing, and memory keeps a response only while the list and the hidden set that it was
       made of are alive.
    2. Decoded request. Skips decoding and checks: both are pure functions of the bytes.
    3. Whole list from Redis without memory. Skips tickets, leases and the other tiers: one command reads the list and
       the hidden set at the same moment, and nothing is stored.
    4. Whole list from memory or Redis. Skips the LookupResult and DynamoDB: as the lookup does, it takes tickets before
       it reads Redis, and stores the list, the hidden set and the response under them.

    3 and 4 apply to a request for the first page without token, filter or titles, of a user who hides nothing, when the
    page holds the whole list (is_whole). The stored bytes then are the response.
    """

    def __init__(
        self,
        memory: MemoryCache,
        cache: ListCache,
        codec: Codec,
        full_path: Callable[[NeighborsRequest, bytes], Awaitable[bytes]],
    ) -> None:
        self._memory = memory
        self._cache = cache
        self._codec = codec
        self._full_path = full_path
        self._decoded: dict[bytes, NeighborsRequest] = {}
        self.ready_response = memory.response if memory.enabled else None

    async def get_neighbors(self, data: bytes) -> bytes:
        """data: a GetNeighborsRequest. InvalidArgument as the codec raises it."""
        request = self._decoded.get(data)
        if request is None:
            request = self._decode(data)
        if request.first_page:
            query = request.query
            try:
                if self._memory.enabled:
                    response = await self._whole_list(query, data)
                    if response is not None:
                        return response
                else:
                    found = await self._cache.read_whole(query.user_id, query.node_id)
                    if found is not None and found.size <= query.limit:
                        return self._codec.response(found.packed, "", found.size)
            except Unavailable:
                pass  # Redis is away
        return await self._full_path(request, data)

    def _decode(self, data: bytes) -> NeighborsRequest:
        request = self._codec.request(data)
        if len(data) <= LONGEST_KEY:
            if len(self._decoded) >= _MAX_DECODED:
                self._decoded.clear()
            self._decoded[data] = request
        return request

    async def _whole_list(self, query: NeighborQuery, data: bytes) -> bytes | None:
        memory, user_id, node_id = self._memory, query.user_id, query.node_id
        hidden, entry = memory.get(user_id, HIDDEN), memory.get(user_id, node_id)
        if hidden is not None and entry is not None:
            found = entry.packed_list
            if found is None or hidden.hidden:
                return None
        else:
            hidden_ticket, ticket = memory.ticket(user_id, HIDDEN), memory.ticket(user_id, node_id)
            try:
                hidden_list, state = await self._cache.read(user_id, (HIDDEN, node_id))
                if type(state) is not PackedList or type(hidden_list) is not PackedList or hidden_list.size:
                    return None
                found = state
                entry = memory.put(ticket, found, found.stamp)
                hidden = memory.put(hidden_ticket, hidden_list, hidden_list.stamp)
            finally:
                memory.discard(ticket)
                memory.discard(hidden_ticket)
        if found.size > query.limit:
            return None
        response = self._codec.response(found.packed, "", found.size)
        memory.put_response(data, response, entry, hidden)
        return response


def is_whole(packed_list: PackedList, query: NeighborQuery, hidden: frozenset[str]) -> bool:
    """Whether the stored bytes are the page as it is: nothing to filter, to sort or to cut. Skips unpacking."""
    return query.plain and not hidden and packed_list.size <= query.limit


def batch_keys(user_id: str, node_ids: Iterable[str], limit: int, min_weight: float) -> dict[str, bytes]:
    """Under what memory keeps the parts of a BatchGetNeighborsResponse, by note.

    A part is a ready response, as in 1. The key can't be the bytes of a request: those don't begin with a zero.
    """
    stem = f"\0{user_id}\0{limit}\0{min_weight}\0"
    return {node_id: (stem + node_id).encode() for node_id in node_ids}
