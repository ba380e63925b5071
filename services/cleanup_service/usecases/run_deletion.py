"""Runs one saga: claim, step, save, step, save, ... until the saga has ended or a step fails (docs/deletion.md).

Every step may be done twice: a crash after a step's effect and before its save repeats the step, in this replica or in
another. A save is refused when the saga was written by another replica meanwhile, and then this replica stops. So a
replica that was paused for longer than its lease can repeat effects, which are idempotent and bound to the note's
version, but it can't change the saga.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Cascade, Saga, State, Step
from services.cleanup_service.ports import (
    Archives,
    Graph,
    Nodes,
    Observer,
    SagaStore,
    Similarity,
    Superseded,
    WriteConflict,
    edge_key,
)
from services.cleanup_service.usecases.delete_orphans import delete_orphans
from shared.errors import Brain2Error
from shared.ids import Clock
from shared.resilience.retry import Backoff, Rng, Sleep
from shared.tracer import NoTracer, Tracer, caused_by

log = logging.getLogger("brain2.cleanup")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of running a saga.

    max_attempts: at a step, then the saga is FAILED. backoff: the waits between attempts. lease_ms: after this time
    another replica takes over the saga of a replica that died. step_seconds: a step is cancelled after this time, since
    its lease is renewed for as long as it runs.
    """

    max_attempts: int = 8
    backoff: Backoff = field(default_factory=lambda: Backoff(base=1.0, cap=300.0))
    lease_ms: int = 60_000
    step_seconds: float = 900.0


