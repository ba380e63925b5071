"""What erase_user needs of the stores."""

from collections.abc import AsyncIterator
from typing import Protocol

from services.cleanup_service.model.erasure import Erasure, ErasureRecord


class ErasureStore(Protocol):
    """The erasures. Writes use optimistic concurrency: WriteConflict when it was written since it was read."""

    async def begin(self, erasure: Erasure) -> Erasure:
        """Stores the erasure; when one is in progress for the same user, returns that one instead."""

    async def get(self, erasure_id: str) -> Erasure | None: ...

    async def save(self, erasure: Erasure) -> Erasure: ...

    async def finish(self, erasure: Erasure) -> Erasure:
        """Like save; from then on the user isn't being erased any more."""

    async def due(self, now_ms: int) -> list[str]:
        """Ids of the erasures that may be run now. Eventually consistent."""


class ErasureLedger(Protocol):
    """Who was erased, kept outside of the table, so that restoring the table doesn't undo it."""

    async def write(self, record: ErasureRecord) -> None:
        """Durable when it returns. It may be repeated."""

    def read(self) -> AsyncIterator[ErasureRecord]:
        """All records, in any order."""


class UserPartition(Protocol):
    """Everything that the stores hold of a user, whichever service wrote it.

    Each remove_* method returns how many items, keys or objects it removed, and may be repeated.
    """

    def note_ids(self, user_id: str) -> AsyncIterator[list[str]]: ...

    async def remove_edges(self, user_id: str) -> int:
        """Removes what is left of the graph's items."""

    async def remove_index(self, user_id: str) -> int:
        """Removes what is left of the similarity index."""

    async def remove_cache(self, user_id: str) -> int:
        """Removes the user's keys in Redis."""

    async def remove_archives(self, user_id: str) -> int:
        """Removes the user's archives, all versions of the objects."""

    async def remove_records(self, user_id: str) -> int:
        """Removes the rest: sagas, settings, idempotency records, unpublished events, journal entries of the graph."""
