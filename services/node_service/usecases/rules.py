"""What several use cases check and say alike."""

from services.node_service.model import Summary
from services.node_service.ports import NodeStore, Request
from shared.errors import Aborted, FailedPrecondition, NotFound, Violations
from shared.ids import check_id, check_user_id

MAX_REQUEST_ID = 64


def check_ids(user_id: str, node_id: str | None, request: Request | None, violations: Violations) -> None:
    """Add what is wrong with the ids of a request; node_id None: it names no note; no request: it has no request_id."""
    check_user_id("user_id", user_id, violations)
    if node_id is not None:
        check_id("node_id", node_id, violations)
    if request is not None:
        check_id("request_id", request.request_id, violations)


def require_ids(user_id: str, node_id: str | None = None, request: Request | None = None) -> None:
    """As check_ids, for requests in which nothing else can be wrong. InvalidArgument."""
    violations = Violations()
    check_ids(user_id, node_id, request, violations)
    violations.raise_if_any()


async def former(store: NodeStore, user_id: str, request: Request | None) -> Summary | None:
    """What the same request was answered before, if it was."""
    return None if request is None else await store.answer(user_id, request)


def not_found(node_id: str) -> NotFound:
    return NotFound(f"there is no note {node_id}", reason="NODE_NOT_FOUND", metadata={"node_id": node_id})


def hidden(node_id: str) -> NotFound:
    return NotFound(f"the note {node_id} is deleted", reason="NODE_DELETED", metadata={"node_id": node_id})


def deleted(node_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the note {node_id} is deleted: restore it first", reason="NODE_DELETED", metadata={"node_id": node_id}
    )


def stale(node_id: str, current: str) -> Aborted:
    return Aborted(
        f"the note {node_id} was written since: read it again",
        reason="ETAG_MISMATCH",
        metadata={"node_id": node_id, "etag": current},
    )
