"""AnnounceNodeVisibility: readers see a change of a note's visibility while the node service still writes it.

The change log has an announcement, and no record. It ends in every process by itself (index_cache.py).
"""

from dataclasses import dataclass

from services.similarity_service.ports import Announcement
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.validation import check_ids
from shared.ids import Clock
from shared.revisions import is_likely


@dataclass(frozen=True, slots=True)
class AnnounceNodeVisibility:
    """SetNodeVisibility, or the event of the write, stores the change."""

    cache: IndexCache
    clock: Clock

    async def announce(
        self, user_id: str, node_id: str, version: int, *, visible: bool, incarnation: int, announcement_id: str
    ) -> bool:
        """Whether every process sees the change from now on, unless a newer one is stored.

        False when the log can't be reached, and for a version that is not likely for a note of its age: then the change
        is set after it was written.
        """
        check_ids(user_id, node_id=node_id)
        if not is_likely((incarnation, version), self.clock.now_ms()):
            return False
        announcement = Announcement(announcement_id, version)
        return await self.cache.announce(user_id, node_id, announcement, visible=visible, incarnation=incarnation)

    async def withdraw(self, user_id: str, node_id: str, version: int, announcement_id: str) -> None:
        """End this announcement, and no other one: nothing was written. Without the log it ends by itself."""
        check_ids(user_id, node_id=node_id)
        withdrawn = Announcement(announcement_id, version, withdrawn=True)
        await self.cache.announce(user_id, node_id, withdrawn, visible=True, incarnation=0)
