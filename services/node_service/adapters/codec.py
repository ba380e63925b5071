"""A note as bytes, for the cache and for receipts.

    B form = 2, H size of the head in bytes, head, rest (big-endian)

Head and rest are messages StoredNode (protos/node/v1/storage.proto): the head has the fields of a Title, the rest all
others. Protobuf reads the two together as one message. A reader that needs the Title alone asks Redis for the first
HEAD_BYTES. Fields that a newer release has added are ignored.
"""

import struct

from google.protobuf.message import DecodeError

from protos.node.v1 import storage_pb2
from services.node_service import convert
from services.node_service.adapters import positional
from services.node_service.model import Summary, Title, View
from shared.errors import DataLoss, InvalidArgument

_PREFIX = struct.Struct(">BH")
_FORM = 2
# The largest head of today has about 850 bytes: the longest title, ids and numbers.
HEAD_BYTES = _PREFIX.size + 1024


def encode(note: Summary) -> bytes:
    """A Summary or a Node."""
    message = convert.stored(note)
    head = storage_pb2.StoredNode(node=convert.node(note, View.TITLE))
    for field, _ in head.node.ListFields():
        message.node.ClearField(field.name)
    first = head.SerializeToString()
    return b"".join((_PREFIX.pack(_FORM, len(first)), first, message.SerializeToString()))


def decode(data: bytes) -> Summary:
    """The Node, or the Summary if that was encoded. Raises DataLoss when the bytes can't be read."""
    _head_size(data)
    try:
        return convert.from_stored(_parse(data[_PREFIX.size :]))
    except InvalidArgument as error:
        raise _unreadable() from error


def decode_title(data: bytes) -> Title:
    """The Title, from at least the first HEAD_BYTES. Raises DataLoss when the bytes can't be read."""
    end = _PREFIX.size + _head_size(data)
    if end > len(data):
        raise _unreadable()
    return convert.title(_parse(data[_PREFIX.size : end]).node)


def decode_receipt(user_id: str, data: bytes) -> Summary:
    """The answer in a receipt of this release or of an older one. Raises DataLoss when the bytes can't be read."""
    return decode(data) if data[:1] == bytes([_FORM]) else positional.decode_receipt(user_id, data)


def _head_size(data: bytes) -> int:
    if len(data) < _PREFIX.size or data[0] != _FORM:
        raise _unreadable()
    size: int = _PREFIX.unpack_from(data)[1]
    return size


def _parse(data: bytes) -> storage_pb2.StoredNode:
    try:
        message = storage_pb2.StoredNode.FromString(data)
    except DecodeError as error:
        raise _unreadable() from error
    if not message.node.version:
        raise _unreadable()
    return message


def _unreadable() -> DataLoss:
    return DataLoss("a stored copy of a note can't be read", reason="UNREADABLE_COPY")
