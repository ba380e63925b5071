"""The saga of one deletion as pure code: its states, and a function for each transition. docs/deletion.md explains it.

    PENDING --fence--> RUNNING: ARCHIVE -> DETACH -> UNINDEX -> PURGE --> DONE
       | restored, or the fence was refused            | a step failed too often
       v                                               v
    CANCELLED                                        FAILED --RetryDeletion--> RUNNING (or PENDING before the fence)

Until the fence the note can be restored at any moment; after the fence it can't. The node service alone decides which
of the two happens, by the version of the note; the saga records the outcome. A saga holds all state of its deletion, so
any replica can continue it: no process keeps a part of it in memory only.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

HISTORY_LIMIT = 50
# How long an ended saga stays readable. It is longer than an event can stay in a queue (14 days), so that a late
# node.deleted is always compared with the saga that makes it void.
KEEP_ENDED_MS = 30 * 86_400_000


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
ENDED = frozenset({State.DONE, State.CANCELLED})


@dataclass(frozen=True, slots=True)
class Lease:
    """owner: the replica that works on the saga; until_ms: after this time any replica may take the saga over."""

    owner: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An entry of a saga's history."""

    time_ms: int
    state: State
    step: Step
    message: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deleted note as the node service describes it; times in ms.

    version: of the note after the delete. incarnation: tells the note from an earlier one of the same node_id
    (brain2.node.v1.Node); versions start again with each incarnation.
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
    """A restored note; version: after the restore."""

    user_id: str
    node_id: str
    version: int
    incarnation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """One deletion; times in ms.

    due_ms: when the saga is to be run next. edges: number of edges of the note when it was archived. attempts: at the
    current step. trace, trace_ms: the traceparent of the event or call that caused the deletion or changed it last, and
    when that was. revision: set by the store at every write; a write that is based on an older revision is refused.
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
    history: tuple[HistoryEntry, ...] = ()
    lease: Lease | None = None
    trace: str = ""
    trace_ms: int = 0
    revision: str = ""

    @property
    def version_key(self) -> tuple[int, int]:
        """(incarnation, version), which orders all changes of all notes that ever had this node_id."""
        return self.incarnation, self.version

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def fenced(self) -> bool:
        return self.step is not Step.FENCE

    @property
    def queue_time_ms(self) -> int:
        """Position in the queue of its state: when a replica may run it next; once it doesn't run, its last change."""
        if self.state in (State.PENDING, State.RUNNING):
            return self.lease.until_ms if self.lease else self.due_ms
        return self.update_ms

    @property
    def expires_ms(self) -> int | None:
        return self.update_ms + KEEP_ENDED_MS if self.ended else None


def begin(deletion: Deletion, now_ms: int, message: str) -> Saga:
    """A new saga, due at the end of the retention."""
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
    return _with_history(saga, now_ms, message)


def deleted(saga: Saga | None, deletion: Deletion, now_ms: int, message: str) -> Saga | None:
    """The saga of the note after a deletion; None when nothing changes (known already, or older than a restore).

    A saga between its fence and its end is never changed: when it has ended, poll_deletions finds the note in the
    deletion queue.
    """
    if saga is None:
        return begin(deletion, now_ms, message)
    if saga.version_key >= (deletion.incarnation, deletion.version) or _in_progress(saga):
        return None
    fresh = begin(deletion, now_ms, message)
    return replace(fresh, revision=saga.revision, history=(*saga.history, *fresh.history)[-HISTORY_LIMIT:])


def restored(saga: Saga | None, restore: Restore, now_ms: int) -> Saga | None:
    """The saga of the note after a restore; None when nothing changes.

    Without a saga the result is a cancelled one, a tombstone that makes a late deletion void.
    """
    version_key = (restore.incarnation, restore.version)
    if saga is not None and (saga.version_key >= version_key or _in_progress(saga)):
        return None
    if saga is None or saga.state is State.DONE:
        void = Deletion(restore.user_id, restore.node_id, restore.version, now_ms, now_ms)
        tombstone = cancelled(begin(void, now_ms, "the restore arrived first"), now_ms, "restored")
        return replace(tombstone, incarnation=restore.incarnation, revision=saga.revision if saga else "")
    newer = replace(saga, incarnation=restore.incarnation, version=restore.version)
    return newer if saga.state is State.CANCELLED else cancelled(newer, now_ms, "restored")


def cancelled(saga: Saga, now_ms: int, message: str) -> Saga:
    return _with_history(replace(saga, state=State.CANCELLED, lease=None, error="", attempts=0), now_ms, message)


def made_due(saga: Saga, now_ms: int) -> Saga | None:
    """The saga, due now instead of at the end of the retention; None when that changes nothing."""
    if saga.state is not State.PENDING or saga.due_ms <= now_ms:
        return None
    return _with_history(replace(saga, due_ms=now_ms), now_ms, "queued for now")


def retried(saga: Saga, now_ms: int) -> Saga:
    """A failed saga continues at the step that failed."""
    state = State.RUNNING if saga.fenced else State.PENDING
    return _with_history(replace(saga, state=state, due_ms=now_ms, attempts=0, error=""), now_ms, "retried on request")


def claimable(saga: Saga, now_ms: int) -> bool:
    """Whether a replica may start to run the saga now."""
    return saga.state in (State.PENDING, State.RUNNING) and saga.queue_time_ms <= now_ms


def claimed(saga: Saga, owner: str, now_ms: int, lease_ms: int) -> Saga:
    """The saga under a lease. The attempt is counted here, so that a step that kills its process is counted, too."""
    return replace(saga, lease=Lease(owner, now_ms + lease_ms), attempts=saga.attempts + 1)


def lease_renewed(saga: Saga, now_ms: int, lease_ms: int) -> Saga:
    assert saga.lease is not None
    return replace(saga, lease=Lease(saga.lease.owner, now_ms + lease_ms))


def released(saga: Saga, now_ms: int) -> Saga:
    """The saga without its lease, after a shutdown: it is due at once, and the attempt isn't counted."""
    return replace(saga, lease=None, due_ms=now_ms, attempts=max(0, saga.attempts - 1))


def advanced(saga: Saga, now_ms: int, message: str) -> Saga:
    """The current step is done: the next one follows under the same lease, or the saga is done."""
    position = _STEPS.index(saga.step) + 1
    if position == len(_STEPS):
        return _with_history(replace(saga, state=State.DONE, lease=None, attempts=0, error=""), now_ms, message)
    after = replace(saga, state=State.RUNNING, step=_STEPS[position], due_ms=now_ms, attempts=1, error="")
    return _with_history(after, now_ms, message)


def attempt_failed(saga: Saga, now_ms: int, error: str, delay_ms: int) -> Saga:
    """The step failed and is tried again after delay_ms."""
    again = replace(saga, lease=None, due_ms=now_ms + delay_ms, error=error)
    return _with_history(again, now_ms, f"attempt {saga.attempts} failed, next in {delay_ms / 1000:.1f} s: {error}")


def failed(saga: Saga, now_ms: int, error: str) -> Saga:
    """The saga stops until RetryDeletion."""
    return _with_history(replace(saga, state=State.FAILED, lease=None, error=error), now_ms, f"failed: {error}")


def _in_progress(saga: Saga) -> bool:
    return saga.fenced and not saga.ended


def _with_history(saga: Saga, now_ms: int, message: str) -> Saga:
    entry = HistoryEntry(now_ms, saga.state, saga.step, message[:500])
    return replace(saga, update_ms=now_ms, history=(*saga.history, entry)[-HISTORY_LIMIT:])
