"""Runs one saga as far as it goes: claim, step, save, step, save, ... until it is over or a step fails.

Every step may be done twice: a crash after a step's effect and before its save repeats it, on this replica or another.
Every save is refused when somebody else wrote the saga meanwhile, and then this replica lets go of it: a replica that
was paused for longer than its lease can repeat effects, which are idempotent and bound to the note's version, but never
the state.
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
    Index,
    Nodes,
    Observer,
    SagaStore,
    Stale,
    Superseded,
    edge_key,
)
from services.cleanup_service.usecases.orphans import delete_orphans
from shared.errors import Brain2Error
from shared.ids import Clock
from shared.resilience.retry import Backoff, Rng, Sleep

log = logging.getLogger("brain2.cleanup")


@dataclass(frozen=True, slots=True)
class Policy:
    """How patiently sagas are run. lease_ms: how long a replica that died keeps a saga from the others."""

    max_attempts: int = 8
    backoff: Backoff = field(default_factory=lambda: Backoff(base=1.0, cap=300.0))
    lease_ms: int = 60_000
    # However slow, a step ends: its lease is renewed for as long as it goes on.
    step_seconds: float = 900.0


class Work:
    """A saga while it is worked on: `saga` is always what was saved last. hold() keeps its lease alive meanwhile."""

    def __init__(self, saga: Saga, store: SagaStore, clock: Clock, lease_ms: int, sleep: Sleep) -> None:
        self.saga = saga
        self._store = store
        self._clock = clock
        self._lease_ms = lease_ms
        self._sleep = sleep
        self._writing = asyncio.Lock()

    async def save(self, saga: Saga) -> None:
        """Writes what a step made of the saga; an end of it is published along. Stale when it isn't ours any more."""
        async with self._writing:
            # The lease may have been renewed since the step looked.
            lease = self.saga.lease if saga.lease else None
            saga = replace(saga, lease=lease, revision=self.saga.revision)
            write = self._store.finish if saga.state is State.DONE else self._store.save
            self.saga = await write(saga)

    async def hold(self) -> None:
        """Renews the lease for as long as the work goes on; a replica that dies or is paused stops doing so."""
        while True:
            await self._sleep(self._lease_ms / 3000)
            async with self._writing:
                if self.saga.lease is None:
                    return
                try:
                    renewed = sagas.prolonged(self.saga, self._clock.now_ms(), self._lease_ms)
                    self.saga = await self._store.save(renewed)
                except Stale:
                    return  # the step finds out when it saves
                except Brain2Error as error:
                    log.warning("could not renew a lease: %s", error, extra=_named(self.saga))


