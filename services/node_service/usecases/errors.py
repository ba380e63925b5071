"""The errors that several use cases raise."""

from services.node_service.model import Summary
from shared.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound


def node_not_found(node_id: str) -> NotFound:
    return NotFound(f"there is no note {node_id}", reason="NODE_NOT_FOUND", metadata={"node_id": node_id})


def node_hidden(node_id: str) -> NotFound:
    """For a read of a deleted note."""
    return NotFound(f"the note {node_id} is deleted", reason="NODE_DELETED", metadata={"node_id": node_id})


def node_deleted(node_id: str) -> FailedPrecondition:
    """For a write of a deleted note."""
    return FailedPrecondition(
        f"the note {node_id} is deleted: restore it first", reason="NODE_DELETED", metadata={"node_id": node_id}
    )


def node_exists(node_id: str) -> AlreadyExists:
    return AlreadyExists(
        f"there is a note {node_id} already (it may be a deleted one)",
        reason="NODE_EXISTS",
        metadata={"node_id": node_id},
    )


def etag_mismatch(node: Summary) -> Aborted:
    return Aborted(
        f"the note {node.node_id} was written since: read it again",
        reason="ETAG_MISMATCH",
        metadata={"node_id": node.node_id, "etag": node.etag},
    )
