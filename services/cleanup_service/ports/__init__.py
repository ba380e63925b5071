"""What the use cases of cleanup need from stores and from the other services, and what they may rely on.

Every method raises shared.errors: a transient error (Unavailable, ...) means that the call may be tried again later,
any other that it can't succeed. Notes, edges and settings are passed as `Record`, the JSON object of an export line
(convert.py makes them), so that an archive and an export have one format.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.cleanup_service.model.saga import Cascade, Deletion, Saga, State
from shared.errors import Aborted

Record = Mapping[str, Any]
NodeKey = tuple[str, str]
"""(user_id, node_id)"""
END_OF_TIME_MS = 9_999_999_999_999
"""The last time that a key of an index can hold, in the year 2286."""


class WriteConflict(Aborted):
    """The item was written by another replica or request since it was read."""


class Superseded(Exception):
    """The note isn't the deleted version that was named: it was restored, changed, or purged and created again."""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """An entry of an index that orders sagas or deleted notes. position: its place, where the next page begins."""

    user_id: str
    node_id: str
    position: str


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From start_ms on, and before end_ms."""

    start_ms: int = 0
    end_ms: int = END_OF_TIME_MS

    def __contains__(self, ms: int) -> bool:
        return self.start_ms <= ms < self.end_ms

    @property
    def empty(self) -> bool:
        """Whether it holds no time."""
        return self.start_ms >= self.end_ms


ALWAYS = TimeRange()


class SagaStore(Protocol):
    """The sagas. Writes use optimistic concurrency: WriteConflict when the saga was written since it was read.

    shards: over how many shards the sagas of one state are spread.
    """

    shards: int

    async def get(self, user_id: str, node_id: str) -> Saga | None:
        """Strongly consistent."""

    async def get_many(self, keys: Sequence[NodeKey]) -> dict[NodeKey, Saga]: ...

    async def save(self, saga: Saga) -> Saga:
        """Writes the saga if its revision is the stored one ("" = none is stored); returns it with its new revision."""

    async def finish(self, saga: Saga) -> Saga:
        """Like save; cleanup.completed is published if and only if the write happened."""

    async def list_by_state(
        self, state: State, shard: int, until_ms: int | None, after: str, limit: int
    ) -> list[QueueEntry]:
        """Sagas of one shard in a state, by queue_time_ms. Eventually consistent.

        until_ms: the last queue_time_ms that is included, None for all. after: a position, "" for the start. limit: the
        most entries that are returned.
        """

    async def list_by_user(self, user_id: str, after: str, limit: int, times: TimeRange = ALWAYS) -> list[QueueEntry]:
        """A user's sagas by the time of the delete, oldest first, after a position. Eventually consistent.

        times: only those of notes that were deleted in this range.
        """


class DeletionQueue(Protocol):
    """The deleted notes by the end of their retention. The node service owns the items; cleanup reads them only.

    shards: over how many shards they are spread.
    """

    shards: int

    async def due(self, shard: int, until_ms: int, after: str, limit: int) -> list[QueueEntry]:
        """Eventually consistent: it may name notes that were restored or purged since."""


class ShardLeases(Protocol):
    """Leases that assign the shards of the queues to replicas."""

    async def acquire(self, shard: int, owner: str, now_ms: int, lease_ms: int) -> bool:
        """True if no other replica holds the shard now. This only saves double work: each saga has its own lease."""


class ErasureStatus(Protocol):
    """Whether a user is being erased; then no new saga is made for the user."""

    async def is_erasing(self, user_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Fenced:
    """The result of a fence. note: for the archive, None when it was purged already."""

    note: Record | None
    cascade: Cascade | None


class Nodes(Protocol):
    """The node service, as cleanup calls it."""

    async def get_deletion(self, user_id: str, node_id: str) -> Deletion | None:
        """The deletion of the note; None when the note is live. NotFound when there is no such note."""

    async def fence(self, user_id: str, node_id: str, version: int) -> Fenced:
        """Forbids a restore for good. Superseded: the note isn't deleted at that version. Idempotent."""

    async def purge(self, user_id: str, node_id: str, version: int) -> None:
        """Removes a fenced note. Superseded: there is another version. Idempotent: a missing note counts as purged."""

    async def unchanged(self, user_id: str, node_ids: Sequence[str]) -> dict[str, str]:
        """Those of the notes that are live and never changed since they were created, with their etags."""

    async def delete_unchanged(self, user_id: str, node_id: str, etag: str) -> bool:
        """Soft-deletes the note if it still has this etag; False when it has another one or doesn't exist."""

    async def delete(self, user_id: str, node_id: str) -> int | None:
        """Soft-deletes the note in any version and returns the version of the deleted note, None when there is none."""


class Graph(Protocol):
    """The graph service, as cleanup calls it."""

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        """Hides the note or shows it: no edge of a hidden note is shown, and none can be made. Idempotent."""

    def edges(self, user_id: str, node_id: str) -> AsyncIterator[list[Record]]:
        """Every edge of the note, hidden ones too, in batches."""

    async def detach(self, user_id: str, node_id: str, version: int) -> tuple[list[Record], bool]:
        """Removes some edges of the note. Returns (the removed edges, whether none is left).

        Superseded: the note was restored or created again.
        """


class Similarity(Protocol):
    """The similarity service, as cleanup calls it."""

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        """Hides the note or shows it: a hidden note is in no answer. Idempotent."""

    async def keywords(self, user_id: str, note: Record) -> list[Record]:
        """The note's keywords, those with the largest weight first, for the archive."""

    async def remove_node(self, user_id: str, node_id: str, version: int) -> None:
        """Removes the note from the index. Idempotent. Superseded: the index has a newer version of the note."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A written archive. uri: of its manifest. edges: how many it holds."""

    uri: str
    edges: int


class Archives(Protocol):
    """The archive, into which a note is written before it is purged."""

    async def write(
        self, saga: Saga, note: Record, keywords: Sequence[Record], edges: AsyncIterator[list[Record]]
    ) -> Archived:
        """Writes an archive and reads its manifest back, so that it is durable when the method returns.

        Each call writes objects of its own: the archive that counts is the one whose uri is saved in the saga.
        """

    async def edge_keys(self, uri: str) -> set[str]:
        """edge_key of every edge in the archive."""

    async def append(self, uri: str, edges: Sequence[Record]) -> None:
        """Adds edges that were made after the archive was written."""


class Observer(Protocol):
    """Receives the progress of deletions for logs and metrics. seconds: how long the step took."""

    def step_done(self, saga: Saga, seconds: float) -> None: ...

    def attempt_failed(self, saga: Saga, seconds: float) -> None: ...

    def stopped(self, saga: Saga) -> None:
        """The saga is DONE, CANCELLED or FAILED."""


def edge_key(edge: Record) -> str:
    """The identity of an edge (brain2.graph.v1): its two ends in sorted order, and its type."""
    return "#".join((*sorted((edge["source_id"], edge["target_id"])), edge["type"]))
