"""GraphML (http://graphml.graphdrawing.org), which Gephi, yEd, Cytoscape and networkx read."""

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from clients.export.records import Record, Records

_KEYS = (
    ("node", "title", "string"), ("node", "label", "string"), ("node", "tags", "string"), ("node", "created", "string"),
    ("node", "updated", "string"), ("node", "text", "string"), ("edge", "type", "string"), ("edge", "weight", "double"),
    ("edge", "automatic", "boolean"), ("edge", "confirmed", "boolean"), ("edge", "because", "string"),
)  # fmt: skip
# XML 1.0 can't hold these characters at all.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def lines(records: Records) -> Iterator[str]:
    """The lines of the file."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    for sort, name, type_ in _KEYS:
        yield f'  <key id="{sort}_{name}" for="{sort}" attr.name="{name}" attr.type="{type_}"/>'
    yield '  <graph id="brain2" edgedefault="undirected">'
    for note in records.notes():
        yield from _element("node", f"id={quoteattr(note['id'])}", _note(note))
    for edge in records.edges:
        ends = f"source={quoteattr(edge['source_id'])} target={quoteattr(edge['target_id'])}"
        directed = "true" if edge.get("directed") else "false"
        yield from _element("edge", f'{ends} directed="{directed}"', _edge(edge))
    yield "  </graph>"
    yield "</graphml>"


def _note(note: Record) -> dict[str, str]:
    label = note["title"] or note["text"][:60]
    tags = ", ".join(note["tags"])
    return {"title": note["title"], "label": label, "tags": tags, "created": note["created"],
            "updated": note["updated"], "text": note["text"]}  # fmt: skip


def _edge(edge: Record) -> dict[str, str]:
    metadata = edge.get("metadata", {})
    because = ", ".join(shared["keyword"] for shared in metadata.get("shared_keywords", ()))
    return {
        "type": edge.get("type", "related"),
        "weight": str(edge.get("weight", 0.0)),
        "automatic": str(bool(metadata.get("auto_generated"))).lower(),
        "confirmed": str(bool(metadata.get("confirmed"))).lower(),
        "because": because,
    }


def _element(sort: str, attributes: str, data: dict[str, str]) -> Iterator[str]:
    yield f"    <{sort} {attributes}>"
    for name, value in data.items():
        if value:
            yield f'      <data key="{sort}_{name}">{escape(_NOT_XML.sub(" ", value))}</data>'
    yield f"    </{sort}>"
