"""BatchGetNodes: read many notes in one call."""

from collections.abc import Mapping, Sequence

from services.node_service.model import Revision, Title, View
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.validation import check_batch_get_nodes
from shared.errors import ResourceExhausted

# Whole notes that one read of the store asks for.
READ_AT_ONCE = 100


async def batch_get_nodes(
    notes: Notes, user_id: str, node_ids: Sequence[str], view: View, show_deleted: bool, seen: Mapping[str, Revision]
) -> tuple[list[Title], list[str]]:
    """The notes that exist, in the order of the ids and each once, and the ids of those that are missing or deleted.

    seen: the revisions, by node_id, that the answer must not be older than.
    Raises InvalidArgument, ResourceExhausted (RESPONSE_TOO_LARGE).
    """
    check_batch_get_nodes(user_id, node_ids)
    wanted = list(dict.fromkeys(node_ids))
    found: Mapping[str, Title]
    if view is View.TITLE:
        found = await notes.store.titles(user_id, wanted, seen)
    elif view is View.SUMMARY:
        found = await notes.store.summaries(user_id, wanted, seen)
    else:
        found = await _read(notes, user_id, wanted, seen)
    shown = {node_id: node for node_id, node in found.items() if show_deleted or not node.deleted}
    present = [shown[node_id] for node_id in wanted if node_id in shown]
    return present, [node_id for node_id in wanted if node_id not in shown]


async def _read(notes: Notes, user_id: str, wanted: Sequence[str], seen: Mapping[str, Revision]) -> Mapping[str, Title]:
    """Read in several steps, so that a call never holds more than one answer and the contents of one step."""
    found: dict[str, Title] = {}
    size = 0
    for start in range(0, len(wanted), READ_AT_ONCE):
        for node_id, node in (await notes.store.read(user_id, wanted[start : start + READ_AT_ONCE], seen)).items():
            found[node_id] = node
            size += node.content_bytes
            if size > notes.max_answer_bytes:
                why = f"these notes have more than {notes.max_answer_bytes} bytes: ask for fewer or a smaller view"
                raise ResourceExhausted(why, reason="RESPONSE_TOO_LARGE")
    return found
