"""GraphML (http://graphml.graphdrawing.org), which Gephi, yEd, Cytoscape and networkx read.

What other tools can use stands in data of its own; what they can't express is a text of JSON in the data `brain2`, from
which an import gives the same notes and links. Of what a person has changed in the other data, it follows the person.

- of a note: tags, aliases, metadata; deleted: true; title and text, where XML can't hold them as they are
- of a link: metadata, which has labels, score and reasons
- of the graph: rejected, the automatic links that the user has rejected: source_id, target_id, type
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from clients.export.records import Record, Records

_KEYS = (
    ("node", "title", "string"), ("node", "label", "string"), ("node", "tags", "string"), ("node", "created", "string"),
    ("node", "updated", "string"), ("node", "text", "string"), ("node", "brain2", "string"),
    ("edge", "type", "string"), ("edge", "weight", "double"), ("edge", "automatic", "boolean"),
    ("edge", "confirmed", "boolean"), ("edge", "because", "string"), ("edge", "brain2", "string"),
    ("graph", "brain2", "string"),
)  # fmt: skip
# XML 1.0 can't hold these characters at all.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
# A parser turns the ends of lines of other systems into \n, unless they are escaped.
_ESCAPED = {"\r": "&#13;"}


def lines(records: Records) -> Iterator[str]:
    """The lines of the file."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    for sort, name, type_ in _KEYS:
        yield f'  <key id="{sort}_{name}" for="{sort}" attr.name="{name}" attr.type="{type_}"/>'
    yield '  <graph id="brain2" edgedefault="undirected">'
    rejected = [{name: each[name] for name in ("source_id", "target_id", "type")} for each in records.rejections]
    yield f"    {_data('graph', 'brain2', _json({'rejected': rejected}))}"
    for note in records.notes():
        yield from _element("node", f"id={quoteattr(note['id'])}", _note(note))
    for edge in records.edges:
        ends = f"source={quoteattr(edge['source_id'])} target={quoteattr(edge['target_id'])}"
        directed = "true" if edge.get("directed") else "false"
        yield from _element("edge", f'{ends} directed="{directed}"', _edge(edge))
    yield "  </graph>"
    yield "</graphml>"


def as_xml_holds_it(text: str) -> str:
    """A text with a space for each character that XML can't hold."""
    return _NOT_XML.sub(" ", text)


def as_tags(tags: list[str]) -> str:
    """Tags as one text. A tag may have a comma of its own, so the way back is not unique."""
    return ", ".join(tags)


def _note(note: Record) -> dict[str, str]:
    own = {name: note[name] for name in ("tags", "aliases", "metadata") if note.get(name)}
    own |= {name: note[name] for name in ("title", "text") if as_xml_holds_it(note[name]) != note[name]}
    if "delete_time" in note:
        own["deleted"] = True
    return {
        "title": note["title"],
        "label": note["title"] or note["text"][:60],
        "tags": as_tags(note["tags"]),
        "created": note["created"],
        "updated": note["updated"],
        "text": note["text"],
        "brain2": _json(own),
    }


def _edge(edge: Record) -> dict[str, str]:
    metadata = edge.get("metadata", {})
    because = ", ".join(shared["keyword"] for shared in metadata.get("shared_keywords", ()))
    return {
        "type": edge.get("type", "related"),
        "weight": str(edge.get("weight", 0.0)),
        "automatic": str(bool(metadata.get("auto_generated"))).lower(),
        "confirmed": str(bool(metadata.get("confirmed"))).lower(),
        "because": because,
        "brain2": _json({"metadata": metadata} if metadata else {}),
    }


def _json(value: Mapping[str, Any]) -> str:
    # In ASCII, so that XML can hold every character.
    return json.dumps(value)


def _element(sort: str, attributes: str, data: Mapping[str, str]) -> Iterator[str]:
    yield f"    <{sort} {attributes}>"
    for name, value in data.items():
        if value:
            yield f"      {_data(sort, name, value)}"
    yield f"    </{sort}>"


def _data(sort: str, name: str, value: str) -> str:
    return f'<data key="{sort}_{name}">{escape(as_xml_holds_it(value), _ESCAPED)}</data>'
