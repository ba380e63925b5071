"""What export_user reads."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from services.cleanup_service.ports import Record


class UserDataReader(Protocol):
    """Reads what the other services hold of a user, through their public API."""

    async def settings(self, user_id: str) -> list[Record]: ...

    def notes(self, user_id: str) -> AsyncIterator[list[Record]]:
        """Every live note, newest first, with its content."""

    async def deleted_notes(self, user_id: str, node_ids: Sequence[str]) -> list[Record]:
        """Those of the notes that are deleted and not purged yet, with their content."""

    def all_edges(self, user_id: str, *, hidden: bool) -> AsyncIterator[list[Record]]:
        """Every edge once; hidden: also the edges of deleted notes."""
