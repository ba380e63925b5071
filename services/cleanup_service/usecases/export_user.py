"""ExportUser: all data of a user as records, in an order that an importer can use: settings, notes, edges, end."""

from collections.abc import AsyncIterator

from services.cleanup_service.model.saga import State
from services.cleanup_service.ports import Record
from services.cleanup_service.ports.export_user import UserDataReader
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.list_deletions import list_deletions_of_user

_SAGAS_A_PAGE = 200


class UserExporter:
    """Notes are as they were when their page was read; edges are left out unless both of their ends are exported."""

    def __init__(self, reader: UserDataReader, deletions: Deletions) -> None:
        self._reader = reader
        self._deletions = deletions

    async def export_user(self, user_id: str, *, include_deleted: bool) -> AsyncIterator[list[Record]]:
        """Yields batches of records; the last record, of kind "end", counts the others and marks a complete export."""
        exported: set[str] = set()
        settings = await self._reader.settings(user_id)
        yield settings
        async for batch in self._reader.notes(user_id):
            # A note that is restored during the export may be read twice, here and among the deleted ones.
            fresh = [note for note in batch if note["id"] not in exported]
            exported.update(note["id"] for note in fresh)
            yield fresh
        if include_deleted:
            async for batch in self._deleted(user_id):
                fresh = [note for note in batch if note["id"] not in exported]
                exported.update(note["id"] for note in fresh)
                yield fresh
        edges = 0
        async for batch in self._reader.all_edges(user_id, hidden=include_deleted):
            known = [edge for edge in batch if edge["source_id"] in exported and edge["target_id"] in exported]
            edges += len(known)
            yield known
        yield [{"kind": "end", "notes": len(exported), "edges": edges, "settings": len(settings)}]

    async def _deleted(self, user_id: str) -> AsyncIterator[list[Record]]:
        # The node service doesn't list deleted notes; each has a saga.
        position = ""
        while True:
            page = await list_deletions_of_user(self._deletions, user_id, None, position, _SAGAS_A_PAGE)
            node_ids = [saga.node_id for saga in page.sagas if saga.state in (State.PENDING, State.FAILED)]
            if node_ids:
                yield await self._reader.deleted_notes(user_id, node_ids)
            position = page.position
            if not position:
                return
