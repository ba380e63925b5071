"""A note as bytes: for the cache and for kept answers.

The head (version, times, title) comes first and has a bounded length, so that a reader who needs no more asks Redis
for the first HEAD_BYTES only. Big-endian; lengths are bytes:
    B form=1, q version, q incarnation, q create, q update, q delete, q purge (-1: none), H title, I rest, B kind
    title (UTF-8), rest (JSON of tags, metadata, excerpt, content_bytes, cascade, fenced), content (UTF-8) if kind is 1
"""

import json
import struct

from services.node_service.model import MAX_TITLE_BYTES, Cascade, Node, Summary, Title
from shared.errors import DataLoss

_HEAD = struct.Struct(">BqqqqqqHIB")
_FORM = 1
HEAD_BYTES = _HEAD.size + MAX_TITLE_BYTES


def encode(note: Summary) -> bytes:
    """A Summary or a Node, without its owner and id: those are in the key."""
    title = note.title.encode()
    rest = json.dumps(
        [list(note.tags), dict(note.metadata), note.excerpt, note.content_bytes, note.cascade.value, note.fenced],
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()
    head = _HEAD.pack(
        _FORM,
        note.version,
        note.incarnation,
        note.create_ms,
        note.update_ms,
        -1 if note.delete_ms is None else note.delete_ms,
        -1 if note.purge_ms is None else note.purge_ms,
        len(title),
        len(rest),
        isinstance(note, Node),
    )
    content = note.content.encode() if isinstance(note, Node) else b""
    return b"".join((head, title, rest, content))


def decode_title(user_id: str, node_id: str, data: bytes) -> Title:
    """The Title of an encoded note from (at least) its first HEAD_BYTES. DataLoss when they are none."""
    try:
        form, version, incarnation, created, updated, deleted, purge, title_size, _, _ = _HEAD.unpack_from(data)
        title = data[_HEAD.size : _HEAD.size + title_size].decode()
    except (struct.error, UnicodeDecodeError):
        raise _unreadable(node_id) from None
    if form != _FORM:
        raise _unreadable(node_id)
    return Title(
        user_id=user_id,
        node_id=node_id,
        title=title,
        version=version,
        incarnation=incarnation,
        create_ms=created,
        update_ms=updated,
        delete_ms=None if deleted < 0 else deleted,
        purge_ms=None if purge < 0 else purge,
    )


def decode(user_id: str, node_id: str, data: bytes) -> Summary:
    """The Node (or the Summary, if only that was encoded). DataLoss when it can't be read."""
    known = decode_title(user_id, node_id, data)
    try:
        _, _, _, _, _, _, _, title_size, rest_size, full = _HEAD.unpack_from(data)
        start = _HEAD.size + title_size
        rest = json.loads(data[start : start + rest_size])
        tags, metadata, excerpt, content_bytes, cascade, fenced = rest
        content = data[start + rest_size :].decode()
    except (ValueError, TypeError):
        raise _unreadable(node_id) from None
    fields = {
        "user_id": user_id,
        "node_id": node_id,
        "title": known.title,
        "version": known.version,
        "incarnation": known.incarnation,
        "create_ms": known.create_ms,
        "update_ms": known.update_ms,
        "delete_ms": known.delete_ms,
        "purge_ms": known.purge_ms,
        "tags": tuple(tags),
        "metadata": metadata,
        "excerpt": excerpt,
        "content_bytes": content_bytes,
        "cascade": Cascade(cascade),
        "fenced": fenced,
    }
    return Node(**fields, content=content) if full else Summary(**fields)


def _unreadable(node_id: str) -> DataLoss:
    return DataLoss(f"a kept copy of the note {node_id} can't be read", reason="UNREADABLE_COPY")
