"""Notes and links from a file of GraphML: an export of Brain2 (clients/export/graphml.py), or one of another tool.

Of another tool's file the data title (or label, or name), text (or description, or content), tags and created of a node
are read, and type and weight of an edge; other data is named in a remark. Nodes of nested graphs are notes like others.

The file is hostile until it is read: it is parsed as it comes, in bounded memory, and may define no entities.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from clients.export.graphml import as_tags, as_xml_holds_it
from deploy.local.importer.items import Item, Link, Note, Problem, Rejection, one_line
from deploy.local.importer.jsonlines import item_of

SUFFIX = ".graphml"
_CHUNK_BYTES = 256 * 1024
# expat reads an unfinished tag again with each chunk.
_LONGEST_TAG_BYTES = 4 * 1024 * 1024
# A note of 256 KiB as JSON whose characters are all escaped has less than 2 MiB.
_LONGEST_VALUE = 4 * 1024 * 1024
_DEEPEST = 100
_NOTE_DATA = {
    "title": ("title", "label", "name"),
    "text": ("text", "description", "content"),
    "tags": ("tags",),
    "created": ("created",),
}
_EDGE_DATA = {"type": ("type", "label"), "weight": ("weight",)}
_FLAGS = {"automatic": "auto_generated", "confirmed": "confirmed"}
# Data of an export that says nothing more than other data of the same element.
_REPEATED = frozenset({"label", "updated", "automatic", "confirmed", "because"})


class GraphmlFile:
    """The items of one file, read lazily; progress is in bytes of the file."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.total = path.stat().st_size
        self.done = 0
        self._path = path

    def __iter__(self) -> Iterator[Item]:
        reader = _Reader()
        with self._path.open("rb") as opened:
            while True:
                chunk = opened.read(_CHUNK_BYTES)
                self.done += len(chunk)
                reader.feed(chunk)
                yield from reader.take()
                if reader.ended or not chunk:
                    break
        yield from reader.remarks()
        self.done = self.total


@dataclass
class _Element:
    """A node, an edge, or the graph itself, while it is read. where: for people, "line 12"."""

    kind: str
    where: str
    attributes: dict[str, str]
    data: dict[str, str] = field(default_factory=dict)


