"""Maps the messages of protos/node/v1 to the model and back. Pure.

A value that has no place in the model (an invalid time, a garbled token) is InvalidArgument here.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from protos.node.v1 import events_pb2, node_pb2, storage_pb2
from services.node_service.model import (
    UPDATABLE_FIELDS,
    Cascade,
    Draft,
    Node,
    NodeEvent,
    NodeEventType,
    Revision,
    Summary,
    Title,
    UserSettings,
    View,
    text,
)
from shared import revisions
from shared.errors import Brain2Error, FieldViolation, InvalidArgument, invalid_request
from shared.grpc.status import CODES
from shared.grpc.validation import not_a_value
from shared.idempotent import IdempotentRequest

VIEWS: Mapping[int, View] = {
    node_pb2.NODE_VIEW_UNSPECIFIED: View.FULL,
    node_pb2.NODE_VIEW_TITLE: View.TITLE,
    node_pb2.NODE_VIEW_SUMMARY: View.SUMMARY,
    node_pb2.NODE_VIEW_FULL: View.FULL,
}
_CASCADES: Mapping[int, Cascade] = {
    node_pb2.CASCADE_UNSPECIFIED: Cascade.EDGES,
    node_pb2.CASCADE_EDGES: Cascade.EDGES,
    node_pb2.CASCADE_ORPHANS: Cascade.ORPHANS,
}
CASCADE_VALUES: Mapping[Cascade, node_pb2.Cascade] = {
    Cascade.EDGES: node_pb2.CASCADE_EDGES,
    Cascade.ORPHANS: node_pb2.CASCADE_ORPHANS,
}
_CODES: Mapping[str, int] = {kind: code.value[0] for kind, code in CODES.items()}
# The entry of a note's metadata that holds the path of the file from which the note was imported.
PATH = "path"
# 9999-12-31T23:59:59, the last second that a Timestamp may have.
_LAST_SECOND = 253_402_300_799
_FIRST_SECOND = -62_135_596_800


def node(known: Title, view: View = View.FULL) -> node_pb2.Node:
    """A note in a view; `known` must hold what the view shows."""
    if view is View.TITLE or not isinstance(known, Summary):
        names = _TITLE
    elif view is View.FULL and isinstance(known, Node):
        names = _NODE
    else:
        names = _SUMMARY
    message = node_pb2.Node(etag=known.etag, **{name: getattr(known, name) for name in names})
    for name, model_name in _TIMES.items():
        ms = getattr(known, model_name)
        if ms is not None:
            put_time(getattr(message, name), ms)
    return message


def stored(note: Summary) -> storage_pb2.StoredNode:
    """A Summary or a Node in the form that caches and receipts hold."""
    return storage_pb2.StoredNode(
        node=node(note),
        cascade=CASCADE_VALUES[note.cascade],
        fenced=note.fenced,
        with_content=isinstance(note, Node),
    )


def from_stored(message: storage_pb2.StoredNode) -> Summary:
    """The Summary or Node that stored() was called with."""
    values = _values(message.node, _SUMMARY) | {"cascade": cascade(message.cascade), "fenced": message.fenced}
    return Node(**values | text(message.node.content)) if message.with_content else Summary(**values)


def title(message: node_pb2.Node) -> Title:
    return Title(**_values(message, _TITLE))


def _values(message: node_pb2.Node, names: Sequence[str]) -> dict[str, Any]:
    """The arguments of a model class by their names."""
    values = {name: _READ[name](getattr(message, name)) for name in names}
    for name, model_name in _TIMES.items():
        values[model_name] = time(getattr(message, name), name) if message.HasField(name) else None
    return values


def _reader(field: Any) -> Callable[[Any], Any]:
    """What makes a value of the model from one of the message."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict
    return tuple if field.is_repeated else lambda value: value


# Fields of the message Node and of the model have the same names, but the time x_ms of the model is called x_time.
_FIELDS: Mapping[str, Any] = node_pb2.Node.DESCRIPTOR.fields_by_name
_READ = {name: _reader(field) for name, field in _FIELDS.items()}
_TIMES = {
    name: name.removesuffix("_time") + "_ms"
    for name, field in _FIELDS.items()
    if field.message_type is Timestamp.DESCRIPTOR
}
_TITLE, _SUMMARY = (tuple(each.name for each in fields(view) if each.name in _FIELDS) for view in (Title, Summary))
# The excerpt is for readers who don't get the content.
_NODE = (*(name for name in _SUMMARY if name != "excerpt"), "content")


def draft(message: node_pb2.NewNode) -> Draft:
    values = {name: _READ[name](getattr(message, name)) for name in ("node_id", *UPDATABLE_FIELDS)}
    return Draft(create_ms=_create_ms(message), **values)


def _create_ms(message: node_pb2.NewNode) -> int | None:
    if not message.HasField("create_time"):
        return None
    try:
        return time(message.create_time, "create_time")
    except InvalidArgument:
        return -1  # no valid time: validation refuses it, for this note alone


def idempotent_request(method: str, message: Any) -> IdempotentRequest | None:
    """IdempotentRequest.of() without its checks: the use cases report wrong ids together with all other faults."""
    if not message.request_id:
        return None
    body = message.SerializeToString(deterministic=True)
    fingerprint = hashlib.sha256(method.encode() + b"\0" + body).hexdigest()[:32]
    return IdempotentRequest(message.user_id, message.request_id, fingerprint)


def cascade(value: int) -> Cascade:
    if value not in _CASCADES:
        raise _refused("cascade", not_a_value(node_pb2.Cascade.DESCRIPTOR, value))
    return _CASCADES[value]


