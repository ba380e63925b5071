"""SetNodeVisibility: hides a note and all of its edges, or shows them again, by one small write."""

from dataclasses import dataclass

from services.graph_service.model.edge import Edge, Metadata
from services.graph_service.ports import (
    HIDDEN,
    ChangeType,
    Codec,
    EdgeStore,
    Invalidation,
    JournalEntry,
    ListCache,
    VisibilityRecord,
)
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.validation import check_node
from shared.errors import Unavailable


@dataclass(frozen=True, slots=True)
class SetNodeVisibility:
    """Changes are ordered by (incarnation, version): one that isn't newer than what is stored has no effect."""

    store: EdgeStore
    cache: ListCache
    committer: Committer
    existence: Existence
    codec: Codec

    async def set_node_visibility(
        self, user_id: str, node_id: str, version: int, *, visible: bool, incarnation: int = 0
    ) -> bool:
        """Whether it had an effect. The lists of edges stay as they are; only the hidden set is invalidated.

        incarnation: 0 if the caller doesn't know it.
        """
        check_node(user_id, node_id)
        record = VisibilityRecord(node_id, version, not visible, incarnation)
        change_type = ChangeType.NODE_SHOWN if visible else ChangeType.NODE_HIDDEN
        node_as_edge = Edge(user_id, node_id, "", "", False, 0.0, Metadata(), version, 0, 0)
        feed = (self.codec.feed_entry(change_type, node_as_edge),)

        async def commit(journal: JournalEntry | None) -> bool:
            return await self.store.set_visibility(user_id, record, journal)

        applied, _ = await self.committer.run(Invalidation(user_id, ((HIDDEN, node_id),), feed), commit)
        await self.invalidate_node(user_id, node_id)
        return applied

    async def delete_record(self, user_id: str, record: VisibilityRecord) -> None:
        """Delete what is stored about the visibility of a purged note, if it is still this version."""

        async def commit(journal: JournalEntry | None) -> None:
            await self.store.delete_visibility(user_id, record, journal)

        await self.committer.run(Invalidation(user_id, ((HIDDEN, record.node_id),)), commit)

    async def invalidate_node(self, user_id: str, node_id: str) -> None:
        """Remove a note's title and existence from the caches of all processes."""
        self.existence.invalidate(user_id, (node_id,))
        try:
            await self.cache.invalidate_nodes(user_id, (node_id,))
        except Unavailable:
            pass  # the entries of other processes expire in seconds, and callers check the hidden set as well
