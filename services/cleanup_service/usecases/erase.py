"""EraseUser: removes every trace of a user, in rounds that any replica can go on with.

Notes are ended through their owners, so that what the services hold in memory goes as well; what is left in the stores
then, of whatever kind, is removed by its place alone (docs/adr/0044 says why cleanup may do that). Every part may be
done twice.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from services.cleanup_service.model import erasure as erasures
from services.cleanup_service.model.erasure import Erasure, Phase
from services.cleanup_service.ports import Graph, Index, Nodes, Stale, Superseded
from services.cleanup_service.ports.erase import ErasureStore, Traces
from shared.errors import Brain2Error, NotFound
from shared.ids import Clock, IdFactory
from shared.resilience.retry import Backoff, Rng

log = logging.getLogger("brain2.cleanup")

_AT_ONCE = 16
_BACKOFF = Backoff(base=1.0, cap=60.0)


class Eraser:
    """begin() answers at once; run() does the work, from a loop that asks due() now and then."""

    def __init__(
        self,
        *,
        store: ErasureStore,
        traces: Traces,
        nodes: Nodes,
        graph: Graph,
        index: Index,
        clock: Clock,
        ids: IdFactory,
        owner: str,
        quiet_ms: int,
        lease_ms: int = 60_000,
        rng: Rng = random,
    ) -> None:
        self._store = store
        self._traces = traces
        self._nodes = nodes
        self._graph = graph
        self._index = index
        self._clock = clock
        self._ids = ids
        self._owner = owner
        self._quiet_ms = quiet_ms
        self._lease_ms = lease_ms
        self._rng = rng
        self.wake = asyncio.Event()
        self._phases: dict[Phase, Callable[[Erasure], Awaitable[Erasure]]] = {
            Phase.NODES: self._nodes_phase,
            Phase.EDGES: self._sweep("edges", traces.edges),
            Phase.INDEX: self._sweep("index", traces.index),
            Phase.CACHE: self._sweep("cache", traces.cache),
            Phase.ARCHIVES: self._sweep("archives", traces.archives),
            Phase.RECORDS: self._sweep("records", traces.records),
        }

    async def begin(self, user_id: str) -> Erasure:
        """A new erasure, or the one under way."""
        erasure = await self._store.begin(erasures.begin(self._ids.new_id(), user_id, self._clock.now_ms()))
        self.wake.set()
        return erasure

    async def get(self, erasure_id: str) -> Erasure:
        erasure = await self._store.get(erasure_id)
        if erasure is None:
            raise NotFound("there is no such erasure", reason="ERASURE_NOT_FOUND")
        return erasure

    async def run_forever(self, interval: float) -> None:
        """Works on what is due, one user at a time; looks every `interval` seconds and when one is begun here."""
        while True:
            try:
                for erasure_id in await self._store.due(self._clock.now_ms()):
                    await self.run(erasure_id)
            except Brain2Error as error:
                log.warning("could not look for erasures: %s", error)
            self.wake.clear()
            try:
                await asyncio.wait_for(self.wake.wait(), interval)
            except TimeoutError:
                pass

    async def run(self, erasure_id: str) -> Erasure | None:
        """Goes on with it until it has to wait; None when it isn't due or another replica has it."""
        erasure = await self._store.get(erasure_id)
        if erasure is None or not erasures.claimable(erasure, self._clock.now_ms()):
            return None
        try:
            erasure = await self._store.save(self._claimed(erasure))
            while not erasure.done and erasure.lease is not None:
                erasure = await self._phases[erasure.phase](erasure)
                after = erasures.advanced(erasure, self._clock.now_ms(), self._quiet_ms)
                erasure = await (self._store.finish(after) if after.done else self._store.save(after))
        except Stale:
            return None
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(erasure_id, ""))
            raise
        except Brain2Error as error:
            log.warning("an erasure was held up: %s", error, extra={"erasure_id": erasure_id})
            await self._give_back(erasure_id, f"{error.reason}: {error.message}")
            return None
        return erasure

    def _claimed(self, erasure: Erasure) -> Erasure:
        return erasures.claimed(erasure, self._owner, self._clock.now_ms(), self._lease_ms)

    async def _give_back(self, erasure_id: str, error: str) -> None:
        try:
            erasure = await self._store.get(erasure_id)
            if erasure is None or erasure.lease is None or erasure.lease.owner != self._owner:
                return
            now = self._clock.now_ms()
            if error:
                delay = round(_BACKOFF.delay(erasure.attempts, self._rng) * 1000)
                await self._store.save(erasures.stumbled(erasure, now, error, delay))
            else:
                await self._store.save(erasures.released(erasure, now))
        except Brain2Error:
            pass  # the lease runs out by itself

    async def _nodes_phase(self, erasure: Erasure) -> Erasure:
        user_id = erasure.user_id
        async for page in self._traces.note_ids(user_id):
            for start in range(0, len(page), _AT_ONCE):
                some = page[start : start + _AT_ONCE]
                await asyncio.gather(*(self._end(user_id, node_id) for node_id in some))
                # Written after each handful: it is the progress that people see, and it keeps the lease.
                erasure = await self._store.save(self._claimed(erasures.counted(erasure, "nodes", len(some))))
        return erasure

    async def _end(self, user_id: str, node_id: str) -> None:
        version = await self._nodes.end(user_id, node_id)
        if version is None:
            return
        try:
            await self._nodes.fence(user_id, node_id, version)
            done = False
            while not done:
                _, done = await self._graph.detach(user_id, node_id, version)
            await self._index.remove(user_id, node_id, version)
            await self._nodes.purge(user_id, node_id, version)
        except Superseded:
            pass  # the user restored it just now: the next round finds it

    def _sweep(self, kind: str, remove: Callable[[str], Awaitable[int]]) -> Callable[[Erasure], Awaitable[Erasure]]:
        async def phase(erasure: Erasure) -> Erasure:
            return erasures.counted(erasure, kind, await remove(erasure.user_id))

        return phase
