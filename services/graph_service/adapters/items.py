"""Edges, visibility records and journal entries as items of Brain2-Main, and back.

USER#u / EDGE#a#b (type "related") or EDGE#a#b#type, and the same with the ends swapped: both hold the whole
edge, so one Query at EDGE#a# returns a's neighbours with all that a list shows. Attributes: w weight, src source
(directed edges only), auto, score, kw (JSON of [keyword, contribution] pairs), how (method), conf, labels, ver, ct and
ut (ms).
"""

import json
from typing import Any

from services.graph_service.model.edge import RELATED, Edge, EdgeKey, Keyword, Metadata, edge_key
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import Incidence, Invalidation, JournalEntry, VisibilityRecord
from shared.dynamo import Item, Key

# The attributes that an entry of a list needs.
NEIGHBOR_ATTRIBUTES = ("SK", "w", "src", "auto", "ct")
INCIDENCE_ATTRIBUTES = ("SK", "auto")
EDGES = "EDGE#"
HIDDEN = "GRAPH#HIDDEN#"
JOURNAL_SHARDS = 4


def partition(user_id: str) -> str:
    return f"USER#{user_id}"


def edge_sort_key(node_id: str, other: str, type: str) -> str:
    return f"EDGE#{node_id}#{other}" if type == RELATED else f"EDGE#{node_id}#{other}#{type}"


def edge_keys(user_id: str, key: EdgeKey) -> tuple[Key, Key]:
    """The keys of the two items of an edge; reads of a single edge use the first."""
    pk = partition(user_id)
    return (pk, edge_sort_key(key.a, key.b, key.type)), (pk, edge_sort_key(key.b, key.a, key.type))


def split_sort_key(sort_key: str) -> tuple[str, str, str]:
    """(note, other, type)"""
    parts = sort_key.split("#")
    return parts[1], parts[2], parts[3] if len(parts) > 3 else RELATED


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
    }
    values.update({name: value for name, value in optional.items() if value})
    return {"PK": first[0], "SK": first[1], **values}, {"PK": second[0], "SK": second[1], **values}


def edge_of(user_id: str, item: Item) -> Edge:
    node_id, other, type = split_sort_key(item["SK"])
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
    )


def neighbor_of(item: Item) -> Neighbor:
    node_id, other, type = split_sort_key(item["SK"])
    source = item.get("src")
    direction = Direction.BOTH if source is None else Direction.OUT if source == node_id else Direction.IN
    return Neighbor(other, float(item["w"]), type, direction, item.get("auto", False), item["ct"])


def incidence_of(item: Item) -> Incidence:
    node_id, other, _ = split_sort_key(item["SK"])
    return Incidence(node_id, other, item.get("auto", False))


def suppressed_key(user_id: str, key: EdgeKey) -> Key:
    tail = "" if key.type == RELATED else f"#{key.type}"
    return partition(user_id), f"GRAPH#SUPPRESSED#{key.a}#{key.b}{tail}"


def visibility_key(user_id: str, node_id: str) -> Key:
    return partition(user_id), HIDDEN + node_id


def visibility_of(item: Item) -> VisibilityRecord:
    return VisibilityRecord(item["SK"][len(HIDDEN) :], item["v"], item["hid"], item.get("inc", 0))


def journal_key(entry: JournalEntry) -> Key:
    # The journal has shards because every write adds an entry while Redis is away.
    return f"GRAPH#JOURNAL#{sum(entry.id.encode()) % JOURNAL_SHARDS}", entry.id


def journal_item(entry: JournalEntry) -> Item:
    pk, sk = journal_key(entry)
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
