"""The erasure of a user as pure code: rounds that remove everything, repeated until a round finds nothing.

    NODES -> EDGES -> INDEX -> CACHE -> ARCHIVES -> RECORDS --+--> done: only the receipt is left
      ^                                                       |
      +---- something was found, or the quiet time isn't over -+

One round isn't enough: events that were published before it may still be in a queue, and their consumers may write
items of the user afterwards. So the last round follows a quiet time in which nothing was found.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from services.cleanup_service.model.saga import Lease

# Wait between rounds that found something, so that events which the last round caused arrive first.
_PAUSE_MS = 1_000


class Phase(StrEnum):
    NODES = "nodes"
    EDGES = "edges"
    INDEX = "index"
    CACHE = "cache"
    ARCHIVES = "archives"
    RECORDS = "records"


_PHASES = tuple(Phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One erasure; times in ms.

    removed: number of removed things by kind, in all rounds. found: number removed in this round. quiet_since_ms: when
    the first of the last rounds that found nothing ended, 0 when the last round found something. user_id: "" once done.
    trace: the traceparent of the call that started it.
    """

    erasure_id: str
    user_id: str
    user_digest: str
    phase: Phase
    start_ms: int
    due_ms: int
    done: bool = False
    end_ms: int = 0
    round: int = 1
    found: int = 0
    quiet_since_ms: int = 0
    attempts: int = 0
    removed: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    lease: Lease | None = None
    trace: str = ""
    revision: str = ""

    def is_of(self, user_id: str) -> bool:
        """Whether this user is erased; the receipt has the digest alone."""
        return user_digest(self.erasure_id, user_id) == self.user_digest

    @property
    def queue_time_ms(self) -> int:
        """When a replica may run it next."""
        return self.lease.until_ms if self.lease else self.due_ms


@dataclass(frozen=True, slots=True)
class ErasureRecord:
    """What the ledger keeps of an erasure. start_ms: when it was asked for."""

    erasure_id: str
    user_id: str
    start_ms: int


def user_digest(erasure_id: str, user_id: str) -> str:
    """SHA-256 for the receipt: whoever knows the user_id can check it, but the user_id can't be read from it."""
    return hashlib.sha256(f"{erasure_id}:{user_id}".encode()).hexdigest()


def record_of(erasure: Erasure) -> ErasureRecord:
    return ErasureRecord(erasure.erasure_id, erasure.user_id, erasure.start_ms)


def begin_again(record: ErasureRecord, now_ms: int) -> Erasure:
    """The same erasure, for a table that was restored to a time before it."""
    return replace(begin(record.erasure_id, record.user_id, now_ms), start_ms=record.start_ms)


def begin(erasure_id: str, user_id: str, now_ms: int, trace: str = "") -> Erasure:
    return Erasure(
        erasure_id=erasure_id,
        user_id=user_id,
        user_digest=user_digest(erasure_id, user_id),
        phase=Phase.NODES,
        start_ms=now_ms,
        due_ms=now_ms,
        trace=trace,
    )


def claimable(erasure: Erasure, now_ms: int) -> bool:
    return not erasure.done and erasure.queue_time_ms <= now_ms


def claimed(erasure: Erasure, owner: str, now_ms: int, lease_ms: int) -> Erasure:
    return replace(erasure, lease=Lease(owner, now_ms + lease_ms))


def counted(erasure: Erasure, kind: str, number: int) -> Erasure:
    """`number` more things of a kind were removed."""
    if not number:
        return erasure
    removed = {**erasure.removed, kind: erasure.removed.get(kind, 0) + number}
    return replace(erasure, removed=removed, found=erasure.found + number)


def advanced(erasure: Erasure, now_ms: int, quiet_ms: int) -> Erasure:
    """The phase has ended: the next one follows, or another round, or the erasure is done."""
    erasure = replace(erasure, error="", attempts=0)
    position = _PHASES.index(erasure.phase) + 1
    if position < len(_PHASES):
        return replace(erasure, phase=_PHASES[position], due_ms=now_ms)
    again = replace(erasure, phase=Phase.NODES, round=erasure.round + 1, found=0, lease=None)
    if erasure.found:
        return replace(again, quiet_since_ms=0, due_ms=now_ms + min(_PAUSE_MS, quiet_ms))
    if not erasure.quiet_since_ms:
        return replace(again, quiet_since_ms=now_ms, due_ms=now_ms + quiet_ms)
    if now_ms - erasure.quiet_since_ms < quiet_ms:
        return replace(again, due_ms=erasure.quiet_since_ms + quiet_ms)
    return replace(erasure, done=True, end_ms=now_ms, user_id="", lease=None)


def attempt_failed(erasure: Erasure, now_ms: int, error: str, delay_ms: int) -> Erasure:
    """A phase failed and is tried again after delay_ms. An erasure is tried without end: the law demands it in many
    places.
    """
    return replace(erasure, lease=None, due_ms=now_ms + delay_ms, error=error[:500], attempts=erasure.attempts + 1)


def released(erasure: Erasure, now_ms: int) -> Erasure:
    return replace(erasure, lease=None, due_ms=now_ms)
