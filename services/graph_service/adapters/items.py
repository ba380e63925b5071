"""Edges, markers and journal entries as items of Brain2-Main, and back.

USER#u / EDGE#a#b (type "related") or EDGE#a#b#type, and the same with the ends swapped: both carry the whole edge, so
that one Query at EDGE#a# lists a's neighbours with all that a list shows. Attributes: w weight, src source (directed
edges only), auto, score, kw (JSON of [keyword, contribution] pairs), how (method), conf, labels, ver, ct and ut (ms).
"""

import json
from typing import Any

from services.graph_service.model.edge import RELATED, Edge, EdgeKey, Keyword, Metadata, edge_key
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import Incidence, Journal, Marker, Touched
from shared.dynamo import Item, Key

# All that an entry of a list needs: the rest of an edge stays in DynamoDB.
NEIGHBOR_ATTRIBUTES = ("SK", "w", "src", "auto", "ct")
INCIDENCE_ATTRIBUTES = ("SK", "auto")
EDGES = "EDGE#"
HIDDEN = "GRAPH#HIDDEN#"
JOURNAL_SHARDS = 4


def partition(user: str) -> str:
    return f"USER#{user}"


def edge_sort_key(note: str, other: str, type: str) -> str:
    return f"EDGE#{note}#{other}" if type == RELATED else f"EDGE#{note}#{other}#{type}"


def edge_keys(user: str, key: EdgeKey) -> tuple[Key, Key]:
    """Of the two items of an edge; the first is the one that reads of a single edge use."""
    pk = partition(user)
    return (pk, edge_sort_key(key.a, key.b, key.type)), (pk, edge_sort_key(key.b, key.a, key.type))


def split_sort_key(sort_key: str) -> tuple[str, str, str]:
    """(note, other, type)"""
    parts = sort_key.split("#")
    return parts[1], parts[2], parts[3] if len(parts) > 3 else RELATED


def edge_items(edge: Edge) -> tuple[Item, Item]:
    first, second = edge_keys(edge.user, edge.key)
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


def edge_of(user: str, item: Item) -> Edge:
    note, other, type = split_sort_key(item["SK"])
    key = edge_key(note, other, type)
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
        user,
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
    note, other, type = split_sort_key(item["SK"])
    source = item.get("src")
    direction = Direction.BOTH if source is None else Direction.OUT if source == note else Direction.IN
    return Neighbor(other, float(item["w"]), type, direction, item.get("auto", False), item["ct"])


def incidence_of(item: Item) -> Incidence:
    note, other, _ = split_sort_key(item["SK"])
    return Incidence(note, other, item.get("auto", False))


def suppressed_key(user: str, key: EdgeKey) -> Key:
    tail = "" if key.type == RELATED else f"#{key.type}"
    return partition(user), f"GRAPH#SUPPRESSED#{key.a}#{key.b}{tail}"


def marker_key(user: str, note: str) -> Key:
    return partition(user), HIDDEN + note


def marker_of(item: Item) -> Marker:
    return Marker(item["SK"][len(HIDDEN) :], item["v"], item["hid"], item.get("inc", 0))


def journal_key(entry: Journal) -> Key:
    # Shards, because while Redis is away every write puts an entry here.
    return f"GRAPH#JOURNAL#{sum(entry.id.encode()) % JOURNAL_SHARDS}", entry.id


def journal_item(entry: Journal) -> Item:
    pk, sk = journal_key(entry)
    members = [list(pair) for pair in entry.touched.members]
    return {"PK": pk, "SK": sk, "user": entry.touched.user, "members": members, "feed": list(entry.touched.feed)}


def journal_of(item: Item) -> Journal:
    members = tuple((note, member) for note, member in item["members"])
    return Journal(item["SK"], Touched(item["user"], members, tuple(item["feed"])))
