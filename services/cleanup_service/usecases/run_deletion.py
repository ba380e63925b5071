"""Runs one saga: claim, step, save, step, save, ... until the saga has ended or a step fails (docs/deletion.md).

Every step may be done twice: a crash after a step's effect and before its save repeats the step, in this replica or in
another. A save is refused when the saga was written by another replica meanwhile, and then this replica stops. So a
replica that was paused for longer than its lease can repeat effects, which are idempotent and bound to the note's
version, but it can't change the saga.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
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


class LeasedSaga:
    """A saga that this replica holds the lease of. `saga` is always the state that was saved last."""

    def __init__(self, saga: Saga, store: SagaStore, clock: Clock, lease_ms: int, sleep: Sleep) -> None:
        self.saga = saga
        self._store = store
        self._clock = clock
        self._lease_ms = lease_ms
        self._sleep = sleep
        self._writing = asyncio.Lock()

    async def save(self, saga: Saga) -> None:
        """Saves a new state, and publishes cleanup.completed with the state DONE. WriteConflict: the lease was lost."""
        async with self._writing:
            # renew_lease() may have written since the step read the saga.
            lease = self.saga.lease if saga.lease else None
            saga = replace(saga, lease=lease, revision=self.saga.revision)
            write = self._store.finish if saga.state is State.DONE else self._store.save
            self.saga = await write(saga)

    async def renew_lease(self) -> None:
        """Renews the lease, three times within its duration, until it is cancelled or the lease is lost."""
        while True:
            await self._sleep(self._lease_ms / 3000)
            async with self._writing:
                if self.saga.lease is None:
                    return
                try:
                    renewed = sagas.lease_renewed(self.saga, self._clock.now_ms(), self._lease_ms)
                    self.saga = await self._store.save(renewed)
                except WriteConflict:
                    return  # the step fails when it saves
                except Brain2Error as error:
                    log.warning("could not renew a lease: %s", error, extra=_fields(self.saga))


class DeletionRunner:
    """archives: None when archives are disabled, so that notes are purged without one."""

    def __init__(
        self,
        *,
        store: SagaStore,
        nodes: Nodes,
        graph: Graph,
        similarity: Similarity,
        archives: Archives | None,
        observer: Observer,
        clock: Clock,
        owner: str,
        policy: RetryPolicy,
        rng: Rng = random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._graph = graph
        self._similarity = similarity
        self._archives = archives
        self._observer = observer
        self._clock = clock
        self._owner = owner
        self._policy = policy
        self._rng = rng
        self._sleep = sleep
        self._steps: dict[Step, Callable[[LeasedSaga], Awaitable[Saga]]] = {
            Step.FENCE: self._fence,
            Step.ARCHIVE: self._archive,
            Step.DETACH: self._detach,
            Step.UNINDEX: self._unindex,
            Step.PURGE: self._purge,
        }

    async def run_deletion(self, user_id: str, node_id: str) -> Saga | None:
        """Returns the saga as this replica left it; None when it is missing, not due, or leased by another replica."""
        saga = await self._store.get(user_id, node_id)
        if saga is None or not sagas.claimable(saga, self._clock.now_ms()):
            return None
        try:
            claimed = await self._store.save(
                sagas.claimed(saga, self._owner, self._clock.now_ms(), self._policy.lease_ms)
            )
        except WriteConflict:
            return None
        leased = LeasedSaga(claimed, self._store, self._clock, self._policy.lease_ms, self._sleep)
        renewal = asyncio.ensure_future(leased.renew_lease())
        try:
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
        if leased.saga.attempts > self._policy.max_attempts:
            # No attempt saved its failure: the step kills its process, or its replica always loses the lease.
            await leased.save(
                sagas.failed(
                    leased.saga, self._clock.now_ms(), "no attempt ever ended: its process died, or lost its lease"
                )
            )
            self._observer.stopped(leased.saga)
            return
        while leased.saga.state in (State.PENDING, State.RUNNING):
            started = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._policy.step_seconds):
                    after = await self._steps[leased.saga.step](leased)
                await leased.save(after)
            except WriteConflict:
                raise
            except Brain2Error as error:
                await self._attempt_failed(
                    leased, f"{error.reason}: {error.message}", started, permanent=not error.transient
                )
                return
            except TimeoutError:
                await self._attempt_failed(leased, "the step took too long", started, permanent=False)
                return
            except Exception as error:
                log.exception("a step raised an unexpected exception", extra=_fields(leased.saga))
                await self._attempt_failed(leased, f"{type(error).__name__}: {error}", started, permanent=False)
                return
            self._observer.step_done(leased.saga, self._clock.monotonic() - started)
        self._observer.stopped(leased.saga)

    async def _attempt_failed(self, leased: LeasedSaga, error: str, started: float, *, permanent: bool) -> None:
        now = self._clock.now_ms()
        if permanent or leased.saga.attempts >= self._policy.max_attempts:
            after = sagas.failed(leased.saga, now, error)
        else:
            delay = self._policy.backoff.delay(leased.saga.attempts - 1, self._rng)
            after = sagas.attempt_failed(leased.saga, now, error, round(delay * 1000))
        try:
            await leased.save(after)
        except WriteConflict:
            raise
        except Brain2Error as unsaved:
            # The store is down. The lease runs out, and the replica that claims the saga then continues.
            log.warning("could not save a failed attempt: %s", unsaved, extra=_fields(leased.saga))
            return
        self._observer.attempt_failed(leased.saga, self._clock.monotonic() - started)
        if leased.saga.state is State.FAILED:
            self._observer.stopped(leased.saga)

    async def _release(self, leased: LeasedSaga) -> None:
        if leased.saga.lease is None:
            return
        try:
            await leased.save(sagas.released(leased.saga, self._clock.now_ms()))
        except Brain2Error:
            pass  # the lease runs out

    async def _fence(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        try:
            fenced = await self._nodes.fence(saga.user_id, saga.node_id, saga.version)
        except Superseded as superseded:
            return sagas.cancelled(saga, self._clock.now_ms(), str(superseded))
        message = "fenced" if fenced.note is not None else "the note was purged already"
        cascade = fenced.cascade or saga.cascade
        return sagas.advanced(replace(saga, cascade=cascade), self._clock.now_ms(), message)

    async def _archive(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        key = (saga.user_id, saga.node_id)
        # The delete has hidden the note already, unless its event was lost. No edge can be made at a hidden note, so
        # the edges that are listed from here on are all that will ever exist.
        await asyncio.gather(
            self._graph.set_visibility(*key, saga.version, visible=False),
            self._similarity.set_visibility(*key, saga.version, visible=False),
        )
        try:
            note = (await self._nodes.fence(*key, saga.version)).note
        except Superseded:  # purged by another replica and created again since: the old note is gone
            note = None
        edges = self._graph.edges(*key)
        if note is not None and self._archives is not None:
            keywords = await self._similarity.keywords(saga.user_id, note)
            archived = await self._archives.write(leased.saga, note, keywords, edges)
            message = f"archived with {archived.edges} edges"
            after = replace(leased.saga, archive_uri=archived.uri, edges=archived.edges)
        else:
            count = sum([len(batch) async for batch in edges])
            message = "archives are disabled" if note is not None else "nothing left to archive"
            after = replace(leased.saga, edges=count)
        return sagas.advanced(after, self._clock.now_ms(), message)

    async def _detach(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        key = (saga.user_id, saga.node_id)
        orphans = 0
        if saga.cascade is Cascade.ORPHANS:
            # Before the first edge is removed, so that a run after a crash finds the same orphans.
            orphans = await delete_orphans(self._nodes, self._graph, *key)
        done, archived = False, None
        while not done:
            edges, done = await self._graph.detach(*key, leased.saga.version)
            if edges and self._archives is not None and saga.archive_uri:
                if archived is None:
                    archived = await self._archives.edge_keys(saga.archive_uri)
                late = [edge for edge in edges if edge_key(edge) not in archived]
                if late:
                    await self._archives.append(saga.archive_uri, late)
                    await leased.save(replace(leased.saga, edges=leased.saga.edges + len(late)))
        message = f"{leased.saga.edges} edges removed" + (f", {orphans} orphans deleted" if orphans else "")
        return sagas.advanced(replace(leased.saga, removed_edges=leased.saga.edges), self._clock.now_ms(), message)

    async def _unindex(self, leased: LeasedSaga) -> Saga:
        saga = leased.saga
        await self._similarity.remove_node(saga.user_id, saga.node_id, saga.version)
        return sagas.advanced(saga, self._clock.now_ms(), "removed from the index")

    async def _purge(self, leased: LeasedSaga) -> Saga:
        saga, message = leased.saga, "purged"
        try:
            await self._nodes.purge(saga.user_id, saga.node_id, saga.version)
        except Superseded:  # the note was fenced at this version, so it was purged, and another note has its id now
            message = "purged already"
        return sagas.advanced(saga, self._clock.now_ms(), message)


def _fields(saga: Saga) -> dict[str, object]:
    return {"user_id": saga.user_id, "node_id": saga.node_id, "step": saga.step, "attempts": saga.attempts}
