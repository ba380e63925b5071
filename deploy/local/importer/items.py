"""What an import reads and what becomes of it: notes, links, settings, problems; and ids that fit."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2

# The limits of brain2.node.v1: what is larger is refused here, by line, before it can spoil a whole batch.
MAX_CONTENT_BYTES = 256 * 1024
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
    """One edge to create, once every note is there."""

    where: str
    edge: graph_pb2.NewEdge


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


Item = Note | Link | Problem | Settings


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


def when(value: object) -> datetime:
    """A time from what people write: RFC 3339, a date, or seconds since 1970. Without a zone it is UTC. ValueError."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value.strip())
        elif isinstance(value, datetime):
            found = value
        elif isinstance(value, date):
            found = datetime(value.year, value.month, value.day, tzinfo=UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, UTC)
        else:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{value!r} is not a time (RFC 3339, a date, or seconds since 1970)") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def tags_of(value: object) -> list[str]:
    """Tags from a list or a text with commas, without '#' in front and without repeats. ValueError otherwise."""
    if value is None:
        return []
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str | int | float) for part in parts):
        raise ValueError("tags is not a list of texts")
    found = (str(part).strip().removeprefix("#") for part in parts)
    return list(dict.fromkeys(tag for tag in found if tag))
