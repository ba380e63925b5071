"""Hubs: notes with so many edges that their lists are paged in Redis instead of moved as a whole (docs/adr/0024).

Redis holds a hub's list sorted by weight and by time. A write doesn't remove the list: it records which entry it
changes, and the next reader repairs that entry from DynamoDB. Without Redis a page is found by one pass over the hub's
edges that holds no more than the page.
"""

import asyncio
import contextvars
import functools
import heapq
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from services.graph_service.model.consistency_token import Token
from services.graph_service.model.neighbors import Neighbor, NeighborPage, NeighborQuery, Order, Position, rank
from services.graph_service.ports import CacheState, EdgeStore, HubPage, Lease, ListCache
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.limits import DEFAULTS, Limits, Sleep
from services.graph_service.usecases.memory_cache import Entry, MemoryCache
from shared.errors import Unavailable
from shared.ids import Clock
from shared.resilience.background import cancel_all
from shared.resilience.retry import Backoff, retry

log = logging.getLogger(__name__)
# Entries in one command: Redis serves nobody else meanwhile, which is well under a millisecond.
_CHUNK = 200
_SCAN = 500
# Edges of one DynamoDB read: the event loop stands still while a response is parsed, 30 ms for 1,000 edges.
_READ = 100
# Repairs of one DynamoDB read.
_REPAIRS = 100
# Seconds between two looks at another process's fill.
_FILL_POLL = 0.05
# Steps of a fill are tried again for less time than a lease lasts.
_STEP_ATTEMPTS = 4
_STEP_BACKOFF = Backoff(base=0.1, cap=0.4)


@dataclass(frozen=True, slots=True)
class CachedHubPage:
    """A page of a hub.

    auto: the hub's automatic edges.
    entry: where memory may keep responses; None: nowhere.
    """

    page: NeighborPage
    auto: int
    entry: Entry | None = None


