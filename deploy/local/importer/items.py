"""What an import reads and what becomes of it: notes, links, settings, problems; and ids that fit."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from deploy.local.importer.dates import when
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2

# The limits of brain2.node.v1: what is larger is refused here, by line, before it can spoil a whole batch.
MAX_CONTENT_BYTES = 256 * 1024
MAX_TITLE_BYTES = 512
MAX_TAGS = 64
MAX_TAG_BYTES = 64
MAX_METADATA_ENTRIES = 32
MAX_METADATA_BYTES = 4096
# Marks of direction: they make one text look like another.
_BIDI = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_LONGEST_SHOWN = 500
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Note:
    """One note to create. where: for people, "line 12" or "Tea.md"."""

    where: str
    node: node_pb2.NewNode
    # Exports hold deleted notes too: it is created, linked, then deleted again.
    deleted: bool = False


@dataclass(frozen=True)
class Link:
    """One edge to create, once every note is there.

    zero: its weight is 0, which a new edge can't have (0 means 1): it is set by an update.
    """

    where: str
    edge: graph_pb2.NewEdge
    zero: bool = False


@dataclass(frozen=True)
class Rejection:
    """An automatic link between two notes that a person has rejected, from an export."""

    where: str
    source_id: str
    target_id: str
    edge_type: str


@dataclass(frozen=True)
class Problem:
    """What could not be read. fatal: a failure; else it is only mentioned (a link to a note that was never written)."""

    where: str
    reason: str
    fatal: bool = True


@dataclass(frozen=True)
class Settings:
    """The user's settings of one context, from an export: the fields of its UserSettings. Applied as they are read."""

    where: str
    context: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Owned:
    """All edges of a type that begin at these notes are among the links of this source: any other one is stale.

    from_text: pairs of notes whose texts have a link that the similarity service follows, too. It keeps their edges.
    """

    edge_type: str
    node_ids: frozenset[str]
    from_text: frozenset[frozenset[str]] = frozenset()


Item = Note | Link | Rejection | Problem | Settings | Owned
__all__ = [
    "MAX_CONTENT_BYTES", "MAX_METADATA_BYTES", "MAX_METADATA_ENTRIES", "MAX_TAGS", "MAX_TAG_BYTES", "MAX_TITLE_BYTES",
    "Item", "Link", "Note", "Owned", "Problem", "Rejection", "Settings", "Source", "cut", "has_control", "one_line",
    "shown", "stable_id", "tags_of", "when",
]  # fmt: skip


class Source(Protocol):
    """Where items come from. Iterating reads as it goes; done and total are in the same unit (bytes, files)."""

    name: str
    total: int
    done: int

    def __iter__(self) -> Iterator[Item]: ...


def stable_id(text: str) -> str:
    """An id of Brain2 for any text, always the same one: the text itself if it fits, else a slug and a hash of it."""
    if _ID.fullmatch(text):
        return text
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-._")[:51]
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{slug}-{digest}" if slug else digest


def one_line(text: str) -> str:
    """A text as one line without control characters and marks of direction: what titles, tags and names may hold."""
    plain = _BIDI.sub("", text)
    kept = (" " if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in plain)
    return " ".join("".join(kept).split())


def cut(text: str, most: int) -> str:
    """The longest beginning of a text that has at most this many bytes of UTF-8 and ends at a whole character."""
    data = text.encode()
    if len(data) <= most:
        return text
    kept = data[:most].decode(errors="ignore")
    # An accent or a joined emoji stays with the character before it, or goes with it.
    while kept and (unicodedata.combining(text[len(kept)]) or "\u200d" in (text[len(kept)], kept[-1])):
        kept = kept[:-1]
    return kept


def has_control(text: str) -> bool:
    """Whether a text holds what no title, tag or name of brain2.node.v1 may hold; one_line() takes it out."""
    return any(char in "\u202d\u202e" or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)


def shown(text: str) -> str:
    """A text as a terminal may show it: control characters and marks of direction are spelled out, the rest is cut."""
    escaped = "".join(
        f"\\u{ord(char):04x}" if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or _BIDI.match(char) else char
        for char in text[:_LONGEST_SHOWN]
    )
    return escaped + ("..." if len(text) > _LONGEST_SHOWN else "")


def tags_of(value: object) -> list[str]:
    """Tags from a list or a text with commas, without '#' in front and without repeats. ValueError otherwise."""
    if value is None:
        return []
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str | int | float) for part in parts):
        raise ValueError("tags is not a list of texts")
    found = (str(part).strip().removeprefix("#") for part in parts)
    return list(dict.fromkeys(tag for tag in found if tag))
