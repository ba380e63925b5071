"""Checks of requests, made before anything is done. Each raises InvalidArgument and names every bad field."""

from collections.abc import Collection, Sequence

from services.similarity_service.model.analysis import LANGUAGES
from services.similarity_service.model.user_settings import MOST_LINKS, UserSettings
from shared.errors import Violations, shown
from shared.ids import check_id, check_user_id

MAX_TEXT_BYTES = 256 * 1024
MAX_TITLE_BYTES = 512
MAX_QUERY_BYTES = 1024
SETTINGS_PATHS = ("language", "auto_link", "link_threshold", "max_links")


def check_ids(user_id: str, **node_ids: str) -> None:
    """user_id and node_ids, which are given by the names of their fields, must be well-formed."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    for field, node_id in node_ids.items():
        check_id(field, node_id, violations)
    violations.raise_if_any()


def check_subject(user_id: str, node_id: str, text: str, title: str) -> None:
    """A request is about either a note or a text with a title, not about both."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    given = bool(text or title)
    if node_id and given:
        violations.add("node_id", f"is {shown(node_id)} beside text or title, only one of the two may be given")
    elif node_id:
        check_id("node_id", node_id, violations)
    elif not given:
        violations.add("node_id", "is empty like text and title, one of the three must be given")
    _size("text", text, MAX_TEXT_BYTES, violations)
    _size("title", title, MAX_TITLE_BYTES, violations)
    violations.raise_if_any()


def check_rename(user_id: str, node_id: str, title: str) -> None:
    """The new title must hold more than spaces; the node service checks the rest of it."""
    violations = Violations()
    check_user_id("user_id", user_id, violations)
    check_id("node_id", node_id, violations)
    if not title.strip():
        violations.add("title", "must not be blank")
    _size("title", title, MAX_TITLE_BYTES, violations)
    violations.raise_if_any()


def check_limit(requested: int, *, default: int, maximum: int) -> int:
    """The number of results that a request wants: 0 means the default, more than the maximum is an error."""
    if not 0 <= requested <= maximum:
        violations = Violations()
        violations.add("limit", f"is {requested:,}, must be 0 (which means {default:,}) to {maximum:,} results")
        violations.raise_if_any()
    return requested or default


def check_min_score(value: float) -> None:
    """The lower bound of scores must be a score."""
    if not 0 <= value <= 1:
        violations = Violations()
        violations.add("min_score", f"is {shown(value)}, must be 0 to 1")
        violations.raise_if_any()


def check_query(user_id: str, text: str, tags: Sequence[str]) -> None:
    """A search needs some text or a tag."""
    check_ids(user_id)
    violations = Violations()
    _size("query", text, MAX_QUERY_BYTES, violations)
    if not text.strip() and not tags:
        violations.add("query", "is blank, must have text unless tags are given")
    violations.raise_if_any()


def check_keyword_terms(terms: Sequence[str]) -> None:
    """terms: of the requested keyword; it must hold a word."""
    if not terms:
        violations = Violations()
        violations.add("keyword", "has no word, must have at least one")
        violations.raise_if_any()


def check_settings_paths(paths: Collection[str]) -> None:
    """An update mask names fields of the settings."""
    violations = Violations()
    for path in paths:
        if path not in SETTINGS_PATHS:
            violations.add("update_mask", f"names {shown(path)}, only {', '.join(SETTINGS_PATHS)} can be updated")
    violations.raise_if_any()


def check_user_settings(settings: UserSettings) -> None:
    """Every value must be within its range."""
    violations = Violations()
    if settings.language not in LANGUAGES:
        violations.add(
            "settings.language", f"is {shown(settings.language)}, must be one of {', '.join(sorted(LANGUAGES))}"
        )
    if not 0 <= settings.link_threshold <= 1:
        violations.add("settings.link_threshold", f"is {shown(settings.link_threshold)}, must be 0 (the default) to 1")
    if not 0 <= settings.max_links <= MOST_LINKS:
        violations.add(
            "settings.max_links", f"is {settings.max_links:,}, must be 0 (the default) to {MOST_LINKS} links"
        )
    violations.raise_if_any()


def _size(field: str, text: str, most: int, violations: Violations) -> None:
    if (size := len(text.encode())) > most:
        violations.add(field, f"has {size:,} bytes, at most {most:,} are allowed")
