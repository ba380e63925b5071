"""Notes from a file of JSON lines, plain or gzip: {"id", "title", "text", "tags", "created"}, or an export of Brain2.

An export (CleanupService.ExportUser) has "kind" in each line: "note", "edge", "rejection", "settings", "end". Other
fields of a line are ignored. A line that can't be read becomes a Problem with its number; the others are read all the
same.
"""

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf import json_format

from deploy.local.importer.items import (
    MAX_CONTENT_BYTES,
    Item,
    Link,
    Note,
    Problem,
    Rejection,
    Settings,
    stable_id,
    tags_of,
    when,
)
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2

# A note of 256 KiB whose characters are all escaped, with its metadata, has less than 2 MiB.
_LONGEST_LINE = 4 * 1024 * 1024
# Notes are compressed to a tenth. What unpacks to more than this was made to do harm.
_MOST_UNPACKED = 200
_UNPACKED_AT_LEAST = 64 * 1024 * 1024
_GZIP = b"\x1f\x8b"


class JsonLines:
    """The items of one file, read lazily; progress is in bytes of the file."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.total = path.stat().st_size
        self.done = 0
        self._path = path

    def __iter__(self) -> Iterator[Item]:
        seen: dict[str, int] = {}
        counts: Counter[str] = Counter()
        end: dict[str, Any] | None = None
        number = 0
        with self._path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            lines: BinaryIO = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            most = max(_UNPACKED_AT_LEAST, self.total * _MOST_UNPACKED) if packed else self.total + _LONGEST_LINE
            try:
                for number, line in enumerate(_lines(lines, most), 1):
                    self.done = raw.tell()
                    if line is None:
                        yield Problem(f"line {number}", f"over {_LONGEST_LINE >> 20} MiB")
                        continue
                    if not line.strip():
                        continue
                    where = f"line {number}"
                    try:
                        fields = _fields(line)
                        if "kind" in fields:
                            counts[f"{fields['kind']}s"] += 1
                        if fields.get("kind") == "end":
                            end = fields
                            continue
                        item = item_of(where, fields)
                    except RecursionError:
                        yield Problem(where, "nested too deep")
                        continue
                    except (ValueError, TypeError, OverflowError) as error:
                        yield Problem(where, str(error))
                        continue
                    if isinstance(item, Note):
                        first = seen.setdefault(item.node.node_id, number)
                        if first != number:
                            yield Problem(where, f"the id {item.node.node_id!r} is already on line {first}")
                            continue
                    yield item
            except _BombError:
                yield Problem(f"after line {number}", "it unpacks to far more than notes do: the rest is not read")
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield Problem(f"after line {number}", f"the compressed file is damaged: {error}")
        self.done = self.total
        if counts:
            yield from _check_end(f"after line {number}", end, counts)


class _BombError(Exception):
    """A compressed file unpacks to more than a file of notes can."""


def _lines(opened: BinaryIO, most: int) -> Iterator[bytes | None]:
    """The lines of a file, in bounded memory: None for one that is too long. _BombError above `most` bytes in all."""
    size = 0
    while line := opened.readline(_LONGEST_LINE + 1):
        size += len(line)
        whole = len(line) <= _LONGEST_LINE
        while not whole and not line.endswith(b"\n"):
            line = opened.readline(_LONGEST_LINE)
            size += len(line)
            if size > most:
                raise _BombError
            if not line:
                break
        if size > most:
            raise _BombError
        yield line if whole else None


def _fields(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _check_end(where: str, end: Mapping[str, Any] | None, counts: Mapping[str, int]) -> Iterator[Problem]:
    """The last line of an export counts the others: a copy that lost some must not look whole."""
    if end is None:
        yield Problem(where, "the export is cut off: its last line, of kind end, is missing")
        return
    for kind in ("notes", "edges", "rejections"):
        found, told = counts.get(kind, 0), end.get(kind)
        if told is not None and told != found:
            yield Problem(where, f"the export had {told} {kind}, the file has {found}")


def item_of(where: str, fields: dict[str, Any]) -> Note | Link | Rejection | Settings:
    """The item that the fields of a line describe. ValueError, TypeError or OverflowError when they describe none."""
    kind = fields.get("kind", "note")
    if kind == "note":
        return _note(where, fields)
    if kind == "edge":
        return _edge(where, fields)
    if kind == "rejection":
        edge = _edge(where, fields).edge
        return Rejection(where, edge.source_id, edge.target_id, edge.type)
    if kind == "settings":
        values = fields.get("settings")
        if not isinstance(values, dict):
            raise ValueError("settings is not an object")
        return Settings(where, str(fields.get("context", "")), values)
    raise ValueError(f"kind {kind!r} is not known (note, edge, rejection, settings, end)")


def _note(where: str, fields: Mapping[str, Any]) -> Note:
    title = _text(fields, "title")
    content = _text(fields, "text", "content")
    if not title.strip() and not content.strip():
        raise ValueError("neither title nor text")
    if len(content.encode()) > MAX_CONTENT_BYTES:
        raise ValueError(f"text is over {MAX_CONTENT_BYTES // 1024} KiB")
    given = _first(fields, "id", "node_id", "nodeId")
    if given is not None and not isinstance(given, str | int):
        raise ValueError("id is not a text")
    # Without an id the content is the identity: a second import finds the same note again.
    original = (
        str(given) if given not in (None, "") else hashlib.sha256(f"{title}\n{content}".encode()).hexdigest()[:26]
    )
    node = node_pb2.NewNode(node_id=stable_id(original), title=title, content=content, tags=_tags(fields))
    aliases = fields.get("aliases") or []
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise ValueError("aliases is not a list of texts")
    node.aliases.extend(dict.fromkeys(alias for alias in aliases if alias.strip()))
    metadata = fields.get("metadata") or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata is not an object of texts")
    node.metadata.update(metadata)
    if node.node_id != original:
        node.metadata["imported_id"] = original
    created = _first(fields, "created", "create_time", "createTime")
    if created is not None:
        node.create_time.FromDatetime(when(created))
    return Note(where, node, deleted=bool(_first(fields, "delete_time", "deleteTime")))


def _edge(where: str, fields: dict[str, Any]) -> Link:
    try:
        edge = json_format.ParseDict(fields, graph_pb2.NewEdge(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(f"not an edge: {error}") from None
    if not edge.source_id or not edge.target_id:
        raise ValueError("an edge needs source_id and target_id")
    edge.source_id, edge.target_id = stable_id(edge.source_id), stable_id(edge.target_id)
    return Link(where, edge, zero=fields.get("weight") == 0)


def _tags(fields: Mapping[str, Any]) -> list[str]:
    """The tags of a line; those of an export as they are, for a tag may begin with '#' or a space."""
    tags = fields.get("tags")
    if "kind" in fields and isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        return tags
    return tags_of(tags)


def _first(fields: Mapping[str, Any], *names: str) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _text(fields: Mapping[str, Any], *names: str) -> str:
    found = _first(fields, *names)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise ValueError(f"{names[0]} is not a text")
    try:
        found.encode()
    except UnicodeEncodeError:
        # JSON can spell half of a surrogate pair.
        raise ValueError(f"{names[0]} holds a character that UTF-8 can't") from None
    return found
