"""The saga of one deletion as pure code: every state it can be in and every step from one to the next.

    PENDING --fence--> RUNNING: ARCHIVE -> DETACH -> UNINDEX -> PURGE --> DONE
       | restored, or the fence came too late          | a step failed too often
       v                                               v
    CANCELLED                                        FAILED --RetryDeletion--> RUNNING (or PENDING before the fence)

Until the fence the note may come back at any moment; from the fence on it can't. Which of the two happens is decided in
one place, the node service, by the version of the note; the saga only learns the outcome. A saga holds what a replica
that never saw it before needs to go on: nothing about a deletion lives in a process only.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

HISTORY_LIMIT = 50
# How long what is over stays readable. Longer than an event can stay in a queue (14 days), so that a late node.deleted
# always meets the saga that makes it void.
KEEP_FINISHED_MS = 30 * 86_400_000
SHARDS = 16


class State(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


class Step(StrEnum):
    FENCE = "FENCE"
    ARCHIVE = "ARCHIVE"
    DETACH = "DETACH"
    UNINDEX = "UNINDEX"
    PURGE = "PURGE"


class Cascade(StrEnum):
    """What is removed along with the note (brain2.node.v1.Cascade)."""

    EDGES = "EDGES"
    ORPHANS = "ORPHANS"


_STEPS = tuple(Step)
OVER = frozenset({State.DONE, State.CANCELLED})


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a saga, until when (ms); after that anybody may take over."""

    owner: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the history."""

    time_ms: int
    state: State
    step: Step
    message: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """What the node service says of a deleted note: times in ms, version at the delete.

    incarnation: orders the lives of an id (brain2.node.v1.Node); versions begin anew with each.
    """

    user_id: str
    node_id: str
    version: int
    delete_ms: int
    purge_ms: int
    cascade: Cascade = Cascade.EDGES
    incarnation: int = 0


@dataclass(frozen=True, slots=True)
class Restore:
    """A note that is back, at this version of this life."""

    user_id: str
    node_id: str
    version: int
    incarnation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """One deletion. due_ms: when it wants attention next. edges: how many the note had when it was archived.

    revision changes at every write (the store sets it): a writer that read an older one is refused.
    """

    user_id: str
    node_id: str
    version: int
    state: State
    step: Step
    cascade: Cascade
    delete_ms: int
    purge_ms: int
    due_ms: int
    update_ms: int
    incarnation: int = 0
    attempts: int = 0
    error: str = ""
    archive_uri: str = ""
    edges: int = 0
    removed_edges: int = 0
    history: tuple[Entry, ...] = ()
    lease: Lease | None = None
    revision: str = ""

    @property
    def life(self) -> tuple[int, int]:
        """What orders everything that ever happens to an id: (incarnation, version)."""
        return self.incarnation, self.version

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def fenced(self) -> bool:
        return self.step is not Step.FENCE

    @property
    def attention_ms(self) -> int:
        """Where the saga stands in the queue of its state: when to look at it, or when it came into the state."""
        if self.state in (State.PENDING, State.RUNNING):
            return self.lease.until_ms if self.lease else self.due_ms
        return self.update_ms

    @property
    def expires_ms(self) -> int | None:
        return self.update_ms + KEEP_FINISHED_MS if self.over else None


def begin(deletion: Deletion, now_ms: int, message: str) -> Saga:
    """A saga that waits for the end of the retention."""
    saga = Saga(
        user_id=deletion.user_id,
        node_id=deletion.node_id,
        version=deletion.version,
        state=State.PENDING,
        step=Step.FENCE,
        cascade=deletion.cascade,
        delete_ms=deletion.delete_ms,
        purge_ms=deletion.purge_ms,
        due_ms=deletion.purge_ms,
        update_ms=now_ms,
        incarnation=deletion.incarnation,
    )
    return _noted(saga, now_ms, message)


def deleted(saga: Saga | None, deletion: Deletion, now_ms: int, message: str) -> Saga | None:
    """What a deletion does to the saga of its note; None: nothing (known already, or overtaken by a restore).

    A saga that is under way is never touched: when it is over, the poller finds the note in the deletion queue.
    """
    if saga is None:
        return begin(deletion, now_ms, message)
    if saga.life >= (deletion.incarnation, deletion.version) or _under_way(saga):
        return None
    fresh = begin(deletion, now_ms, message)
    return replace(fresh, revision=saga.revision, history=(*saga.history, *fresh.history)[-HISTORY_LIMIT:])


def restored(saga: Saga | None, restore: Restore, now_ms: int) -> Saga | None:
    """What a restore does to the saga; None: nothing. Without a saga it leaves a tombstone for the late deletion."""
    life = (restore.incarnation, restore.version)
    if saga is not None and (saga.life >= life or _under_way(saga)):
        return None
    if saga is None or saga.state is State.DONE:
        void = Deletion(restore.user_id, restore.node_id, restore.version, now_ms, now_ms)
        tombstone = cancelled(begin(void, now_ms, "heard of the restore first"), now_ms, "restored")
        return replace(tombstone, incarnation=restore.incarnation, revision=saga.revision if saga else "")
    newer = replace(saga, incarnation=restore.incarnation, version=restore.version)
    return newer if saga.state is State.CANCELLED else cancelled(newer, now_ms, "restored")


def cancelled(saga: Saga, now_ms: int, message: str) -> Saga:
    return _noted(replace(saga, state=State.CANCELLED, lease=None, error="", attempts=0), now_ms, message)


def hurried(saga: Saga, now_ms: int) -> Saga | None:
    """Due now instead of at the end of the retention; None when that changes nothing."""
    if saga.state is not State.PENDING or saga.due_ms <= now_ms:
        return None
    return _noted(replace(saga, due_ms=now_ms), now_ms, "queued for now")


def retried(saga: Saga, now_ms: int) -> Saga:
    """A failed saga goes on where it stopped."""
    state = State.RUNNING if saga.fenced else State.PENDING
    return _noted(replace(saga, state=state, due_ms=now_ms, attempts=0, error=""), now_ms, "retried on request")


def claimable(saga: Saga, now_ms: int) -> bool:
    """Whether a replica may start to work on it now."""
    return saga.state in (State.PENDING, State.RUNNING) and saga.attention_ms <= now_ms


def claimed(saga: Saga, owner: str, now_ms: int, lease_ms: int) -> Saga:
    """Somebody works on it. The attempt counts from here, so that a step that kills its process counts as well."""
    return replace(saga, lease=Lease(owner, now_ms + lease_ms), attempts=saga.attempts + 1)


def prolonged(saga: Saga, now_ms: int, lease_ms: int) -> Saga:
    assert saga.lease is not None
    return replace(saga, lease=Lease(saga.lease.owner, now_ms + lease_ms))


def released(saga: Saga, now_ms: int) -> Saga:
    """Given back undone (a shutdown): due at once, and the attempt doesn't count."""
    return replace(saga, lease=None, due_ms=now_ms, attempts=max(0, saga.attempts - 1))


