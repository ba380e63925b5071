"""EraseUser and GetErasure: removes everything of a user, in rounds that any replica can continue.

Notes are deleted and purged through the services that own them, so that these drop what they hold in memory. Then all
that is left in the stores is removed by its key alone, whichever service wrote it (docs/adr/0044 gives the reasons).
Every part may be done twice.
"""

import asyncio
import logging
import random
from dataclasses import dataclass, field

from services.cleanup_service.model import erasure as erasures
from services.cleanup_service.model.erasure import Erasure, Phase
from services.cleanup_service.ports import Graph, Nodes, Similarity, Superseded, WriteConflict
from services.cleanup_service.ports.erase_user import ErasureLedger, ErasureStore, UserPartition
from shared.errors import Brain2Error, NotFound
from shared.ids import Clock, IdFactory
from shared.resilience.retry import Backoff, Rng
from shared.tracer import NoTracer, Tracer, caused_by

log = logging.getLogger("brain2.cleanup")

_AT_ONCE = 16
_BACKOFF = Backoff(base=1.0, cap=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEraser:
    """erase_user() starts an erasure; run_forever() carries erasures out in the background.

    ledger: None without a bucket; then a table that is restored to a time before an erasure brings the user back.
    """

    store: ErasureStore
    ledger: ErasureLedger | None
    partition: UserPartition
    nodes: Nodes
    graph: Graph
    similarity: Similarity
    clock: Clock
    ids: IdFactory
    owner: str
    quiet_ms: int
    lease_ms: int = 60_000
    rng: Rng = random
    tracer: Tracer = field(default_factory=NoTracer)
    _started: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def erase_user(self, user_id: str) -> Erasure:
        """Starts an erasure and returns it, or the one that is in progress. It is in the ledger when this returns."""
        erasure = await self.store.begin(
            erasures.begin(self.ids.new_id(), user_id, self.clock.now_ms(), self.tracer.current())
        )
        await self._write_ledger(erasure)
        self._started.set()
        return erasure

    async def get_erasure(self, erasure_id: str, reader: str | None = None) -> Erasure:
        """reader: the user who may read its own erasure only; None may read all. Raises NotFound."""
        erasure = await self.store.get(erasure_id)
        if erasure is None or (reader is not None and not erasure.is_of(reader)):
            raise NotFound("there is no such erasure", reason="ERASURE_NOT_FOUND")
        return erasure

    async def run_forever(self, interval: float) -> None:
        """Runs due erasures, one at a time, every `interval` seconds and when one is started in this process."""
        while True:
            try:
                for erasure_id in await self.store.due(self.clock.now_ms()):
                    await self.run_erasure(erasure_id)
            except Brain2Error as error:
                log.warning("could not read due erasures: %s", error)
            self._started.clear()
            try:
                async with asyncio.timeout(interval):
                    await self._started.wait()
            except TimeoutError:
                pass

    async def run_erasure(self, erasure_id: str) -> Erasure | None:
        """Runs an erasure until it has to wait; returns None when it isn't due, failed, or another replica runs it."""
        erasure = await self.store.get(erasure_id)
        if erasure is None or not erasures.claimable(erasure, self.clock.now_ms()):
            return None
        try:
            erasure = await self.store.save(self._claimed(erasure))
            # Once more, before anything is removed: erase_user() may have failed between the table and the ledger.
            await self._write_ledger(erasure)
            age_ms = self.clock.now_ms() - erasure.start_ms
            with caused_by(self.tracer, "erasure", erasure.trace, age_ms, {"brain2.round": erasure.round}):
                while not erasure.done and erasure.lease is not None:
                    with self.tracer.span(f"erasure {erasure.phase}"):
                        erasure = await self._run_phase(erasure)
                        after = erasures.advanced(erasure, self.clock.now_ms(), self.quiet_ms)
                        erasure = await (self.store.finish(after) if after.done else self.store.save(after))
        except WriteConflict:
            return None
        except asyncio.CancelledError:
            await asyncio.shield(self._release(erasure_id, ""))
            raise
        except Brain2Error as error:
            log.warning("an erasure failed and is tried again: %s", error, extra={"erasure_id": erasure_id})
            await self._release(erasure_id, f"{error.reason}: {error.message}")
            return None
        return erasure

    async def _write_ledger(self, erasure: Erasure) -> None:
        if self.ledger is not None and erasure.round == 1:
            await self.ledger.write(erasures.record_of(erasure))

    def _claimed(self, erasure: Erasure) -> Erasure:
        return erasures.claimed(erasure, self.owner, self.clock.now_ms(), self.lease_ms)

    async def _release(self, erasure_id: str, error: str) -> None:
        try:
            erasure = await self.store.get(erasure_id)
            if erasure is None or erasure.lease is None or erasure.lease.owner != self.owner:
                return
            now = self.clock.now_ms()
            if error:
                delay = round(_BACKOFF.delay(erasure.attempts, self.rng) * 1000)
                await self.store.save(erasures.attempt_failed(erasure, now, error, delay))
            else:
                await self.store.save(erasures.released(erasure, now))
        except Brain2Error:
            pass  # the lease runs out

    async def _run_phase(self, erasure: Erasure) -> Erasure:
        if erasure.phase is Phase.NODES:
            return await self._purge_notes(erasure)
        removers = {
            Phase.EDGES: self.partition.remove_edges,
            Phase.INDEX: self.partition.remove_index,
            Phase.CACHE: self.partition.remove_cache,
            Phase.ARCHIVES: self.partition.remove_archives,
            Phase.RECORDS: self.partition.remove_records,
        }
        return erasures.counted(erasure, erasure.phase, await removers[erasure.phase](erasure.user_id))

    async def _purge_notes(self, erasure: Erasure) -> Erasure:
        user_id = erasure.user_id
        async for page in self.partition.note_ids(user_id):
            for start in range(0, len(page), _AT_ONCE):
                some = page[start : start + _AT_ONCE]
                await asyncio.gather(*(self._purge(user_id, node_id) for node_id in some))
                # Saved after each batch: GetErasure shows the progress, and the lease is renewed.
                erasure = await self.store.save(self._claimed(erasures.counted(erasure, Phase.NODES, len(some))))
        return erasure

    async def _purge(self, user_id: str, node_id: str) -> None:
        version = await self.nodes.delete(user_id, node_id)
        if version is None:
            return
        try:
            await self.nodes.fence(user_id, node_id, version)
            done = False
            while not done:
                _, done = await self.graph.detach(user_id, node_id, version)
            await self.similarity.remove_node(user_id, node_id, version)
            await self.nodes.purge(user_id, node_id, version)
        except Superseded:
            pass  # it was restored just now: the next round finds it
