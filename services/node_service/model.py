"""What a note is: its views, its life cycle, its limits and its events.

Times are milliseconds since 1970-01-01 UTC, sizes are bytes of UTF-8. A field of a note is declared here once: the
table, the caches and the API take it from these classes (docs/how-to/add-a-field.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

MAX_TITLE_BYTES = 512
MAX_CONTENT_BYTES = 256 * 1024
MAX_TAGS = 64
MAX_TAG_BYTES = 64
MAX_ALIASES = 32
MAX_METADATA_ENTRIES = 32
MAX_METADATA_BYTES = 4096
EXCERPT_CHARACTERS = 200
# An event carries a content of up to this many bytes. A larger one is read from this service by whoever needs it.
EVENT_CONTENT_BYTES = 4096
MAX_BATCH_CREATE = 100
MAX_BATCH_GET = 1000
# A create_time may lie this far in the future, because the clocks of importers differ a little.
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


Revision = tuple[int, int]
"""(incarnation, version): what orders the states of a note, also those of a note created under a purged one's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """What is needed to show or check a link. Summary has all fields of Title and more, Node all of Summary and more.

    incarnation: when the service stored the note. A purged id can be created again: versions then start at 1 again and
    the incarnation is later, so the pair (incarnation, version) always grows (docs/adr/0012).
    """

    user_id: str
    node_id: str
    title: str
    version: int
    incarnation: int
    create_ms: int
    # The last change of the note's own fields. Deleting and restoring raise the version and leave this time.
    update_ms: int
    delete_ms: int | None = None
    purge_ms: int | None = None

    @property
    def deleted(self) -> bool:
        return self.delete_ms is not None

    @property
    def etag(self) -> str:
        return etag_of(self.incarnation, self.version)

    @property
    def revision(self) -> Revision:
        return self.incarnation, self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Title):
    """Everything of a note except its content. A field with a default may be absent in older items of the table."""

    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    excerpt: str = ""
    content_bytes: int = 0
    # What the deletion asked for, while the note is deleted.
    cascade: Cascade = Cascade.EDGES
    # The purge has begun, and the note can't be restored any more.
    fenced: bool = False
    # The version whose write stored the content apart from the rest of the note; 0 = it is stored with the rest, or
    # where this was read doesn't have it (a cache, a list). Only the table uses it, and notes are equal without it.
    content_version: int = field(default=0, compare=False)

    @property
    def bytes(self) -> int:
        """The size of all its texts, in UTF-8."""
        texts = (self.title, *self.tags, *self.aliases, *self.metadata, *self.metadata.values())
        return self.content_bytes + sum(len(text.encode()) for text in texts)

    def with_content(self, content: str) -> "Node":
        """The whole note, of which this is the summary."""
        return Node(**{name: getattr(self, name) for name in _SUMMARY_FIELDS} | text(content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Summary):
    """A whole note. excerpt and content_bytes are derived from content: text() makes the three."""

    content: str

    def summary(self) -> Summary:
        return Summary(**{name: getattr(self, name) for name in _SUMMARY_FIELDS})


_SUMMARY_FIELDS = tuple(each.name for each in fields(Summary))


def text(content: str) -> dict[str, Any]:
    """The fields of a Node that its content decides: content, excerpt, content_bytes."""
    return {
        "content": content,
        "excerpt": content[:EXCERPT_CHARACTERS],
        "content_bytes": len(content) if content.isascii() else len(content.encode()),
    }


def etag_of(incarnation: int, version: int) -> str:
    return f'"{version}-{incarnation:x}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A note as a caller gives it: to be created, or with the new values of an update."""

    node_id: str = ""
    title: str = ""
    content: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    create_ms: int | None = None


# The fields that UpdateNode can change, and that its mask can name.
UPDATABLE_FIELDS = tuple(each.name for each in fields(Draft) if each.name not in ("node_id", "create_ms"))


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What a user can set in this service. retention_seconds: how long a deleted note can be restored."""

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
    """What happened, with the note as it is afterwards (for a purge: as it was before, with the next version).

    changed: for an update, the fields whose values differ now.
    time_ms: when it happened.
    """

    event_type: NodeEventType
    node: Summary
    time_ms: int
    changed: tuple[str, ...] = ()
