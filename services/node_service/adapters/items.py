"""A note as items of the table: its state in NODE#n, and its content in the same item or in BODY#n (docs/adr/0015).

The content is in NODE#n when that costs no further write unit, as it does for notes of up to about 1 KB. Otherwise
BODY#n has it, with the incarnation and the version of the write that put it there; NODE#n names that version in
content_version. Both are written in one transaction, so a reader that finds another version in BODY#n has read the two
at different times, and reads again.
"""

import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from protos.table import (
    DELETION_QUEUE,
    INDEXES,
    USER_TIME_INDEX,
    body_key,
    deleted_partition,
    deletion_shard,
    due_sort_key,
    node_key,
    node_of,
    node_time_sort_key,
    user_of,
    user_partition,
)
from services.node_service.model import Cascade, Node, Summary
from shared.dynamo import Item
from shared.dynamo.size import item_bytes, write_units
from shared.errors import DataLoss

# Contents up to this many bytes are stored as they are: compressing them saves next to nothing.
_PLAIN_BYTES = 512
# Level 1 is four times as fast as the default, and makes text about a tenth larger.
_ZLIB_LEVEL = 1

# The attribute of each field of a note: it has the same name, but the time x_ms is called x_time.
ATTRIBUTES = {
    each.name: each.name.removesuffix("_ms") + "_time" if each.name.endswith("_ms") else each.name
    for each in fields(Node)
    if each.name != "user_id"
}
# Where the content is: itself, itself compressed, or the version of BODY#n that has it. An item has one of them.
_CONTENT, _ZIPPED, _VERSION = CONTENT_ATTRIBUTES = ("content", "content_zip", "content_version")
SUMMARY_ATTRIBUTES = ("PK", "SK", *(name for name in ATTRIBUTES.values() if name != _CONTENT))
# The attributes of the index keys: of a live note, and of a deleted one.
_LIVE_KEY, _DELETED_KEY = INDEXES[USER_TIME_INDEX], INDEXES[DELETION_QUEUE]
# What changes when a note is deleted, fenced or restored.
_STATE_FIELDS = ("delete_ms", "purge_ms", "cascade", "fenced")
STATE_ATTRIBUTES = (*_LIVE_KEY, *_DELETED_KEY, *(ATTRIBUTES[name] for name in _STATE_FIELDS))


def state_item(note: Summary) -> Item:
    """NODE#n without the content and without content_version."""
    partition, sort = node_key(note.user_id, note.node_id)
    skipped = {*_STATE_FIELDS, *CONTENT_ATTRIBUTES}
    values = {name: getattr(note, name) for name in ATTRIBUTES if name not in skipped}
    item = {ATTRIBUTES[name]: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {"PK": partition, "SK": sort} | item | state(note)


def state(note: Summary) -> Item:
    """The attributes of STATE_ATTRIBUTES that the item of the note has; the others are absent."""
    if note.delete_ms is None or note.purge_ms is None:
        live = user_partition(note.user_id), node_time_sort_key(note.create_ms, note.node_id)
        return dict(zip(_LIVE_KEY, live, strict=True))
    deleted = (
        deleted_partition(deletion_shard(note.user_id, note.node_id)),
        due_sort_key(note.purge_ms, note.user_id, note.node_id),
    )
    found: Item = {
        **dict(zip(_DELETED_KEY, deleted, strict=True)),
        "delete_time": note.delete_ms,
        "purge_time": note.purge_ms,
        "cascade": note.cascade.value,
    }
    return found | ({"fenced": True} if note.fenced else {})


def pack(content: str) -> Item:
    """The attribute that holds a content: compressed where that is smaller."""
    encoded = content.encode()
    if len(encoded) > _PLAIN_BYTES:
        packed = zlib.compress(encoded, _ZLIB_LEVEL)
        if len(packed) < len(encoded):
            return {_ZIPPED: packed}
    return {_CONTENT: content}


def whole_items(node: Node, packed: Item | None = None) -> tuple[Item, Item | None]:
    """NODE#n, and BODY#n or None when NODE#n has the content.

    packed: what pack() made of the content.
    """
    item = state_item(node)
    content = pack(node.content) if packed is None else packed
    size = item_bytes(item)
    if write_units(size + item_bytes(content)) == write_units(size):
        return item | content, None
    return item | {_VERSION: node.version}, body_item(node, node.version, content)


def body_item(note: Summary, version: int, content: Item) -> Item:
    """BODY#n. version: of the write that puts it; content: what pack() made."""
    partition, sort = body_key(note.user_id, note.node_id)
    return {"PK": partition, "SK": sort, "incarnation": note.incarnation, "version": version} | content


def to_summary(item: Mapping[str, Any]) -> Summary:
    """From NODE#n, or from the attributes that UserTimeIndex has of it."""
    return Summary(**_values(item))


def to_node(item: Mapping[str, Any], body: Mapping[str, Any] | None = None) -> Node | None:
    """The note of NODE#n and, if the content is there, BODY#n; None when that is absent or of another version."""
    if _VERSION not in item:
        return Node(**_values(item), content=_content(item))
    if body is None or (body["incarnation"], body["version"]) != (item["incarnation"], item[_VERSION]):
        return None
    return Node(**_values(item), content=_content(body))


def has_body(item: Mapping[str, Any]) -> bool:
    """Whether the content of this NODE#n is in BODY#n."""
    return _VERSION in item


def _content(item: Mapping[str, Any]) -> str:
    try:
        if _ZIPPED in item:
            return zlib.decompress(bytes(item[_ZIPPED])).decode()
        return str(item[_CONTENT])
    except (KeyError, ValueError, zlib.error) as error:
        raise DataLoss(f"the content of {item['SK']} can't be read", reason="UNREADABLE_CONTENT") from error


def _values(item: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Summary. A field whose attribute is absent has its default."""
    values = {
        name: tuple(value) if isinstance(value := item[attribute], list) else value
        for name, attribute in ATTRIBUTES.items()
        if attribute in item and name != _CONTENT
    }
    if "cascade" in values:
        values["cascade"] = Cascade(values["cascade"])
    return values | {"user_id": user_of(item["PK"]), "node_id": node_of(item["SK"])}
