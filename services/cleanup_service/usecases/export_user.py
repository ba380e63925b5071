"""ExportUser: all data of a user as records, in an order that an importer can use: settings, notes, edges, end.

Among the edges are the rejections of automatic links, so that an import doesn't bring such links back.
"""

from collections.abc import AsyncIterator

from services.cleanup_service.model.saga import State
from services.cleanup_service.ports import Record
from services.cleanup_service.ports.export_user import UserDataReader
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.list_deletions import all_deletions_of_user


async def export_user(
    reader: UserDataReader, deletions: Deletions, user_id: str, *, include_deleted: bool
) -> AsyncIterator[list[Record]]:
    """Yields batches of records; the last record, of kind "end", counts the others and marks a complete export.

    Notes are as they were when their page was read. An edge is left out unless both of its ends are exported.
    """
    exported: set[str] = set()
    settings = await reader.settings(user_id)
    yield settings
    sources = [reader.notes(user_id)]
    if include_deleted:
        sources.append(_deleted_notes(reader, deletions, user_id))
    for notes in sources:
        async for batch in notes:
            # A note that is restored during the export may be read twice, as a live one and as a deleted one.
            fresh = [note for note in batch if note["id"] not in exported]
            exported.update(note["id"] for note in fresh)
            yield fresh
    counts = {"edge": 0, "rejection": 0}
    async for batch in reader.all_edges(user_id, hidden=include_deleted):
        known = [edge for edge in batch if edge["source_id"] in exported and edge["target_id"] in exported]
        for edge in known:
            counts[edge["kind"]] += 1
        yield known
    edges, rejections = counts["edge"], counts["rejection"]
    end = {"notes": len(exported), "edges": edges, "rejections": rejections, "settings": len(settings)}
    yield [{"kind": "end", **end}]


async def _deleted_notes(reader: UserDataReader, deletions: Deletions, user_id: str) -> AsyncIterator[list[Record]]:
    # The node service doesn't list deleted notes; each has a saga.
    async for sagas in all_deletions_of_user(deletions, user_id):
        node_ids = [saga.node_id for saga in sagas if saga.state in (State.PENDING, State.FAILED)]
        if node_ids:
            yield await reader.deleted_notes(user_id, node_ids)
