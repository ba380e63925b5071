"""Edges, visibility records and journal entries as items of Brain2-Main, and back.

Keys are those of protos/table.py. An edge is two items, one under each of its ends: both hold the whole
edge, so one Query returns a note's neighbours with all that a list shows. Attributes: w weight, src source
(directed edges only), auto, score, kw (JSON of [keyword, contribution] pairs), how (method), conf, labels, ver, ct and
ut (ms), rej (a suppressed edge, which no list shows).
"""

import json
from typing import Any

from protos import table
from services.graph_service.model.edge import Edge, EdgeKey, Keyword, Metadata, edge_key
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import Incidence, Invalidation, JournalEntry, VisibilityRecord
from shared.dynamo import Item, Key

# The attributes that an entry of a list needs.
NEIGHBOR_ATTRIBUTES = ("SK", "w", "src", "auto", "ct", "rej")
INCIDENCE_ATTRIBUTES = ("SK", "auto", "rej")


def edge_keys(user_id: str, key: EdgeKey) -> tuple[Key, Key]:
    """The keys of the two items of an edge; reads of a single edge use the first."""
    return table.edge_key(user_id, key.a, key.b, key.type), table.edge_key(user_id, key.b, key.a, key.type)


def edge_items(edge: Edge) -> tuple[Item, Item]:
    first, second = edge_keys(edge.user_id, edge.key)
    values: Item = {"w": edge.weight, "ver": edge.version, "ct": edge.create_ms, "ut": edge.update_ms}
    meta = edge.metadata
    optional: dict[str, Any] = {
        "src": edge.source if edge.directed else "",
        "auto": meta.auto,
        "score": meta.score,
        "kw": json.dumps(meta.keywords, separators=(",", ":"), ensure_ascii=False) if meta.keywords else "",
        "how": meta.method,
        "conf": meta.confirmed,
        "labels": dict(meta.labels),
        "rej": edge.suppressed,
    }
    values.update({name: value for name, value in optional.items() if value})
    return {"PK": first[0], "SK": first[1], **values}, {"PK": second[0], "SK": second[1], **values}


def edge_of(user_id: str, item: Item) -> Edge:
    node_id, other, type = table.edge_of(item["SK"])
    key = edge_key(node_id, other, type)
    source = item.get("src", "")
    metadata = Metadata(
        auto=item.get("auto", False),
        score=float(item.get("score", 0)),
        keywords=tuple(Keyword(word, float(part)) for word, part in json.loads(item.get("kw", "[]"))),
        method=item.get("how", ""),
        confirmed=item.get("conf", False),
        labels=item.get("labels", {}),
    )
    start = source or key.a
    return Edge(
        user_id,
        start,
        key.other(start),
        type,
        bool(source),
        float(item["w"]),
        metadata,
        item["ver"],
        item["ct"],
        item["ut"],
        is_suppressed(item),
    )


def is_suppressed(item: Item) -> bool:
    return bool(item.get("rej", False))


def neighbor_of(item: Item) -> Neighbor:
    node_id, other, type = table.edge_of(item["SK"])
    source = item.get("src")
    direction = Direction.BOTH if source is None else Direction.OUT if source == node_id else Direction.IN
    return Neighbor(other, float(item["w"]), type, direction, item.get("auto", False), item["ct"])


def incidence_of(item: Item) -> Incidence:
    node_id, other, _ = table.edge_of(item["SK"])
    return Incidence(node_id, other, item.get("auto", False))


def visibility_of(item: Item) -> VisibilityRecord:
    return VisibilityRecord(table.hidden_of(item["SK"]), item["v"], item["hid"], item.get("inc", 0))


def journal_item(entry: JournalEntry) -> Item:
    pk, sk = table.journal_key(entry.id)
    members = [list(pair) for pair in entry.invalidation.members]
    return {
        "PK": pk,
        "SK": sk,
        "user": entry.invalidation.user_id,
        "members": members,
        "feed": list(entry.invalidation.feed),
    }


def journal_of(item: Item) -> JournalEntry:
    members = tuple((node_id, member) for node_id, member in item["members"])
    return JournalEntry(item["SK"], Invalidation(item["user"], members, tuple(item["feed"])))
