"""Notes with more edges than one block should hold: their lists are paged in Redis and never move as a whole.

Redis keeps a hub's list sorted by weight and by time. A write doesn't throw it away: it leaves a mark at the one entry
that it changes, and the next reader repairs that entry from DynamoDB (the lease protocol, entry by entry). Without
Redis a page is found by one pass over the hub's edges that holds no more than the page.
"""

import asyncio
import contextvars
import functools
import heapq
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from services.graph_service.model.neighbors import Neighbor, Order, Page, Position, Query, rank
from services.graph_service.model.token import Token
from services.graph_service.ports import EdgeStore, HubPage, Lease, ListCache, Told
from services.graph_service.usecases.adjacency import DEFAULTS, Adjacency, Limits, Sleep
from services.graph_service.usecases.l1 import L1, Entry
from shared.errors import Unavailable
from shared.ids import Clock

log = logging.getLogger(__name__)
# Entries that one command to Redis carries: it blocks everybody else there for well under a millisecond.
_CHUNK = 200
_SCAN = 500
# Edges of one DynamoDB read: taking an answer apart holds everybody else of the process, 1,000 edges for 30 ms.
_READ = 100
# Pauses, in seconds, before a step of a fill is tried again; together less than a lease lives.
_AGAIN = (0.1, 0.2, 0.4)


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """A page, how many automatic edges the hub has (None: not counted), and its entry when answers may be kept."""

    page: Page
    auto: int | None = None
    entry: Entry | None = None