class Hubs:
    """Pages of hubs."""

    def __init__(
        self,
        store: EdgeStore,
        cache: ListCache,
        memory: MemoryCache,
        freshness: Freshness,
        clock: Clock,
        limits: Limits = DEFAULTS,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._cache = cache
        self._memory = memory
        self._freshness = freshness
        self._clock = clock
        self._wait = limits.hub_wait
        self._page_size = min(limits.page, _READ)
        self._sleep = sleep
        self._fills: dict[tuple[str, str], asyncio.Task[bool]] = {}

    async def linked_by_person(self, user_id: str, node_id: str, other: str) -> bool:
        """Whether a hub has an edge to another note that is not automatic. The list of a hub is not in memory."""
        return any(not edge.metadata.auto for edge in await self._store.between(user_id, node_id, other))

    async def page(
        self, query: NeighborQuery, hidden: frozenset[str], *, dynamodb_only: bool = False, token: Token | None = None
    ) -> CachedHubPage:
        """The page that a query asks for: from Redis, or from DynamoDB where Redis can't answer in time."""
        if not dynamodb_only and not self._freshness.needs_dynamodb(query.node_id, token):
            try:
                page = await self._from_redis(query, hidden)
                if page is not None:
                    return page
            except Unavailable:
                pass
        return await self._from_dynamodb(query, hidden)

    async def warm(self, user_id: str, node_id: str) -> bool:
        """Cache a hub; False when the fill fails or takes longer than a reader waits (it then goes on)."""
        return await self._filled(user_id, node_id, self._clock.monotonic() + self._wait)

    async def close(self) -> None:
        """Cancel the fills that run; their leases expire."""
        await cancel_all(self._fills.values())

    # ------------------------------------------------------------------ pages from Redis
    async def _from_redis(self, query: NeighborQuery, hidden: frozenset[str]) -> CachedHubPage | None:
        """None when the fill that is needed fails or takes too long."""
        deadline = self._clock.monotonic() + self._wait
        while True:
            ticket = self._memory.ticket(query.user_id, query.node_id)
            try:
                assembled = await self._assemble(query, hidden)
                if assembled is not None:
                    page, stamp, clean = assembled
                    return replace(page, entry=self._memory.put(ticket, None, stamp)) if clean else page
            finally:
                self._memory.discard(ticket)
            if not await self._filled(query.user_id, query.node_id, deadline):
                return None

    async def _assemble(self, query: NeighborQuery, hidden: frozenset[str]) -> tuple[CachedHubPage, int, bool] | None:
        """The page, its stamp, and whether no write was pending; None when Redis doesn't hold the hub.

        It takes as many reads of Redis as the filters need.
        """
        after, limit = query.after, query.limit + 1 + min(len(hidden), _CHUNK)
        part = await self._part(query, after, limit)
        if part is not None and part.repairs:
            # These are all writes that were acknowledged before this read; later records are of later writes.
            await self._repair(query.user_id, query.node_id, part)
            part = await self._part(query, after, limit)
        if part is None:
            return None
        first, clean, picked = part, part.clean, list[Neighbor]()
        while True:
            picked.extend(n for n in part.neighbors if n.node_id not in hidden and query.accepts(n))
            if len(picked) > query.limit or len(part.neighbors) < limit:
                break
            after, limit = rank(part.neighbors[-1], query.order), _SCAN  # a selective filter needs larger steps
            part = await self._part(query, after, limit)
            if part is None:
                return None
            clean = clean and part.clean
        degree = first.count - (await self._count_edges_to(query, hidden) if hidden else 0)
        page = NeighborPage(picked[: query.limit], max(degree, 0), len(picked) > query.limit)
        return CachedHubPage(page, first.auto), first.stamp, clean

    async def _part(self, query: NeighborQuery, after: Position | None, limit: int) -> HubPage | None:
        by_weight = query.order is Order.WEIGHT
        ceiling = -query.min_weight if by_weight and query.min_weight > 0 else None
        return await self._cache.hub_page(
            query.user_id, query.node_id, by_time=not by_weight, after=after, limit=limit, ceiling=ceiling
        )

    async def _count_edges_to(self, query: NeighborQuery, hidden: frozenset[str]) -> int:
        others, total = sorted(hidden), 0
        for start in range(0, len(others), _SCAN):
            total += await self._cache.hub_count(query.user_id, query.node_id, others[start : start + _SCAN])
        return total

    async def _repair(self, user_id: str, node_id: str, page: HubPage) -> None:
        for start in range(0, len(page.repairs), _REPAIRS):
            some = page.repairs[start : start + _REPAIRS]
            stored = await self._store.members(user_id, node_id, [member for member, _ in some])
            repairs = [(member, token, stored.get(member)) for member, token in some]
            await self._cache.hub_repair(user_id, node_id, repairs)

    # ------------------------------------------------------------------ fills
    async def _filled(self, user_id: str, node_id: str, deadline: float) -> bool:
        """Wait for the fill of this process, or start it.

        False when it fails or doesn't end before the deadline, and when the note is no hub any more.
        """
        key = (user_id, node_id)
        task = self._fills.get(key)
        if task is None or task.done():
            # The task has an empty context: a fill outlives the deadline of the call that started it.
            task = asyncio.create_task(self._fill(user_id, node_id), context=contextvars.Context())
            self._fills[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        left = deadline - self._clock.monotonic()
        if left <= 0:
            return False
        done, _ = await asyncio.wait((task,), timeout=left)
        return bool(done) and task.exception() is None and task.result()

    def _ended(self, key: tuple[str, str], task: "asyncio.Task[bool]") -> None:
        if self._fills.get(key) is task:
            del self._fills[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            fields = {"user_id": key[0], "node_id": key[1], "error": repr(error)}
            log.warning("a hub could not be cached", extra=fields)

    async def _fill(self, user_id: str, node_id: str) -> bool:
        """Whether Redis holds the hub now."""
        while True:
            lease = await self._cache.hub_lease(user_id, node_id)
            if lease is CacheState.HUB:
                return True
            if isinstance(lease, Lease):
                break
            await self._sleep(_FILL_POLL)  # another process fills it, or has died: its lease expires
        auto, after, more = 0, None, True
        while more:
            part = await self._store.neighbors(user_id, node_id, after=after, limit=self._page_size)
            for start in range(0, len(part.neighbors), _CHUNK):
                some = part.neighbors[start : start + _CHUNK]
                auto += sum(neighbor.auto for neighbor in some)
                if not await self._step(functools.partial(self._cache.hub_stage, lease, some)):
                    return False  # the lease is gone (flushed, expired): the next reader starts a new fill
            after, more = part.next, part.next is not None
        return await self._step(functools.partial(self._cache.hub_store, lease, auto))

    async def _step(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """One step, tried again when Redis answers late: a step has the same effect when it is done twice."""
        return await retry(step, attempts=_STEP_ATTEMPTS, on=(Unavailable,), backoff=_STEP_BACKOFF, sleep=self._sleep)

    # ------------------------------------------------------------------ pages from DynamoDB
    async def _from_dynamodb(self, query: NeighborQuery, hidden: frozenset[str]) -> CachedHubPage:
        """One pass over the hub's edges that holds one page of them."""
        degree, auto, after, more = 0, 0, None, True
        best: list[Neighbor] = []
        while more:
            part = await self._store.neighbors(query.user_id, query.node_id, after=after, limit=self._page_size)
            visible = [n for n in part.neighbors if n.node_id not in hidden]
            degree += len(visible)
            auto += sum(neighbor.auto for neighbor in part.neighbors)
            wanted = (n for n in visible if query.accepts(n))
            if query.after is not None:
                position = query.after
                wanted = (n for n in wanted if rank(n, query.order) > position)
            best = heapq.nsmallest(query.limit + 1, (*best, *wanted), key=lambda n: rank(n, query.order))
            after, more = part.next, part.next is not None
            await asyncio.sleep(0)
        return CachedHubPage(NeighborPage(best[: query.limit], degree, len(best) > query.limit), auto)
