"""RemoveNode: a note was purged, and its record and postings go."""

from dataclasses import dataclass

from services.similarity_service.model import keywords
from services.similarity_service.model.keywords import Keyword
from services.similarity_service.model.stored import Stored
from services.similarity_service.usecases.index_cache import IndexCache, is_long
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.validation import check_ids


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Removes notes that were purged."""

    changes: RecordChanges
    cache: IndexCache

    async def __call__(
        self, user_id: str, node_id: str, version: int, incarnation: int | None = None
    ) -> tuple[bool, list[Keyword]]:
        """Remove a note: whether it was indexed, and the keywords that it had.

        incarnation: None means the one that is known.

        Aborted (VERSION_MISMATCH) when a version newer than `version` is indexed.
        """
        check_ids(user_id, node_id=node_id)
        before = Stored()

        def change(old: Stored) -> Stored | None:
            nonlocal before
            before = old
            return old.removed(version, incarnation)

        removed = await self.changes.change(user_id, node_id, change)
        note = before.note
        if not removed or note is None:
            return False, []
        found = await self.cache.query(
            user_id, lambda index: keywords.keywords(index, note, keywords.SALIENT), long=is_long(note)
        )
        return True, found
