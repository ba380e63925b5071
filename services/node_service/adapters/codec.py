"""A note as bytes, for the cache and for receipts.

    B form = 3, H size of the head in bytes, I size of head and rest, head, rest, content (big-endian)

Head, rest and content are messages StoredNode (protos/node/v1/storage.proto): the head has the fields of a Title, the
rest the others of a Summary, and the last one the content, if there is one. Protobuf reads them together as one
message. A reader that needs the Title alone asks Redis for the first HEAD_BYTES, and one that needs the Summary for
all before the content. Fields that a newer release has added are ignored.

Receipts have form 2, which has no size of head and rest, because a replica of an earlier release may have to read them.
"""

import struct

from google.protobuf.message import DecodeError

from protos.node.v1 import storage_pb2
from services.node_service import convert
from services.node_service.adapters import positional
from services.node_service.model import Node, Summary, Title, View
from shared.errors import DataLoss, InvalidArgument

_PREFIX = struct.Struct(">BHI")
_FORM = 3
_RECEIPT_PREFIX = struct.Struct(">BH")
_RECEIPT_FORM = 2
_FORMS = (bytes([_RECEIPT_FORM]), bytes([_FORM]))
PREFIX_BYTES = _PREFIX.size
# The largest head of today has about 850 bytes: the longest title, ids and numbers.
HEAD_BYTES = PREFIX_BYTES + 1024


def encode(note: Summary) -> bytes:
    """A Summary or a Node, for the cache."""
    head = _head(note)
    rest = _rest(note.summary() if isinstance(note, Node) else note, head)
    content = b""
    if isinstance(note, Node):
        last = storage_pb2.StoredNode(with_content=True)
        last.node.content = note.content
        content = last.SerializeToString()
    first = head.SerializeToString()
    return b"".join((_PREFIX.pack(_FORM, len(first), len(first) + len(rest)), first, rest, content))


def encode_receipt(note: Summary) -> bytes:
    """A Summary or a Node, for a receipt."""
    head = _head(note)
    first = head.SerializeToString()
    return b"".join((_RECEIPT_PREFIX.pack(_RECEIPT_FORM, len(first)), first, _rest(note, head)))


def decode(data: bytes) -> Summary:
    """The Node, or the Summary if that was encoded. Raises DataLoss when the bytes can't be read."""
    prefix, _, _ = _sizes(data)
    return _summary(data[prefix:])


def decode_summary(data: bytes) -> Summary:
    """At least the Summary, from all bytes before the content. Raises DataLoss when the bytes can't be read."""
    prefix, _, size = _sizes(data)
    if prefix + size > len(data):
        raise _unreadable()
    return _summary(data[prefix : prefix + size])


def decode_title(data: bytes) -> Title:
    """The Title, from at least the first HEAD_BYTES. Raises DataLoss when the bytes can't be read."""
    prefix, head, _ = _sizes(data)
    if prefix + head > len(data):
        raise _unreadable()
    return convert.title(_parse(data[prefix : prefix + head]).node)


def decode_receipt(user_id: str, data: bytes) -> Summary:
    """The answer in a receipt of this release or of an older one. Raises DataLoss when the bytes can't be read."""
    return decode(data) if data[:1] in _FORMS else positional.decode_receipt(user_id, data)


def _head(note: Summary) -> storage_pb2.StoredNode:
    return storage_pb2.StoredNode(node=convert.node(note, View.TITLE))


def _rest(note: Summary, head: storage_pb2.StoredNode) -> bytes:
    message = convert.stored(note)
    for field, _ in head.node.ListFields():
        message.node.ClearField(field.name)
    return message.SerializeToString()


def _sizes(data: bytes) -> tuple[int, int, int]:
    """Of the prefix, of the head, and of head and rest; in form 2 the rest has the content, too."""
    if data[:1] == bytes([_FORM]) and len(data) >= _PREFIX.size:
        _, head, summary = _PREFIX.unpack_from(data)
        return _PREFIX.size, head, summary
    if data[:1] == bytes([_RECEIPT_FORM]) and len(data) >= _RECEIPT_PREFIX.size:
        _, head = _RECEIPT_PREFIX.unpack_from(data)
        return _RECEIPT_PREFIX.size, head, len(data) - _RECEIPT_PREFIX.size
    raise _unreadable()


def _summary(data: bytes) -> Summary:
    try:
        return convert.from_stored(_parse(data))
    except InvalidArgument as error:
        raise _unreadable() from error


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
