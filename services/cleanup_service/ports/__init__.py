"""What cleanup needs from the world, and what it may rely on.

Everything raises shared.errors: transient ones (Unavailable, ...) mean "try again later", the others "this won't work".
Notes, edges and settings travel as `Record`: the JSON objects of an export line (convert.py makes them), so that an
archive and an export read alike.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.cleanup_service.model.saga import Cascade, Deletion, Saga, State
from shared.errors import Aborted

Record = Mapping[str, Any]
NodeKey = tuple[str, str]
"""(user id, node id)"""


class Stale(Aborted):
    """Somebody else wrote the item since it was read."""


class Superseded(Exception):
    """The note isn't the deleted version that was meant: restored, changed, or purged and written anew."""


@dataclass(frozen=True, slots=True)
class Due:
    """An entry of a queue: what is due, and its place in the queue's order."""

    user_id: str
    node_id: str
    position: str


class SagaStore(Protocol):
    """The sagas, durable; every write is refused (Stale) unless nobody wrote since the read."""

    async def get(self, user_id: str, node_id: str) -> Saga | None:
        """Strongly consistent."""

    async def get_many(self, keys: Sequence[NodeKey]) -> dict[NodeKey, Saga]: ...

    async def save(self, saga: Saga) -> Saga:
        """Writes it if its revision is still the stored one ("" = there is none); answers it with its new revision."""

    async def finish(self, saga: Saga) -> Saga:
        """As save, and cleanup.completed is published if and only if the write happened."""

    async def by_attention(self, state: State, shard: int, until_ms: int | None, after: str, limit: int) -> list[Due]:
        """Sagas of one shard in a state, by attention_ms, up to and including until_ms; after a position ("" = start).

        Eventually consistent. limit: at most so many."""

    async def by_user(self, user_id: str, after: str, limit: int) -> list[Due]:
        """A user's sagas by the time of the delete, oldest first. Eventually consistent."""


class DeletionQueue(Protocol):
    """The deleted notes by the end of their retention (items of the node service, read only)."""

    async def due(self, shard: int, until_ms: int, after: str, limit: int) -> list[Due]:
        """Eventually consistent: may still name notes that were restored or purged."""


class ShardLeases(Protocol):
    """Which replica looks after which shard of the queues."""

    async def acquire(self, shard: int, owner: str, now_ms: int, lease_ms: int) -> bool:
        """True if nobody else holds it now. Only saves double work: sagas have leases of their own."""


class Erasing(Protocol):
    """Whether a user is being erased: then nothing new is begun for them."""

    async def is_erasing(self, user_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Fenced:
    """The answer to a fence: the note for the archive, or None when it was purged already."""

    note: Record | None
    cascade: Cascade | None


class Nodes(Protocol):
    """The node service."""

    async def deletion(self, user_id: str, node_id: str) -> Deletion | None:
        """The note as deleted; None when it is live. NotFound when it isn't there at all."""

    async def fence(self, user_id: str, node_id: str, version: int) -> Fenced:
        """Forbids a restore for good. Superseded when the note isn't deleted at that version. Idempotent."""

    async def purge(self, user_id: str, node_id: str, version: int) -> None:
        """Removes a fenced note. Superseded as above. Idempotent: what isn't there is purged."""

    async def untouched(self, user_id: str, node_ids: Sequence[str]) -> dict[str, str]:
        """Those of the notes that are live and were never changed since they were created, with their etags."""

    async def delete(self, user_id: str, node_id: str, etag: str) -> bool:
        """Soft delete if the etag still holds; False when it doesn't or the note is gone."""

    async def end(self, user_id: str, node_id: str) -> int | None:
        """Soft delete whatever it is now; its version then, None when it is gone. A deleted note keeps its version."""


class Graph(Protocol):
    """The graph service."""

    async def hide(self, user_id: str, node_id: str, version: int) -> None:
        """No edge shows, and none can be made, at the note any more. Idempotent."""

    def edges(self, user_id: str, node_id: str) -> AsyncIterator[list[Record]]:
        """Every edge at a note, hidden ones too, in batches."""

    async def detach(self, user_id: str, node_id: str, version: int) -> tuple[list[Record], bool]:
        """Removes some edges for good; (what was removed, whether it was the last). Superseded as above."""


class Index(Protocol):
    """The similarity service."""

    async def hide(self, user_id: str, node_id: str, version: int) -> None: ...

    async def keywords(self, user_id: str, note: Record) -> list[Record]:
        """The note's keywords, most telling first, for the archive."""

    async def remove(self, user_id: str, node_id: str, version: int) -> None:
        """Idempotent. Superseded as above."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What was written. uri: of the manifest."""

    uri: str
    edges: int


class Archives(Protocol):
    """Where a note goes before it is purged."""

    async def write(
        self, saga: Saga, note: Record, keywords: Sequence[Record], edges: AsyncIterator[list[Record]]
    ) -> Archived:
        """Durable and read back as written when it returns. Two writers never touch each other's objects: what counts
        is the one whose uri gets into the saga."""

    async def edge_keys(self, uri: str) -> set[str]:
        """edge_key of every edge in the archive."""

    async def append(self, uri: str, edges: Sequence[Record]) -> None:
        """Adds edges that came to light later."""


class Observer(Protocol):
    """Hears of what operators count: logs and metrics."""

    def step_done(self, saga: Saga, seconds: float) -> None: ...

    def stumbled(self, saga: Saga, seconds: float) -> None: ...

    def over(self, saga: Saga) -> None:
        """DONE, CANCELLED or FAILED."""


def edge_key(edge: Record) -> str:
    """What makes an edge itself: its two ends, in no order, and its type (brain2.graph.v1)."""
    return "#".join((*sorted((edge["source_id"], edge["target_id"])), edge["type"]))