class Hubs:
    """Pages of hubs."""

    def __init__(
        self,
        store: EdgeStore,
        cache: ListCache,
        l1: L1,
        adjacency: Adjacency,
        clock: Clock,
        limits: Limits = DEFAULTS,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._cache = cache
        self._l1 = l1
        self._adjacency = adjacency
        self._clock = clock
        self._wait = limits.hub_wait
        self._page = min(limits.page, _READ)
        self._sleep = sleep
        self._fills: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def page(
        self, query: Query, hidden: frozenset[str], *, truth: bool = False, token: Token | None = None
    ) -> HubAnswer:
        """The page that a query asks of a hub. truth: only DynamoDB may be asked."""
        if not truth and not self._adjacency.truth_only(query.note, token):
            try:
                answer = await self._cached(query, hidden)
                if answer is not None:
                    return answer
            except Unavailable:
                pass  # Redis went away under us
        return HubAnswer(await self._streamed(query, hidden))

    async def warm(self, user: str, note: str) -> bool:
        """Have a hub's list in Redis; False when that fails or takes longer than a reader would wait (it goes on)."""
        return await self._filled(user, note, self._clock.monotonic() + self._wait)

    async def close(self) -> None:
        """Stop the fills that run; their leases expire."""
        for task in self._fills.values():
            task.cancel()
        await asyncio.gather(*self._fills.values(), return_exceptions=True)

    # ------------------------------------------------------------------ from Redis
    async def _cached(self, query: Query, hidden: frozenset[str]) -> HubAnswer | None:
        ends = self._clock.monotonic() + self._wait
        while True:
            ticket = self._l1.ticket(query.user, query.note)
            try:
                answer = await self._assembled(query, hidden)
                if answer is not None:
                    found, clean = answer
                    if clean:
                        return replace(found[0], entry=self._l1.put(ticket, None, found[1]))
                    return found[0]
            finally:
                self._l1.discard(ticket)
            if not await self._filled(query.user, query.note, ends):
                return None

    async def _assembled(self, query: Query, hidden: frozenset[str]) -> tuple[tuple[HubAnswer, int], bool] | None:
        """The page put together from as many reads as the filters need; None when the hub isn't in Redis."""
        after, limit = query.after, query.limit + 1 + min(len(hidden), _CHUNK)
        part = await self._part(query, after, limit)
        if part is not None and part.repairs:
            # All that was acknowledged before we came is in these; marks that come later are of later writes.
            await self._repair(query.user, query.note, part)
            part = await self._part(query, after, limit)
        if part is None:
            return None
        first, clean, picked = part, part.clean, list[Neighbor]()
        while True:
            picked.extend(n for n in part.neighbors if n.node not in hidden and query.accepts(n))
            if len(picked) > query.limit or len(part.neighbors) < limit:
                break
            after, limit = rank(part.neighbors[-1], query.order), _SCAN  # selective filters: take larger steps
            part = await self._part(query, after, limit)
            if part is None:
                return None
            clean = clean and part.clean
        visible = first.count
        if hidden:
            visible -= await self._hidden_edges(query, hidden)
        page = Page(picked[: query.limit], max(visible, 0), len(picked) > query.limit)
        return (HubAnswer(page, first.auto), first.stamp), clean

    async def _part(self, query: Query, after: Position | None, limit: int) -> HubPage | None:
        by_weight = query.order is Order.WEIGHT
        ceiling = -query.min_weight if by_weight and query.min_weight > 0 else None
        return await self._cache.hub_page(
            query.user, query.note, by_time=not by_weight, after=after, limit=limit, ceiling=ceiling
        )

    async def _hidden_edges(self, query: Query, hidden: frozenset[str]) -> int:
        others, total = sorted(hidden), 0
        for start in range(0, len(others), _SCAN):
            total += await self._cache.hub_count(query.user, query.note, others[start : start + _SCAN])
        return total

    async def _repair(self, user: str, note: str, page: HubPage) -> None:
        for start in range(0, len(page.repairs), 100):
            some = page.repairs[start : start + 100]
            now = await self._store.members(user, note, [member for member, _ in some])
            await self._cache.hub_repair(user, note, [(member, token, now.get(member)) for member, token in some])

    # ------------------------------------------------------------------ filling
    async def _filled(self, user: str, note: str, ends: float) -> bool:
        """Have the list filled, by us or by whoever does it already; False when that takes longer than we wait."""
        key = (user, note)
        task = self._fills.get(key)
        if task is None or task.done():
            # Its own task in an empty context: a fill outlives the deadline of the call that started it.
            task = asyncio.create_task(self._fill(user, note), context=contextvars.Context())
            self._fills[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        left = ends - self._clock.monotonic()
        if left <= 0:
            return False
        done, _ = await asyncio.wait((task,), timeout=left)
        return bool(done) and task.exception() is None

    def _ended(self, key: tuple[str, str], task: "asyncio.Task[None]") -> None:
        if self._fills.get(key) is task:
            del self._fills[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a hub could not be cached", extra={"user": key[0], "note": key[1], "error": repr(error)})

    async def _fill(self, user: str, note: str) -> None:
        while True:
            got = await self._cache.hub_lease(user, note)
            if got is Told.HUB:
                return
            if isinstance(got, Lease):
                break
            await self._sleep(0.05)  # another process is at it, or was: its lease expires
        auto, after, more = 0, None, True
        while more:
            part = await self._store.neighbors(user, note, after=after, limit=self._page)
            for start in range(0, len(part.neighbors), _CHUNK):
                some = part.neighbors[start : start + _CHUNK]
                auto += sum(neighbor.auto for neighbor in some)
                if not await self._surely(functools.partial(self._cache.hub_stage, got, some)):
                    return  # taken away (flushed, expired): the next reader begins again
            after, more = part.next, part.next is not None
        await self._surely(functools.partial(self._cache.hub_store, got, auto))

    async def _surely(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """A step of a fill may be repeated, and one late answer of Redis should not cost the whole fill."""
        for pause in _AGAIN:
            try:
                return await step()
            except Unavailable:
                await self._sleep(pause)
        return await step()

    # ------------------------------------------------------------------ from DynamoDB
    async def _streamed(self, query: Query, hidden: frozenset[str]) -> Page:
        """One pass over the hub's edges, holding one page of them."""
        degree, after, more = 0, None, True
        best: list[Neighbor] = []
        while more:
            part = await self._store.neighbors(query.user, query.note, after=after, limit=self._page)
            seen = [n for n in part.neighbors if n.node not in hidden]
            degree += len(seen)
            wanted = (n for n in seen if query.accepts(n))
            if query.after is not None:
                position = query.after
                wanted = (n for n in wanted if rank(n, query.order) > position)
            best = heapq.nsmallest(query.limit + 1, (*best, *wanted), key=lambda n: rank(n, query.order))
            after, more = part.next, part.next is not None
            await asyncio.sleep(0)
        return Page(best[: query.limit], degree, len(best) > query.limit)
