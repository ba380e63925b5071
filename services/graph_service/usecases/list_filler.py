"""Reads lists from DynamoDB, and fills Redis and memory with them under a lease (docs/list-cache.md)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.graph_service.model.consistency_token import Token
from services.graph_service.model.neighbors import Neighbor, by_weight
from services.graph_service.ports import HIDDEN, CacheState, Codec, EdgeStore, Lease, ListCache, PackedList
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.limits import DEFAULTS, Limits, Sleep
from services.graph_service.usecases.memory_cache import Entry, MemoryCache
from services.graph_service.usecases.range_read import RangeRead
from shared.errors import Unavailable
from shared.ids import Clock
from shared.resilience.bulkhead import Bulkhead
from shared.resilience.singleflight import SingleFlight
from shared.resilience.slices import time_left


@dataclass(frozen=True, slots=True)
class ResolvedList:
    """A list that a lookup found.

    packed_list: None for a hub, which Hubs reads page by page.
    entry: the list's entry in memory, if it is stored there.
    dynamodb_only: Redis is not in use, so the hub must be read from DynamoDB.
    provisional: a part of it is pending, and may never be stored: no cache may keep the list.
    """

    packed_list: PackedList | None
    entry: Entry | None = None
    dynamodb_only: bool = False
    provisional: bool = False

    @property
    def stamp(self) -> int:
        return self.packed_list.stamp if self.packed_list is not None else 0


# Above this many lists, a lookup is bulk work.
_FEW = 4


class ListFiller:
    """Concurrent reads of one list share one read; an invalidation makes later readers start a new one."""

    def __init__(
        self,
        store: EdgeStore,
        cache: ListCache,
        memory: MemoryCache,
        codec: Codec,
        freshness: Freshness,
        clock: Clock,
        limits: Limits = DEFAULTS,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._cache = cache
        self._memory = memory
        self._codec = codec
        self._freshness = freshness
        self._clock = clock
        self._limits = limits
        self._sleep = sleep
        self._flights: SingleFlight[ResolvedList] = SingleFlight()
        self._reads = Bulkhead(limits.reads, max(1, limits.reads * 3 // 4))
        # Of many lists only so many are resolved at the same time, so that reads are left for single lookups.
        self._bulk = asyncio.Semaphore(max(1, limits.reads // 2))

    def detach(self, user_id: str, node_id: str) -> None:
        """Nobody who asks from now on shares a read of this list that runs already."""
        self._flights.forget((user_id, node_id))

    async def resolve_all(
        self, user_id: str, unresolved: Sequence[tuple[str, PackedList | CacheState]], token: Token | None
    ) -> Sequence[ResolvedList]:
        """Read these lists, each with what Redis holds of it: a state, or a list that is too old for the token."""
        if len(unresolved) == 1:
            return [await self._resolve(user_id, *unresolved[0], token)]
        if len(unresolved) <= _FEW:
            return await asyncio.gather(*(self._resolve(user_id, *each, token) for each in unresolved))
        together = RangeRead(self._store, self._reads, user_id, [each for each, _ in unresolved if each != HIDDEN])
        if await together.is_worthwhile():
            return await asyncio.gather(*(self._resolve(user_id, *each, token, together) for each in unresolved))
        return await asyncio.gather(*(self._resolve_in_lane(user_id, *each, token) for each in unresolved))

    async def _resolve_in_lane(
        self, user_id: str, node_id: str, state: PackedList | CacheState, token: Token | None
    ) -> ResolvedList:
        """Wait before the read of the list begins: a single lookup of it then starts one of its own."""
        async with self._bulk:
            return await self._resolve(user_id, node_id, state, token)

    async def _resolve(
        self,
        user_id: str,
        node_id: str,
        state: PackedList | CacheState,
        token: Token | None,
        together: RangeRead | None = None,
    ) -> ResolvedList:
        """together: reads the list with those of other notes."""
        if self._freshness.needs_dynamodb(node_id, token):
            return await self._read(user_id, node_id, together=together)
        if state is CacheState.HUB_FILLING:
            return ResolvedList(None)
        key = (user_id, node_id)
        if state is CacheState.DIRTY:
            found = await self._flights.do(key, lambda: self._read(user_id, node_id, together=together))
        else:
            stale = state.stamp if type(state) is PackedList else None
            found = await self._flights.do(key, lambda: self._fill(user_id, node_id, stale, together))
        if found.packed_list is None or self._freshness.satisfies(node_id, found.stamp, token):
            return found
        # The shared read may have begun before the token's write; a read of our own begins after it.
        return await self._read(user_id, node_id, together=together)

    async def _fill(self, user_id: str, node_id: str, stale: int | None, together: RangeRead | None) -> ResolvedList:
        """Read DynamoDB and store the list, if a lease is given."""
        ticket = self._memory.ticket(user_id, node_id)
        try:
            try:
                lease = await self._lease(user_id, node_id, stale)
            except Unavailable:
                lease = CacheState.DIRTY
            if isinstance(lease, PackedList):
                return ResolvedList(lease, self._memory.put(ticket, lease, lease.stamp))
            if isinstance(lease, CacheState):
                if lease in (CacheState.HUB, CacheState.HUB_FILLING):
                    return ResolvedList(None)
                return await self._read(user_id, node_id, together=together)
            found = await self._read(user_id, node_id, lease.stamp, together)
            if found.packed_list is None or found.provisional:
                return found
            if await self._stored(lease, found.packed_list):
                return ResolvedList(found.packed_list, self._memory.put(ticket, found.packed_list, lease.stamp))
            return ResolvedList(found.packed_list._replace(stamp=0))  # a write took the lease away
        finally:
            self._memory.discard(ticket)

    async def _lease(self, user_id: str, node_id: str, stale: int | None) -> Lease | PackedList | CacheState:
        """A lease, or what Redis holds; waits for another process's fill for a bounded time."""
        deadline = self._clock.monotonic() + self._limits.filling_wait
        pause = 0.002
        while True:
            lease = await self._cache.lease(user_id, node_id, instead_of=stale)
            if lease is not CacheState.FILLING or self._clock.monotonic() >= deadline:
                return lease
            await self._sleep(pause)
            pause = min(2 * pause, 0.016)

    async def _stored(self, lease: Lease, packed_list: PackedList) -> bool:
        try:
            return await self._cache.store(lease, packed_list)
        except Unavailable:
            return False

    async def _hidden(self, user_id: str) -> tuple[list[str], bool]:
        """The hidden notes, by what is stored and what is pending, and whether anything that is pending counted."""
        try:
            # Before the records: what is no longer pending by then is among them.
            pending = await self._cache.pending_visibilities(user_id)
        except Unavailable:
            pending = ()
        latest = {record.node_id: record for record in await self._store.visibilities(user_id)}
        provisional = False
        for record in pending:
            if record.replaces(latest.get(record.node_id)):
                latest[record.node_id] = record
                provisional = True
        return [node_id for node_id, record in latest.items() if record.hidden], provisional

    async def _read(
        self, user_id: str, node_id: str, stamp: int = 0, together: RangeRead | None = None
    ) -> ResolvedList:
        """A consistent read of DynamoDB; stops as soon as the list proves to be a hub."""
        if together is not None and node_id != HIDDEN:
            shared = await together.neighbors(node_id)
            await time_left()  # all lists of the read are ready now
            if shared is not None and len(shared) <= self._limits.hub_degree:
                return self._packed(shared, stamp)
        async with self._reads.place(user_id):
            if node_id == HIDDEN:
                ids, provisional = await self._hidden(user_id)
                packed = PackedList(0 if provisional else stamp, len(ids), 0, "\n".join(ids).encode())
                return ResolvedList(packed, provisional=provisional)
            neighbors: list[Neighbor] = []
            after: str | None = None
            while True:
                # One edge above the hub's limit tells a hub from a list.
                limit = min(self._limits.page, self._limits.hub_degree + 1 - len(neighbors))
                part = await self._store.neighbors(user_id, node_id, after=after, limit=limit)
                neighbors.extend(part.neighbors)
                after = part.next
                if len(neighbors) > self._limits.hub_degree:
                    return ResolvedList(None, dynamodb_only=not self._cache.space)
                if after is None:
                    break
        return self._packed(neighbors, stamp)

    def _packed(self, neighbors: Sequence[Neighbor], stamp: int) -> ResolvedList:
        auto = sum(neighbor.auto for neighbor in neighbors)
        packed = self._codec.pack(sorted(neighbors, key=by_weight))
        return ResolvedList(PackedList(stamp, len(neighbors), auto, packed))