def view(value: int) -> View:
    if value not in VIEWS:
        raise _refused("view", not_a_value(node_pb2.NodeView.DESCRIPTOR, value))
    return VIEWS[value]


def put_time(message: Timestamp, ms: int) -> None:
    message.seconds, rest = divmod(ms, 1000)
    message.nanos = rest * 1_000_000


def time(message: Timestamp, field: str, *, up: bool = False) -> int:
    """Milliseconds. Smaller parts are cut off; with `up`, for a bound that times are compared with, rounded up."""
    if not (_FIRST_SECOND <= message.seconds <= _LAST_SECOND and 0 <= message.nanos < 1_000_000_000):
        given = f"has {message.seconds:,} seconds and {message.nanos:,} nanos"
        seconds = f"{_FIRST_SECOND:,} to {_LAST_SECOND:,} seconds since 1970-01-01"
        raise _refused(field, f"{given}, must have {seconds} and 0 to 999,999,999 nanos")
    return message.seconds * 1000 + (message.nanos + (999_999 if up else 0)) // 1_000_000


def token(*notes: Title) -> str:
    """The consistency token of a write: the revisions that a reader must see."""
    return revisions.encode({each.node_id: (each.incarnation, each.version) for each in notes})


def seen(value: str) -> Mapping[str, Revision]:
    """The revisions of a consistency token by node id; none for "". InvalidArgument (CONSISTENCY_TOKEN_INVALID)."""
    return revisions.decode(value)


def bound(request: node_pb2.ListNodesRequest, field: str) -> int | None:
    """start_time or end_time of a list; None when it isn't given."""
    return time(getattr(request, field), field, up=True) if request.HasField(field) else None


def batch_answer(results: Sequence[Summary | Brain2Error]) -> bytes:
    """BatchCreateNodesResponse. Its token has no revisions: no read ever finds in a cache that a note is missing."""
    response = node_pb2.BatchCreateNodesResponse(consistency_token=token())
    for result in results:
        one = response.results.add()
        if isinstance(result, Brain2Error):
            one.code = _CODES[result.kind]
            one.reason = result.reason
            one.message = result.message
        else:
            one.node.CopyFrom(node(result, View.SUMMARY))
    return response.SerializeToString()


def batch_part(known: Title, view: View) -> bytes:
    """A BatchGetNodesResponse of one note."""
    return node_pb2.BatchGetNodesResponse(nodes=[node(known, view)]).SerializeToString()


def deletion(known: Summary) -> node_pb2.DeleteNodeResponse:
    response = node_pb2.DeleteNodeResponse(
        node_id=known.node_id, version=known.version, etag=known.etag, consistency_token=token(known)
    )
    put_time(response.delete_time, known.delete_ms or 0)
    put_time(response.purge_time, known.purge_ms or 0)
    return response


def fenced(known: Node | None) -> node_pb2.PurgeNodeResponse:
    if known is None:
        return node_pb2.PurgeNodeResponse(already_purged=True)
    return node_pb2.PurgeNodeResponse(node=node(known), cascade=CASCADE_VALUES[known.cascade])


def settings(known: UserSettings) -> node_pb2.UserSettings:
    return node_pb2.UserSettings(retention=Duration(seconds=known.retention_seconds))


def retention(message: node_pb2.UserSettings) -> float | None:
    """Seconds; None when it isn't given."""
    if not message.HasField("retention"):
        return None
    return message.retention.seconds + message.retention.nanos / 1e9


def event_data(event: NodeEvent, *, with_content: bool) -> dict[str, Any]:
    """The `data` of an event's envelope: its message of events.proto as JSON, with the field names of the .proto."""
    return json_format.MessageToDict(event_message(event, with_content=with_content), preserving_proto_field_name=True)


def event_message(event: NodeEvent, *, with_content: bool) -> Message:
    known = event.node
    message: Any = _EVENTS[event.event_type]()
    message.incarnation = known.incarnation
    if event.event_type is NodeEventType.DELETED:
        put_time(message.delete_time, known.delete_ms or event.time_ms)
        put_time(message.purge_time, known.purge_ms or event.time_ms)
        message.cascade = CASCADE_VALUES[known.cascade]
        return message  # type: ignore[no-any-return]
    if event.event_type is NodeEventType.PURGED:
        put_time(message.purge_time, event.time_ms)
        return message  # type: ignore[no-any-return]
    message.title = known.title
    message.tags.extend(known.tags)
    message.aliases.extend(known.aliases)
    message.path = known.metadata.get(PATH, "")
    message.metadata.update(known.metadata)
    put_time(message.create_time, known.create_ms)
    put_time(message.update_time, known.update_ms)
    if with_content and isinstance(known, Node):
        message.content = known.content
    else:
        message.content_omitted = True
    if event.event_type is NodeEventType.UPDATED:
        message.changed.extend(event.changed)
    return message  # type: ignore[no-any-return]


_EVENTS: Mapping[NodeEventType, type[Message]] = {
    NodeEventType.CREATED: events_pb2.NodeCreated,
    NodeEventType.UPDATED: events_pb2.NodeUpdated,
    NodeEventType.DELETED: events_pb2.NodeDeleted,
    NodeEventType.RESTORED: events_pb2.NodeRestored,
    NodeEventType.PURGED: events_pb2.NodePurged,
}


def _refused(field: str, why: str) -> InvalidArgument:
    return invalid_request([FieldViolation(field, why)])
