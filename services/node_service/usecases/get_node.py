"""GetNode: read one note."""

from collections.abc import Mapping

from services.node_service.model import Revision, Summary, View
from services.node_service.usecases.errors import node_hidden, node_not_found
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.validation import check_ids


async def get_node(
    notes: Notes, user_id: str, node_id: str, view: View, show_deleted: bool, seen: Mapping[str, Revision]
) -> Summary:
    """The note with at least what the view shows.

    seen: the revision, by node_id, that the answer must not be older than.

    Raises InvalidArgument, NotFound (NODE_NOT_FOUND, NODE_DELETED).
    """
    check_ids(user_id, node_id)
    read = notes.store.read if view is View.FULL else notes.store.summaries
    node = (await read(user_id, [node_id], seen)).get(node_id)
    if node is None:
        raise node_not_found(node_id)
    if node.deleted and not show_deleted:
        raise node_hidden(node_id)
    return node
