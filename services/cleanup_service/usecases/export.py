"""ExportUser: everything of a user as records, in an order that an importer can use: settings, notes, edges, end."""

from collections.abc import AsyncIterator

from services.cleanup_service.model.saga import State
from services.cleanup_service.ports import Record
from services.cleanup_service.ports.export import Library
from services.cleanup_service.usecases.intake import Intake

_SAGAS_A_PAGE = 200


class Export:
    """Notes are as they were when their page was read; edges are left out unless both of their ends are exported."""

    def __init__(self, library: Library, intake: Intake) -> None:
        self._library = library
        self._intake = intake

    async def export(self, user_id: str, *, include_deleted: bool) -> AsyncIterator[list[Record]]:
        """Batches of records; the last record, of kind "end", counts the others: without it an export is cut off."""
        exported: set[str] = set()
        settings = await self._library.settings(user_id)
        yield settings
        async for batch in self._library.notes(user_id):
            # A note that was restored while we read shows up twice at most: once here, once below.
            fresh = [note for note in batch if note["id"] not in exported]
            exported.update(note["id"] for note in fresh)
            yield fresh
        if include_deleted:
            async for batch in self._deleted(user_id):
                fresh = [note for note in batch if note["id"] not in exported]
                exported.update(note["id"] for note in fresh)
                yield fresh
        edges = 0
        async for batch in self._library.all_edges(user_id, hidden=include_deleted):
            known = [edge for edge in batch if edge["source_id"] in exported and edge["target_id"] in exported]
            edges += len(known)
            yield known
        yield [{"kind": "end", "notes": len(exported), "edges": edges, "settings": len(settings)}]

    async def _deleted(self, user_id: str) -> AsyncIterator[list[Record]]:
        # Nobody else knows which notes are deleted: the sagas do.
        position = ""
        while True:
            page = await self._intake.list_user(user_id, None, position, _SAGAS_A_PAGE)
            node_ids = [saga.node_id for saga in page.sagas if saga.state in (State.PENDING, State.FAILED)]
            if node_ids:
                yield await self._library.deleted_notes(user_id, node_ids)
            position = page.position
            if not position:
                return