class Runner:
    """archives = None: archives are disabled, notes are purged without."""

    def __init__(
        self,
        *,
        store: SagaStore,
        nodes: Nodes,
        graph: Graph,
        index: Index,
        archives: Archives | None,
        observer: Observer,
        clock: Clock,
        owner: str,
        policy: Policy,
        rng: Rng = random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._graph = graph
        self._index = index
        self._archives = archives
        self._observer = observer
        self._clock = clock
        self._owner = owner
        self._policy = policy
        self._rng = rng
        self._sleep = sleep
        self._steps: dict[Step, Callable[[Work], Awaitable[Saga]]] = {
            Step.FENCE: self._fence,
            Step.ARCHIVE: self._archive,
            Step.DETACH: self._detach,
            Step.UNINDEX: self._unindex,
            Step.PURGE: self._purge,
        }

    async def run(self, user_id: str, node_id: str) -> Saga | None:
        """The saga as this replica left it; None when there is none, it isn't due, or another replica has it."""
        saga = await self._store.get(user_id, node_id)
        if saga is None or not sagas.claimable(saga, self._clock.now_ms()):
            return None
        try:
            claimed = await self._store.save(
                sagas.claimed(saga, self._owner, self._clock.now_ms(), self._policy.lease_ms)
            )
        except Stale:
            return None
        work = Work(claimed, self._store, self._clock, self._policy.lease_ms, self._sleep)
        holding = asyncio.ensure_future(work.hold())
        try:
            await self._drive(work)
        except Stale:
            return None
        except asyncio.CancelledError:
            await asyncio.shield(self._release(work))
            raise
        finally:
            holding.cancel()
        return work.saga

    async def _drive(self, work: Work) -> None:
        if work.saga.attempts > self._policy.max_attempts:
            # Each attempt ended without a word: the step kills its process, or always outlasts its lease.
            await work.save(sagas.failed(work.saga, self._clock.now_ms(), "the attempts never came to an end"))
            self._observer.over(work.saga)
            return
        while work.saga.state in (State.PENDING, State.RUNNING):
            started = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._policy.step_seconds):
                    after = await self._steps[work.saga.step](work)
                await work.save(after)
            except Stale:
                raise
            except Brain2Error as error:
                await self._stumble(work, f"{error.reason}: {error.message}", started, hopeless=not error.transient)
                return
            except TimeoutError:
                await self._stumble(work, "the step took too long", started, hopeless=False)
                return
            except Exception as error:
                log.exception("a step raised what it must not", extra=_named(work.saga))
                await self._stumble(work, f"{type(error).__name__}: {error}", started, hopeless=False)
                return
            self._observer.step_done(work.saga, self._clock.monotonic() - started)
        self._observer.over(work.saga)

    async def _stumble(self, work: Work, error: str, started: float, *, hopeless: bool) -> None:
        now = self._clock.now_ms()
        if hopeless or work.saga.attempts >= self._policy.max_attempts:
            after = sagas.failed(work.saga, now, error)
        else:
            delay = self._policy.backoff.delay(work.saga.attempts - 1, self._rng)
            after = sagas.stumbled(work.saga, now, error, round(delay * 1000))
        try:
            await work.save(after)
        except Stale:
            raise
        except Brain2Error as unsaved:
            # The store is the thing that is down. The lease runs out, and whoever claims the saga then goes on.
            log.warning("could not note a failed attempt: %s", unsaved, extra=_named(work.saga))
            return
        self._observer.stumbled(work.saga, self._clock.monotonic() - started)
        if work.saga.state is State.FAILED:
            self._observer.over(work.saga)

    async def _release(self, work: Work) -> None:
        if work.saga.lease is None:
            return
        try:
            await work.save(sagas.released(work.saga, self._clock.now_ms()))
        except Brain2Error:
            pass  # the lease runs out by itself

    async def _fence(self, work: Work) -> Saga:
        saga = work.saga
        try:
            fenced = await self._nodes.fence(saga.user_id, saga.node_id, saga.version)
        except Superseded as why:
            return sagas.cancelled(saga, self._clock.now_ms(), str(why))
        message = "fenced" if fenced.note is not None else "the note was purged already"
        cascade = fenced.cascade or saga.cascade
        return sagas.advanced(replace(saga, cascade=cascade), self._clock.now_ms(), message)

    async def _archive(self, work: Work) -> Saga:
        saga = work.saga
        key = (saga.user_id, saga.node_id)
        # The delete hid the note already unless its event was lost. No edge can be made at a hidden note: what is
        # listed from here on is all there will ever be.
        await asyncio.gather(self._graph.hide(*key, saga.version), self._index.hide(*key, saga.version))
        try:
            note = (await self._nodes.fence(*key, saga.version)).note
        except Superseded:  # purged by somebody else and written anew: the old note is gone
            note = None
        edges = self._graph.edges(*key)
        if note is not None and self._archives is not None:
            keywords = await self._index.keywords(saga.user_id, note)
            archived = await self._archives.write(work.saga, note, keywords, edges)
            message = f"archived with {archived.edges} edges"
            after = replace(work.saga, archive_uri=archived.uri, edges=archived.edges)
        else:
            count = sum([len(batch) async for batch in edges])
            message = "archives are disabled" if note is not None else "nothing left to archive"
            after = replace(work.saga, edges=count)
        return sagas.advanced(after, self._clock.now_ms(), message)

    async def _detach(self, work: Work) -> Saga:
        saga = work.saga
        key = (saga.user_id, saga.node_id)
        orphans = 0
        if saga.cascade is Cascade.ORPHANS:
            # Before the first edge goes: a crash on the way finds the same orphans again.
            orphans = await delete_orphans(self._nodes, self._graph, *key)
        done, archived = False, None
        while not done:
            edges, done = await self._graph.detach(*key, work.saga.version)
            if edges and self._archives is not None and saga.archive_uri:
                if archived is None:
                    archived = await self._archives.edge_keys(saga.archive_uri)
                late = [edge for edge in edges if edge_key(edge) not in archived]
                if late:
                    await self._archives.append(saga.archive_uri, late)
                    await work.save(replace(work.saga, edges=work.saga.edges + len(late)))
        message = f"{work.saga.edges} edges removed" + (f", {orphans} orphans deleted" if orphans else "")
        return sagas.advanced(replace(work.saga, removed_edges=work.saga.edges), self._clock.now_ms(), message)

    async def _unindex(self, work: Work) -> Saga:
        saga = work.saga
        await self._index.remove(saga.user_id, saga.node_id, saga.version)
        return sagas.advanced(saga, self._clock.now_ms(), "removed from the index")

    async def _purge(self, work: Work) -> Saga:
        saga, message = work.saga, "purged"
        try:
            await self._nodes.purge(saga.user_id, saga.node_id, saga.version)
        except Superseded:  # fenced at this version once; so it was purged, and another note has its id now
            message = "purged already"
        return sagas.advanced(saga, self._clock.now_ms(), message)


def _named(saga: Saga) -> dict[str, object]:
    return {"user_id": saga.user_id, "node_id": saga.node_id, "step": saga.step, "attempts": saga.attempts}
