"""RemoveNode: a note was purged, and its record and postings go."""

from dataclasses import dataclass

from services.similarity_service.model import keywords
from services.similarity_service.model.keywords import Keyword
from services.similarity_service.model.stored import Stored, newer_version
from services.similarity_service.ports import Nodes
from services.similarity_service.usecases.index_cache import IndexCache, is_long
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.validation import check_ids
from shared.revisions import version_unknown


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Removes notes that were purged."""

    changes: RecordChanges
    cache: IndexCache
    nodes: Nodes

    async def checked(self, user_id: str, node_id: str, version: int) -> tuple[bool, list[Keyword]]:
        """The same for a call, whose caller may be wrong: what is removed never comes back, so a live note must not be.

        Where the record does not show that the note was deleted at this version, the node service is asked.
        FailedPrecondition (VERSION_UNKNOWN): the note never had it. Unavailable: the node service does not answer.
        """
        check_ids(user_id, node_id=node_id)
        stored = await self.changes.records.get(user_id, node_id)
        if stored.visible or stored.state_version != version:
            owners = await self.nodes.state(user_id, node_id, (stored.incarnation, version))
            same = owners is not None and owners.incarnation == stored.incarnation
            if owners is not None and same and (owners.version < version or owners.visible):
                if owners.version > version:
                    raise newer_version(owners.version, version)
                raise version_unknown(node_id)
        return await self(user_id, node_id, version)

    async def __call__(
        self, user_id: str, node_id: str, version: int, *, incarnation: int | None = None
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
            return old.removed(version, incarnation=incarnation)

        removed = await self.changes.change(user_id, node_id, change)
        note = before.note
        if not removed or note is None:
            return False, []
        found = await self.cache.query(
            user_id, lambda index: keywords.keywords(index, note, keywords.SALIENT), long=is_long(note)
        )
        return True, found
