"""What every request must hold to, checked before anything is done."""

from shared.errors import Violations
from shared.ids import check_id, check_user_id

MAX_TEXT_BYTES = 256 * 1024
MAX_TITLE_BYTES = 512


def check_ids(user_id: str, **node_ids: str) -> None:
    """InvalidArgument names every bad id."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    for field, node_id in node_ids.items():
        check_id(field, node_id, violations)
    violations.raise_if_any()


def check_subject(user_id: str, node_id: str, text: str, title: str) -> None:
    """Either a note or a text, not both."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    given = bool(text or title)
    if node_id and given:
        violations.add("node_id", "give either node_id, or text and title, not both")
    elif node_id:
        check_id("node_id", node_id, violations)
    elif not given:
        violations.add("node_id", "give node_id or text")
    if len(text.encode()) > MAX_TEXT_BYTES:
        violations.add("text", f"must be at most {MAX_TEXT_BYTES} bytes")
    if len(title.encode()) > MAX_TITLE_BYTES:
        violations.add("title", f"must be at most {MAX_TITLE_BYTES} bytes")
    violations.raise_if_any()


def limit(requested: int, *, default: int, maximum: int, field: str = "limit") -> int:
    """0 -> default; InvalidArgument when negative or above the maximum."""
    if not 0 <= requested <= maximum:
        violations = Violations()
        violations.add(field, f"must be 0 (which means {default}) to {maximum}")
        violations.raise_if_any()
    return requested or default


def check_score(value: float) -> None:
    """A bound for scores."""
    if not 0 <= value <= 1:
        violations = Violations()
        violations.add("min_score", "must be in [0, 1]")
        violations.raise_if_any()
