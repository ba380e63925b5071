"""What reconcile_user reads in the table, and which repairs it asks for."""

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from typing import Protocol

from services.cleanup_service.model.findings import EdgeSide, IndexEntry, StoredNote

Edges = Mapping[tuple[str, str], float]
"""The visible edges of a note: (other, type) -> weight"""


class ReconcileStore(Protocol):
    """The items of a user, whichever service owns them. Reads are strongly consistent and in batches."""

    def notes(self, user_id: str) -> AsyncIterator[list[StoredNote]]: ...

    def edges(self, user_id: str, node_id: str = "") -> AsyncIterator[list[EdgeSide]]:
        """Both sides of every edge, ordered by the note they are stored at; node_id: only those stored at this note."""

    async def stored(self, user_id: str, sides: Sequence[EdgeSide]) -> list[EdgeSide]:
        """Those of the sides that are stored now."""

    async def missing_mirrors(self, user_id: str, sides: Sequence[EdgeSide]) -> list[EdgeSide]:
        """Those of the sides that are stored while their mirror isn't."""

    async def complete(self, user_id: str, side: EdgeSide) -> bool:
        """Writes the mirror as a copy of this side, if this side is unchanged and the mirror is still missing."""

    def index_entries(self, user_id: str) -> AsyncIterator[list[IndexEntry]]: ...

    def hidden(self, user_id: str) -> AsyncIterator[list[str]]:
        """Ids of the notes that the graph hides."""

    async def projections(
        self, user_id: str, node_ids: Sequence[str]
    ) -> tuple[Mapping[str, StoredNote], Mapping[str, IndexEntry], Set[str]]:
        """Of these notes: (the notes, their index records, those that the graph hides)."""

    def posting_notes(self, user_id: str, node_id: str = "") -> AsyncIterator[list[str]]:
        """Ids of the notes that have keywords, each in one batch only; node_id: only this note."""

    async def remove_postings(self, user_id: str, node_id: str) -> None:
        """Removes the keywords of a note that doesn't exist."""

    async def unpublished(self, user_id: str, before_ms: int) -> list[tuple[str, str]]:
        """(id, type) of the user's events that are in an outbox and older than before_ms."""

    async def publish(self, user_id: str, event_ids: Sequence[str]) -> None:
        """Publishes these events and removes them from the outbox, as the sweeper of their service would.

        Unavailable when the bus did not take some of them, after it was asked to take all.
        """


class PeerRepairs(Protocol):
    """Calls of the other services: second looks and repairs."""

    async def existing(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        """Those of the notes that exist, deleted or not."""

    async def live(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        """Those of the notes that exist and aren't deleted."""

    async def neighbors(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Edges]:
        """What the graph answers from its caches; a note without edges may be absent."""

    async def detach_missing(self, user_id: str, node_id: str) -> None:
        """Removes every edge that is stored at a note that doesn't exist, with its mirror."""

    async def refresh_edge(self, user_id: str, side: EdgeSide, *, exists: bool) -> None:
        """Makes the graph read an edge again that is wrong in its caches. exists: whether the table has the edge."""

    async def remove_from_index(self, user_id: str, node_id: str, version: int) -> None: ...

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        """Sets it in graph and index; a service that has a newer version of the note ignores the call."""

    async def reindex(self, user_id: str) -> None: ...
