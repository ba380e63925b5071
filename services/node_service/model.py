"""What a note is: its views, its life cycle, its limits, and what is told of it to the others.

Times are milliseconds since 1970-01-01 UTC, sizes bytes of UTF-8. Content is data: any text is kept and given back byte
for byte. Titles, tags and metadata keys are shown on one line by others, so they can't hold control characters.
"""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from shared.errors import Violations
from shared.ids import check_id

MAX_TITLE_BYTES = 512
MAX_CONTENT_BYTES = 256 * 1024
MAX_TAGS = 64
MAX_TAG_BYTES = 64
MAX_METADATA_ENTRIES = 32
MAX_METADATA_BYTES = 4096
EXCERPT_CHARACTERS = 200
MAX_BATCH_CREATE = 100
MAX_BATCH_GET = 1000
# Clocks of importers differ from ours a little.
MAX_FUTURE_MS = 5 * 60 * 1000
MAX_RETENTION_SECONDS = 365 * 24 * 3600


class Cascade(Enum):
    """What the purge of a deleted note takes along (Cascade in node.proto)."""

    EDGES = "edges"
    ORPHANS = "orphans"


class View(Enum):
    """How much of a note a read returns."""

    TITLE = "title"
    SUMMARY = "summary"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """Enough of a note to show or check a link. Each of Title, Summary, Node holds what the one before holds, and more.

    incarnation: when the service stored the note. Somebody may create a purged id again; versions then start at 1 again
    and the incarnation is a later one, so (incarnation, version) always grows (docs/adr/0012).
    """

    user_id: str
    node_id: str
    title: str
    version: int
    incarnation: int
    create_ms: int
    # Of the note's own fields: deleting and restoring raise the version, not this time.
    update_ms: int
    delete_ms: int | None = None
    purge_ms: int | None = None

    @property
    def deleted(self) -> bool:
        return self.delete_ms is not None

    @property
    def etag(self) -> str:
        return etag_of(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Title):
    """All of a note but its content."""

    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    excerpt: str = ""
    content_bytes: int = 0
    # Of the deletion, while the note is deleted.
    cascade: Cascade = Cascade.EDGES
    # The purge has begun: no restore any more.
    fenced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Summary):
    """A whole note. excerpt and content_bytes follow from content: text() gives the three."""

    content: str

    def summary(self) -> Summary:
        return Summary(**{name: getattr(self, name) for name in _SUMMARY_FIELDS})


_SUMMARY_FIELDS = tuple(field.name for field in fields(Summary))


def text(content: str) -> dict[str, Any]:
    """The three fields of a Node that its content decides."""
    return {
        "content": content,
        "excerpt": content[:EXCERPT_CHARACTERS],
        "content_bytes": len(content) if content.isascii() else len(content.encode()),
    }


def etag_of(version: int) -> str:
    return f'"{version}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A note as a caller gives it: to be created, or the new values of an update."""

    node_id: str = ""
    title: str = ""
    content: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    create_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What a user can set about this service. retention_seconds: how long a deleted note can be restored."""

    retention_seconds: int


class NodeEventType(Enum):
    """The events of a note; the value is the event's type."""

    CREATED = "node.created"
    UPDATED = "node.updated"
    DELETED = "node.deleted"
    RESTORED = "node.restored"
    PURGED = "node.purged"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent:
    """What happened, with the note as it is from then on (at a purge: as it was, but for the version).

    changed: at an update, the paths whose values differ now. time_ms: when it happened.
    """

    event_type: NodeEventType
    node: Summary
    time_ms: int
    changed: tuple[str, ...] = ()


PATHS = ("title", "content", "tags", "metadata")


def check_draft(draft: Draft, paths: Collection[str], prefix: str, violations: Violations) -> None:
    """Add all that is wrong with the fields of a draft that `paths` names; prefix is where it is in the request."""
    if "title" in paths:
        _check_line(f"{prefix}.title", draft.title, MAX_TITLE_BYTES, violations)
    if "content" in paths and _size(draft.content) > MAX_CONTENT_BYTES:
        violations.add(
            f"{prefix}.content", f"has {_size(draft.content)} bytes, at most {MAX_CONTENT_BYTES} are allowed"
        )
    if "tags" in paths:
        _check_tags(f"{prefix}.tags", draft.tags, violations)
    if "metadata" in paths:
        _check_metadata(f"{prefix}.metadata", draft.metadata, violations)


def check_new(draft: Draft, now_ms: int, prefix: str, violations: Violations) -> None:
    """The same for a note to be created: also its id, its time, and that it says anything."""
    if draft.node_id:
        check_id(f"{prefix}.node_id", draft.node_id, violations)
    check_draft(draft, PATHS, prefix, violations)
    if blank(draft.title, draft.content):
        violations.add(prefix, "title or content must not be blank")
    if draft.create_ms is not None and not 0 <= draft.create_ms <= now_ms + MAX_FUTURE_MS:
        violations.add(
            f"{prefix}.create_time", "must lie between 1970 and now (5 minutes of clock difference are allowed)"
        )


def blank(title: str, content: str) -> bool:
    """Whether a note with these two would be empty."""
    return not title.strip() and not content.strip()


def _check_tags(field: str, tags: Sequence[str], violations: Violations) -> None:
    if len(tags) > MAX_TAGS:
        violations.add(field, f"has {len(tags)} tags, at most {MAX_TAGS} are allowed")
        return
    seen: set[str] = set()
    for index, tag in enumerate(tags):
        _check_line(f"{field}[{index}]", tag, MAX_TAG_BYTES, violations)
        if not tag.strip():
            violations.add(f"{field}[{index}]", "must not be blank")
        elif tag in seen:
            violations.add(f"{field}[{index}]", "repeats an earlier tag")
        seen.add(tag)


def _check_metadata(field: str, metadata: Mapping[str, str], violations: Violations) -> None:
    if len(metadata) > MAX_METADATA_ENTRIES:
        violations.add(field, f"has {len(metadata)} entries, at most {MAX_METADATA_ENTRIES} are allowed")
    size = sum(_size(key) + _size(value) for key, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        violations.add(field, f"has {size} bytes in all, at most {MAX_METADATA_BYTES} are allowed")
    if any(not key or _has_control(key) for key in metadata):
        violations.add(field, "keys must not be empty or hold control characters")


def _check_line(field: str, value: str, most: int, violations: Violations) -> None:
    if _size(value) > most:
        violations.add(field, f"has {_size(value)} bytes, at most {most} are allowed")
    elif _has_control(value):
        violations.add(field, "must be one line without control characters")


def _has_control(value: str) -> bool:
    # Cc: control characters, among them NUL, tab and newline; Zl, Zp: the line and paragraph separators.
    return not value.isprintable() and any(unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in value)


def _size(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())