class _Reader:
    """Builds items from the events of the parser."""

    def __init__(self) -> None:
        self.ended = False
        self._items: list[Item] = []
        self._names: dict[str, str] = {}
        self._elements: list[_Element] = []
        self._first_lines: dict[str, str] = {}
        self._ignored: set[str] = set()
        self._depth = 0
        # The key of the data that is read, its parts so far and their length.
        self._key: str | None = None
        self._parts: list[str] = []
        self._length = 0
        self._fed = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes; none: the file is over. What is wrong becomes a Problem, and ends the reading."""
        self._fed += len(chunk)
        try:
            self._parser.Parse(chunk, not chunk)
            if self._fed - self._parser.CurrentByteIndex > _LONGEST_TAG_BYTES:
                raise _RefusedError(f"a tag is over {_LONGEST_TAG_BYTES >> 20} MiB")
        except expat.ExpatError as error:
            self._stop(f"line {error.lineno}", f"not XML: {expat.ErrorString(error.code)}")
        except (_RefusedError, LookupError, ValueError) as error:
            self._stop(f"line {self._parser.CurrentLineNumber}", str(error))

    def take(self) -> list[Item]:
        """The items since the last call."""
        found, self._items = self._items, []
        return found

    def remarks(self) -> Iterator[Problem]:
        """What is known only at the end."""
        if self._ignored:
            names = ", ".join(sorted(self._ignored)[:20])
            yield Problem("data", f"not read: {names}", fatal=False)

    def _stop(self, where: str, why: str) -> None:
        self.ended = True
        self._items.append(Problem(where, f"{why}: the rest is not read"))

    def _doctype(self, *_: Any) -> None:
        raise _RefusedError("a document type, which could define entities without end, is not accepted")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _RefusedError(f"nested deeper than {_DEEPEST} levels")
        name = name.rpartition(":")[2]
        if self._depth == 1 and name != "graphml":
            raise _RefusedError(f"not GraphML, but <{name[:40]}>")
        where = f"line {self._parser.CurrentLineNumber}"
        match name:
            case "key":
                self._names[attributes.get("id", "")] = attributes.get("attr.name") or attributes.get("id", "")
            case "graph":
                self._elements.append(_Element("graph", where, attributes))
            case "node" | "edge":
                self._elements.append(_Element(name, where, attributes))
            case "data":
                self._key, self._parts, self._length = attributes.get("key", ""), [], 0
            case "NodeLabel" if self._key is not None:
                # yEd writes how a node looks into its data, and its label there.
                self._key, self._parts, self._length = "label", [], 0
            case "hyperedge" | "port":
                self._ignored.add(name)

    def _text(self, text: str) -> None:
        if self._key is None:
            return
        self._length += len(text)
        if self._length > _LONGEST_VALUE:
            raise _RefusedError(f"a value is over {_LONGEST_VALUE >> 20} MiB")
        self._parts.append(text)

    def _end(self, name: str) -> None:
        self._depth -= 1
        name = name.rpartition(":")[2]
        if name in ("data", "NodeLabel") and self._key is not None:
            if self._key and self._elements:
                self._elements[-1].data[self._names.get(self._key, self._key)] = "".join(self._parts)
            self._key = None if name == "data" else ""
        elif name in ("node", "edge", "graph") and self._elements:
            element = self._elements.pop()
            try:
                self._items += self._read(element)
            except RecursionError:
                self._items.append(Problem(element.where, "nested too deep"))
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                self._items.append(Problem(element.where, str(error)))

    def _read(self, element: _Element) -> list[Item]:
        own = _own(element.data.get("brain2"))
        if element.kind == "graph":
            return [_rejection(element.where, each) for each in (own or {}).get("rejected", ())]
        if element.kind == "edge":
            return [self._edge(element, own)]
        note = self._note(element, own)
        if note.node.node_id in self._first_lines:
            raise ValueError(f"the id {note.node.node_id!r} is already on {self._first_lines[note.node.node_id]}")
        self._first_lines[note.node.node_id] = element.where
        return [note]

    def _note(self, element: _Element, own: dict[str, Any] | None) -> Note:
        fields: dict[str, Any] = self._given(element, _NOTE_DATA, own)
        fields["id"] = element.attributes["id"]
        if own is not None:
            # The label of an export stands for a title that is missing.
            fields["title"] = element.data.get("title", "")
            fields |= {"kind": "note", "aliases": own.get("aliases"), "metadata": own.get("metadata")}
            for name in ("title", "text"):
                if name in own and as_xml_holds_it(own[name]) == fields.get(name, ""):
                    fields[name] = own[name]
            tags = own.get("tags", [])
            fields["tags"] = tags if as_tags(tags) == fields.get("tags", "") else _parts_of(fields.get("tags", ""))
            fields["delete_time"] = own.get("deleted")
        else:
            fields["title"] = one_line(fields.get("title", "")) or ("" if fields.get("text") else fields["id"])
        found = item_of(element.where, fields)
        assert isinstance(found, Note)
        return found

    def _edge(self, element: _Element, own: dict[str, Any] | None) -> Link:
        given = self._given(element, _EDGE_DATA, own)
        fields: dict[str, Any] = {"kind": "edge"}
        fields["source_id"], fields["target_id"] = element.attributes["source"], element.attributes["target"]
        graph = next((each for each in reversed(self._elements) if each.kind == "graph"), None)
        default = graph is not None and graph.attributes.get("edgedefault") == "directed"
        fields["directed"] = element.attributes.get("directed", "true" if default else "false") == "true"
        if "weight" in given:
            fields["weight"] = float(given["weight"])
        if own is None:
            fields["type"] = (
                re.sub(r"[^a-z0-9]+", "_", given.get("type", "").lower()).lstrip("_0123456789")[:32].rstrip("_")
            )
        else:
            fields["type"] = given.get("type", "")
            flags = {key: element.data.get(name) == "true" for name, key in _FLAGS.items()}
            metadata = own.get("metadata", {})
            if metadata or any(flags.values()):
                fields["metadata"] = {**metadata, **flags}
        found = item_of(element.where, fields)
        assert isinstance(found, Link)
        return found

    def _given(
        self, element: _Element, wanted: dict[str, tuple[str, ...]], own: dict[str, Any] | None
    ) -> dict[str, str]:
        """The wanted data under our names; the names of other data are kept for a remark."""
        # A tool that writes how something looks has blanks around it; in an export they belong to the text.
        data = {name: value for name, value in element.data.items() if own is not None or value.strip()}
        found: dict[str, str] = {}
        for name, names in wanted.items():
            found |= next(({name: data[each]} for each in names if each in data), {})
        used = {each for names in wanted.values() for each in names} | {"brain2"}
        self._ignored |= data.keys() - used - (_REPEATED if own is not None else frozenset())
        return found


class _RefusedError(Exception):
    """Why nothing more of the file is read."""


def _own(text: str | None) -> dict[str, Any] | None:
    """The data `brain2`; None when there is none. ValueError when it is not as an export writes it."""
    if text is None:
        return None
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("the data brain2 is not as an export writes it")
    return found


def _parts_of(tags: str) -> list[str]:
    return [tag.strip() for tag in tags.split(",") if tag.strip()]


def _rejection(where: str, fields: dict[str, Any]) -> Rejection:
    found = item_of(where, {**fields, "kind": "rejection"})
    assert isinstance(found, Rejection)
    return found
