"""SetNodeVisibility: hides a note and all of its edges, or shows them again, by one small write."""

import asyncio
import logging
from dataclasses import dataclass, replace

from services.graph_service.model.edge import Edge, Metadata
from services.graph_service.ports import (
    HIDDEN,
    ChangeType,
    Codec,
    EdgeStore,
    Invalidation,
    JournalEntry,
    ListCache,
    NodeDirectory,
    VisibilityRecord,
    WriteRejected,
)
from services.graph_service.usecases.announce_node_visibility import hidden_set, writer_of
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.validation import check_node
from shared.errors import DeadlineExceeded, Unavailable
from shared.ids import Clock
from shared.revisions import is_current, is_likely, version_unknown

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SetNodeVisibility:
    """Changes are ordered by (incarnation, version): one that isn't newer than what is stored has no effect.

    But what is stored may be a version that the note never had, from a wrong call. If a change contradicts it, the node
    service is asked, and decides.
    """

    store: EdgeStore
    cache: ListCache
    lookup: ListLookup
    committer: Committer
    existence: Existence
    codec: Codec
    directory: NodeDirectory
    clock: Clock

    async def set_checked(self, user_id: str, record: VisibilityRecord, announcement_id: str = "") -> bool:
        """The same for a call, whose caller may be wrong: the node service must know a version that is not likely.

        Others are taken at once, since a deletion may wait for this call. Should one be wrong, the next true state of
        the note contradicts it, and the node service decides. A call that comes again or late, and ends no
        announcement, publishes nothing.
        FailedPrecondition (VERSION_UNKNOWN): the note never had it. Unavailable: the node service does not answer.
        """
        check_node(user_id, record.node_id)
        if not is_likely(record.revision, self.clock.now_ms()):
            owners = await self.directory.visibility(user_id, record.node_id, record.revision)
            if owners is None:
                raise version_unknown(record.node_id)
            if not is_current(record.node_id, record.revision, not record.hidden, owners.revision, not owners.hidden):
                return False  # what the note is now came by another call, or comes by its event
            record = replace(record, incarnation=owners.incarnation)
        if not announcement_id:
            stored = await self.store.visibility(user_id, record.node_id)
            if stored is not None and not record.replaces(stored):
                # The readers of this process see it, too, unless its invalidation has not come here yet.
                seen = record.node_id in await self.lookup.hidden(user_id)
                if seen == stored.hidden:
                    return await self._correct(user_id, record, stored)
        return await self.set_node_visibility(user_id, record, announcement_id)

    async def set_node_visibility(self, user_id: str, record: VisibilityRecord, announcement_id: str = "") -> bool:
        """Whether it had an effect. The lists of edges stay as they are; only the hidden set is invalidated.

        announcement_id: of the announcement of this change, which ends; "" if there is none.
        """
        check_node(user_id, record.node_id)

        async def set_or_correct() -> bool:
            applied, stored = await self._set(user_id, record, announcement_id)
            return applied or await self._correct(user_id, record, stored)

        # At the same time, because the node service changed the note before it called, and may wait for the answer.
        applied, _ = await asyncio.gather(set_or_correct(), self.invalidate_node(user_id, record.node_id))
        return applied

    async def _set(
        self, user_id: str, record: VisibilityRecord, announcement_id: str = ""
    ) -> tuple[bool, VisibilityRecord | None]:
        """Whether the record was stored, and what is stored now.

        The change feed gets a change that was stored before, too, when its event comes: whoever stored it may have died
        before the feed had it. A change that comes late is not in the feed, whose readers would take it for the state
        of the note.
        """
        change_type = ChangeType.NODE_HIDDEN if record.hidden else ChangeType.NODE_SHOWN
        node_as_edge = Edge(user_id, record.node_id, "", "", False, 0.0, Metadata(), record.version, 0, 0)
        feed = (self.codec.feed_entry(change_type, node_as_edge),)

        async def commit(journal: JournalEntry | None) -> bool:
            if await self.store.set_visibility(user_id, record, journal):
                return True
            stored = await self.store.visibility(user_id, record.node_id)
            if stored is None or (stored.version, stored.hidden) != (record.version, record.hidden):
                raise _NotNewer(stored)
            return False

        writer = writer_of(announcement_id) if announcement_id else ""
        try:
            applied, _ = await self.committer.run(hidden_set(user_id, record.node_id, feed), commit, record, writer)
        except _NotNewer as error:
            return False, error.stored
        return applied, record

    async def _correct(self, user_id: str, record: VisibilityRecord, stored: VisibilityRecord | None) -> bool:
        """Replace what is stored if it contradicts the record and is newer than the note is at its owner.

        Whether the record's visibility is now stored.
        """
        if stored is None or stored.hidden == record.hidden:
            return False
        try:
            # What is stored and true is never ahead of what the owner knows by now.
            owners = await self.directory.visibility(user_id, record.node_id, stored.revision)
        except (Unavailable, DeadlineExceeded):
            return False  # the next change, or a reconciliation, finds it again
        if owners is None or not _is_ahead(stored, owners):
            return False
        log.warning(
            "the stored visibility had a version that the note never had",
            extra={"node_id": record.node_id, "stored": stored.version, "owner": owners.version},
        )
        await self.delete_record(user_id, stored)
        applied, _ = await self._set(user_id, owners)
        return applied and owners.hidden == record.hidden

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


class _NotNewer(WriteRejected):
    """A newer visibility is stored, or the note's is gone."""

    def __init__(self, stored: VisibilityRecord | None) -> None:
        super().__init__(())
        self.stored = stored


def _is_ahead(stored: VisibilityRecord, owners: VisibilityRecord) -> bool:
    return (stored.incarnation or owners.incarnation, stored.version) > owners.revision
