"""What a reconciliation reads and whom it asks for repairs."""

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from typing import Protocol

from services.cleanup_service.model.findings import EdgeSide, IndexEntry, StoredNote

Edges = Mapping[tuple[str, str], float]
"""The visible edges at a note: (other, type) -> weight"""


class Ledger(Protocol):
    """The items of a user as they lie in the table, whoever owns them; strongly consistent, in batches, keys and little
    more."""

    def notes(self, user_id: str) -> AsyncIterator[list[StoredNote]]: ...

    def edges(self, user_id: str, node_id: str = "") -> AsyncIterator[list[EdgeSide]]:
        """Both sides of every edge (at a note), those at one note together."""

    async def missing_mirrors(self, user_id: str, sides: Sequence[EdgeSide]) -> list[EdgeSide]:
        """Those that are there, but whose other side isn't."""

    async def complete(self, user_id: str, side: EdgeSide) -> bool:
        """Writes the other side again as a copy of this one, if that is still what is missing."""

    def index_entries(self, user_id: str) -> AsyncIterator[list[IndexEntry]]: ...

    def hidden(self, user_id: str) -> AsyncIterator[list[str]]:
        """The notes that the graph hides."""

    async def projections(
        self, user_id: str, node_ids: Sequence[str]
    ) -> tuple[Mapping[str, StoredNote], Mapping[str, IndexEntry], Set[str]]:
        """Of some notes, now: the notes, what the index keeps of them, which of them the graph hides."""

    def posting_notes(self, user_id: str) -> AsyncIterator[list[str]]:
        """The notes that keywords lead to, each in one batch only."""

    async def remove_postings(self, user_id: str, node_id: str) -> None:
        """Those of a note that doesn't exist."""

    async def leftovers(self, user_id: str, before_ms: int) -> list[tuple[str, str]]:
        """(id, type) of events of the user that have waited in an outbox since before a time."""

    async def publish(self, user_id: str, event_ids: Sequence[str]) -> None:
        """Publishes those of the leftovers, as the sweeper of their service would."""


class Owners(Protocol):
    """The other services, as far as looking again and repairing go."""

    async def existing(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        """Those of the notes that exist, deleted or not."""

    async def live(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        """Those of the notes that exist and aren't deleted."""

    async def neighbors(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Edges]:
        """What the graph answers from its caches; a note without edges may be absent."""

    async def detach_missing(self, user_id: str, node_id: str) -> None:
        """Removes every edge at a note that doesn't exist."""

    async def renew(self, user_id: str, side: EdgeSide, *, exists: bool) -> None:
        """Has the graph read an edge again that its caches have wrong."""

    async def unindex(self, user_id: str, node_id: str, version: int) -> None: ...

    async def set_visibility(self, user_id: str, node_id: str, version: int, visible: bool) -> None:
        """Tells graph and index what they missed."""

    async def reindex(self, user_id: str) -> None: ...
