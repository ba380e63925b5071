"""AnnounceNodeVisibility: readers see a change of a note's visibility while the node service still writes it.

An announcement is a pending visibility in Redis (docs/list-cache.md) and the pending write of the hidden set beside it.
Nothing else has it: no process, no stored list. So it ends by itself, everywhere, when these two expire.
"""

from dataclasses import dataclass

from services.graph_service.ports import HIDDEN, Invalidation, VisibilityRecord
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.validation import check_node
from shared.ids import Clock
from shared.revisions import is_likely


@dataclass(frozen=True, slots=True)
class AnnounceNodeVisibility:
    """SetNodeVisibility with the same announcement_id stores the change and ends the announcement."""

    committer: Committer
    clock: Clock

    async def announce(self, user_id: str, record: VisibilityRecord, announcement_id: str) -> bool:
        """Whether every reader sees the change now, unless a newer one is stored.

        False when Redis is away, and for a version that is not likely for a note of its age: then the change is set
        after it was written.
        """
        check_node(user_id, record.node_id)
        if not is_likely(record.revision, self.clock.now_ms()):
            return False
        return await self.committer.begin(hidden_set(user_id, record.node_id), writer_of(announcement_id), record)

    async def withdraw(self, user_id: str, node_id: str, announcement_id: str) -> None:
        """End this announcement, and no other one: nothing was written. Without Redis it ends by itself."""
        check_node(user_id, node_id)
        await self.committer.undo(hidden_set(user_id, node_id), writer_of(announcement_id))


def hidden_set(user_id: str, node_id: str, feed: tuple[bytes, ...] = ()) -> Invalidation:
    """The list entry of a note in the hidden set."""
    return Invalidation(user_id, ((HIDDEN, node_id),), feed)


def writer_of(announcement_id: str) -> str:
    """The name of the pending write of an announcement."""
    return f"announced:{announcement_id}"