def advanced(saga: Saga, now_ms: int, message: str) -> Saga:
    """The current step is done; the next is tried right away under the same lease, or the saga is done."""
    position = _STEPS.index(saga.step) + 1
    if position == len(_STEPS):
        return _noted(replace(saga, state=State.DONE, lease=None, attempts=0, error=""), now_ms, message)
    after = replace(saga, state=State.RUNNING, step=_STEPS[position], due_ms=now_ms, attempts=1, error="")
    return _noted(after, now_ms, message)


def stumbled(saga: Saga, now_ms: int, error: str, delay_ms: int) -> Saga:
    """The step failed and will be tried again after the delay."""
    again = replace(saga, lease=None, due_ms=now_ms + delay_ms, error=error)
    return _noted(again, now_ms, f"attempt {saga.attempts} failed, next in {delay_ms / 1000:.1f} s: {error}")


def failed(saga: Saga, now_ms: int, error: str) -> Saga:
    """Nobody tries again until RetryDeletion."""
    return _noted(replace(saga, state=State.FAILED, lease=None, error=error), now_ms, f"failed: {error}")


def _under_way(saga: Saga) -> bool:
    return saga.fenced and not saga.over


def _noted(saga: Saga, now_ms: int, message: str) -> Saga:
    entry = Entry(now_ms, saga.state, saga.step, message[:500])
    return replace(saga, update_ms=now_ms, history=(*saga.history, entry)[-HISTORY_LIMIT:])