@dataclass(slots=True)
class LeasedSaga:
    """A saga that this replica holds the lease of. `saga` is always the state that was saved last."""

    saga: Saga
    store: SagaStore
    clock: Clock
    lease_ms: int
    sleep: Sleep
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def save(self, saga: Saga) -> None:
        """Saves a new state, and publishes cleanup.completed with the state DONE. WriteConflict: the lease was lost."""
        async with self._writing:
            # renew_lease() may have written since the step read the saga.
            lease = self.saga.lease if saga.lease else None
            saga = replace(saga, lease=lease, revision=self.saga.revision)
            write = self.store.finish if saga.state is State.DONE else self.store.save
            self.saga = await write(saga)

    async def renew_lease(self) -> None:
        """Renews the lease, three times within its duration, until it is cancelled or the lease is lost."""
        while True:
            await self.sleep(self.lease_ms / 3000)
            async with self._writing:
                if self.saga.lease is None:
                    return
                try:
                    renewed = sagas.lease_renewed(self.saga, self.clock.now_ms(), self.lease_ms)
                    self.saga = await self.store.save(renewed)
                except WriteConflict:
                    return  # the step fails when it saves
                except Brain2Error as error:
                    log.warning("could not renew a lease: %s", error, extra=_fields(self.saga))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionRunner:
    """archives: None when archives are disabled, so that notes are purged without one."""

    store: SagaStore
    nodes: Nodes
    graph: Graph
    similarity: Similarity
    archives: Archives | None
    observer: Observer
    clock: Clock
    owner: str
    policy: RetryPolicy
    rng: Rng = random
    sleep: Sleep = asyncio.sleep
    tracer: Tracer = field(default_factory=NoTracer)

    async def run_deletion(self, user_id: str, node_id: str) -> Saga | None:
        """Returns the saga as this replica left it; None when it is missing, not due, or leased by another replica."""
        saga = await self.store.get(user_id, node_id)
        if saga is None or not sagas.claimable(saga, self.clock.now_ms()):
            return None
        try:
            claimed = await self.store.save(sagas.claimed(saga, self.owner, self.clock.now_ms(), self.policy.lease_ms))
        except WriteConflict:
            return None
        leased = LeasedSaga(claimed, self.store, self.clock, self.policy.lease_ms, self.sleep)
        renewal = asyncio.ensure_future(leased.renew_lease())
        try:
            age_ms = self.clock.now_ms() - saga.trace_ms
            with caused_by(self.tracer, "deletion", saga.trace, age_ms, {"brain2.attempt": claimed.attempts}):
                await self._run_steps(leased)
        except WriteConflict:
            return None
        except asyncio.CancelledError:
            await asyncio.shield(self._release(leased))
            raise
        finally:
            renewal.cancel()
        return leased.saga

    async def _run_steps(self, leased: LeasedSaga) -> None:
        if leased.saga.attempts > self.policy.max_attempts:
            # No attempt saved its failure: the step kills its process, or its replica always loses the lease.
            error = "no attempt ever ended: its process died, or lost its lease"
            await leased.save(sagas.failed(leased.saga, self.clock.now_ms(), error))
            self.observer.stopped(leased.saga)
            return
        while leased.saga.state in (State.PENDING, State.RUNNING):
            started = self.clock.monotonic()
            try:
                with self.tracer.span(f"deletion {leased.saga.step.lower()}"):
                    async with asyncio.timeout(self.policy.step_seconds):
                        after = await self._step(leased)
                    await leased.save(after)
            except WriteConflict:
                raise
            except Exception as error:
                await self._attempt_failed(leased, error, started)
                return
            self.observer.step_done(leased.saga, self.clock.monotonic() - started)
        self.observer.stopped(leased.saga)

    async def _step(self, leased: LeasedSaga) -> Saga:
        steps: Mapping[Step, Callable[[LeasedSaga], Awaitable[Saga]]] = {
            Step.FENCE: self._fence,
            Step.ARCHIVE: self._archive,
            Step.DETACH: self._detach,
            Step.UNINDEX: self._unindex,
            Step.PURGE: self._purge,
        }
        return await steps[leased.saga.step](leased)

    async def _attempt_failed(self, leased: LeasedSaga, error: Exception, started: float) -> None:
        if isinstance(error, Brain2Error):
            message = f"{error.reason}: {error.message}"
        elif isinstance(error, TimeoutError):
            message = "the step took too long"
        else:
            log.error("a step raised an unexpected exception", exc_info=error, extra=_fields(leased.saga))
            message = f"{type(error).__name__}: {error}"
        now = self.clock.now_ms()
        permanent = isinstance(error, Brain2Error) and not error.transient
        if permanent or leased.saga.attempts >= self.policy.max_attempts:
            after = sagas.failed(leased.saga, now, message)
        else:
            delay = self.policy.backoff.delay(leased.saga.attempts - 1, self.rng)
            after = sagas.attempt_failed(leased.saga, now, message, round(delay * 1000))
        try:
            await leased.save(after)
        except WriteConflict:
            raise
        except Brain2Error as unsaved:
            # The store is down. The lease runs out, and the replica that claims the saga then continues.
            log.warning("could not save a failed attempt: %s", unsaved, extra=_fields(leased.saga))
            return
        self.observer.attempt_failed(leased.saga, self.clock.monotonic() - started)
        if leased.saga.state is State.FAILED:
            self.observer.stopped(leased.saga)

    async def _release(self, leased: LeasedSaga) -> None:
        if leased.saga.lease is None:
            return
        try:
            await leased.save(sagas.released(leased.saga, self.clock.now_ms()))
        except Brain2Error:
            pass  # the lease runs out

    async def _fence(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        try:
            fenced = await self.nodes.fence(saga.user_id, saga.node_id, saga.version)
        except Superseded as superseded:
            return sagas.cancelled(saga, self.clock.now_ms(), str(superseded))
        message = "fenced" if fenced.note is not None else "the note was purged already"
        cascade = fenced.cascade or saga.cascade
        return sagas.advanced(replace(saga, cascade=cascade), self.clock.now_ms(), message)

    async def _archive(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        key = (saga.user_id, saga.node_id)
        # The delete has hidden the note already, unless its event was lost. No edge can be made at a hidden note, so
        # the edges that are listed from here on are all that will ever exist.
        await asyncio.gather(
            self.graph.set_visibility(*key, saga.version, visible=False),
            self.similarity.set_visibility(*key, saga.version, visible=False),
        )
        try:
            note = (await self.nodes.fence(*key, saga.version)).note
        except Superseded:  # purged by another replica and created again since: the old note is gone
            note = None
        edges = self.graph.edges(*key)
        if note is not None and self.archives is not None:
            keywords = await self.similarity.keywords(saga.user_id, note)
            archived = await self.archives.write(leased.saga, note, keywords, edges)
            message = f"archived with {archived.edges} edges"
            after = replace(leased.saga, archive_uri=archived.uri, edges=archived.edges)
        else:
            count = sum([len(batch) async for batch in edges])
            message = "archives are disabled" if note is not None else "nothing left to archive"
            after = replace(leased.saga, edges=count)
        return sagas.advanced(after, self.clock.now_ms(), message)

    async def _detach(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        key = (saga.user_id, saga.node_id)
        orphans = 0
        if saga.cascade is Cascade.ORPHANS:
            # Before the first edge is removed, so that a run after a crash finds the same orphans.
            orphans = await delete_orphans(self.nodes, self.graph, *key)
        done, archived = False, None
        while not done:
            edges, done = await self.graph.detach(*key, leased.saga.version)
            if edges and self.archives is not None and saga.archive_uri:
                if archived is None:
                    archived = await self.archives.edge_keys(saga.archive_uri)
                late = [edge for edge in edges if edge_key(edge) not in archived]
                if late:
                    await self.archives.append(saga.archive_uri, late)
                    await leased.save(replace(leased.saga, edges=leased.saga.edges + len(late)))
        message = f"{leased.saga.edges} edges removed" + (f", {orphans} orphans deleted" if orphans else "")
        return sagas.advanced(replace(leased.saga, removed_edges=leased.saga.edges), self.clock.now_ms(), message)

    async def _unindex(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        await self.similarity.remove_node(saga.user_id, saga.node_id, saga.version)
        return sagas.advanced(saga, self.clock.now_ms(), "removed from the index")

    async def _purge(self, leased: LeasedSaga) -> Saga:
        saga, message = leased.saga, "purged"
        try:
            await self.nodes.purge(saga.user_id, saga.node_id, saga.version)
        except Superseded:  # the note was fenced at this version, so it was purged, and another note has its id now
            message = "purged already"
        return sagas.advanced(saga, self.clock.now_ms(), message)


def _fields(saga: Saga) -> dict[str, object]:
    return {"user_id": saga.user_id, "node_id": saga.node_id, "step": saga.step, "attempts": saga.attempts}
