"""GetNode: read one note."""

from collections.abc import Mapping

from services.node_service.model import Node, Revision
from services.node_service.usecases.errors import node_hidden, node_not_found
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.validation import check_ids


async def get_node(notes: Notes, user_id: str, node_id: str, show_deleted: bool, seen: Mapping[str, Revision]) -> Node:
    """seen: the revision, by node_id, that the answer must not be older than.

    Raises InvalidArgument, NotFound (NODE_NOT_FOUND, NODE_DELETED).
    """
    check_ids(user_id, node_id)
    node = (await notes.store.read(user_id, [node_id], seen)).get(node_id)
    if node is None:
        raise node_not_found(node_id)
    if node.deleted and not show_deleted:
        raise node_hidden(node_id)
    return node
