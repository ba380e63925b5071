"""What an export of Brain2 (clients/export/vault.py) keeps in a file for this import, in the property `brain2`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf import json_format

from clients.export.vault import as_a_file_holds_it, digest
from deploy.local.importer.items import stable_id
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2

PROPERTY = "brain2"
# Properties of an exported file that are no metadata of the note.
OWN_PROPERTIES = frozenset({PROPERTY, "links", "updated"})
# A link of the property `links`. Names of files hold none of these characters, but may hold any mark of Markdown.
_LISTED = re.compile(r"\[\[([^\[\]|#^]+)(?:\|([^\[\]|]*))?\]\]")


@dataclass(frozen=True)
class Kept:
    """The property of one note.

    edges: node_id of the other note -> what the links to it are; zero: their weight is 0, for each of these edges.
    rejected: (node_id of the other note, type). changed: the text of the file is not the one that was exported.
    """

    text: str
    changed: bool
    metadata: dict[str, str]
    edges: dict[str, list[graph_pb2.NewEdge]] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    untitled: bool = False
    deleted: bool = False


def read(fields: Mapping[str, object], body: str) -> Kept | None:
    """The property of a file, None when it has none. ValueError when it is not as an export writes it."""
    if PROPERTY not in fields:
        return None
    text = body.removeprefix("\n").removesuffix("\n")
    try:
        kept = json.loads(str(fields[PROPERTY]))
        metadata = json_format.ParseDict({"metadata": kept.get("metadata", {})}, node_pb2.NewNode()).metadata
        edges: dict[str, list[graph_pb2.NewEdge]] = {}
        for link in kept.get("links", ()):
            target = stable_id(str(link.pop("to")))
            edge = json_format.ParseDict({"target_id": target, **link}, graph_pb2.NewEdge(), ignore_unknown_fields=True)
            edges.setdefault(target, []).append(edge)
        rejected = [(stable_id(str(each["to"])), str(each.get("type", ""))) for each in kept.get("rejected", ())]
        whole = str(kept.get("text", ""))
        if whole and as_a_file_holds_it(whole) == text:
            text = whole
        return Kept(
            text,
            digest(as_a_file_holds_it(text)) != kept.get("digest"),
            dict(metadata),
            edges,
            rejected,
            untitled=kept.get("untitled") is True,
            deleted=kept.get("deleted") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, json_format.ParseError) as error:
        raise ValueError("the property brain2 is not as an export writes it: it is not used") from error


def listed(text: str) -> tuple[str, str] | None:
    """(name, label) of an entry of the property `links`; None when it is not a single wiki link."""
    found = _LISTED.fullmatch(text)
    return (found[1].strip(), found[2] or "") if found else None
