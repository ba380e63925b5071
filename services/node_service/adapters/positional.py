"""Reads the receipts that releases before StoredNode (protos/node/v1/storage.proto) wrote.

A receipt expires after 24 hours. This module can be removed once every deployment has had the newer form for a day.
    node_id, newline, B form = 1, q version, q incarnation, q create, q update, q delete, q purge (ms; -1: none),
    H size of the title, I size of the rest, B whether there is a content,
    title, rest (JSON list of tags, metadata, excerpt, content_bytes, cascade, fenced), content (big-endian, UTF-8)
"""

import json
import struct

from services.node_service.model import Cascade, Node, Summary
from shared.errors import DataLoss

_HEAD = struct.Struct(">BqqqqqqHIB")


def decode_receipt(user_id: str, data: bytes) -> Summary:
    """The Node, or the Summary if that was the answer. Raises DataLoss when the bytes can't be read."""
    try:
        node_id, _, note = data.partition(b"\n")
        form, version, incarnation, created, updated, deleted, purge, title_size, rest_size, whole = _HEAD.unpack_from(
            note
        )
        start = _HEAD.size + title_size
        tags, metadata, excerpt, content_bytes, cascade, fenced = json.loads(note[start : start + rest_size])
        values = {
            "user_id": user_id,
            "node_id": node_id.decode(),
            "title": note[_HEAD.size : start].decode(),
            "version": version,
            "incarnation": incarnation,
            "create_ms": created,
            "update_ms": updated,
            "delete_ms": None if deleted < 0 else deleted,
            "purge_ms": None if purge < 0 else purge,
            "tags": tuple(tags),
            "metadata": metadata,
            "excerpt": excerpt,
            "content_bytes": content_bytes,
            "cascade": Cascade(cascade),
            "fenced": fenced,
        }
        content = note[start + rest_size :].decode()
    except (struct.error, ValueError, TypeError):
        raise DataLoss("the stored answer to a request can't be read", reason="UNREADABLE_COPY") from None
    if form != 1:
        raise DataLoss("the stored answer to a request has an unknown form", reason="UNREADABLE_COPY")
    return Node(**values, content=content) if whole else Summary(**values)
