"""Checks of requests. Each function raises InvalidArgument that names every wrong field of a request."""

from services.cleanup_service.model.saga import State
from shared.errors import FieldViolation, Violations, invalid_request, shown
from shared.ids import check_id, check_user_id

MAX_RATE = 100_000
"""Items a second that ReconcileUser may be asked for."""


def check_deletion(user_id: str, node_id: str, request_id: str = "") -> None:
    """QueueDeletion, RetryDeletion, GetDeletion."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    check_id("node_id", node_id, violations)
    if request_id:
        check_id("request_id", request_id, violations)
    violations.raise_if_any()


def check_list_deletions(user_id: str, state: State | None) -> None:
    """user_id may be empty, which lists the deletions of all users; then a state is required."""
    if user_id:
        check_user(user_id)
    elif state is None:
        why = f"is not set, must be one of {', '.join(each.name for each in State)} when user_id is empty"
        raise invalid_request([FieldViolation("state", why)], reason="STATE_REQUIRED")


def check_erase_user(user_id: str, confirm_user_id: str) -> None:
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    if confirm_user_id != user_id:
        violations.add("confirm_user_id", f"is {shown(confirm_user_id)}, must repeat user_id: this can't be undone")
    violations.raise_if_any()


def check_get_erasure(erasure_id: str) -> None:
    violations = Violations()
    check_id("erasure_id", erasure_id, violations)
    violations.raise_if_any()


def check_user(user_id: str) -> None:
    """ExportUser, and ListDeletions of one user."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    violations.raise_if_any()


def check_reconcile_user(user_id: str, max_rate: int) -> None:
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    if not 0 <= max_rate <= MAX_RATE:
        violations.add("max_rate", f"is {max_rate:,}, must be 0 to {MAX_RATE:,} items a second")
    violations.raise_if_any()
