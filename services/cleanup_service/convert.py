"""Between the messages of protos/ and the model, and the records of archives and exports. Pure.

A record is one JSON object: {"kind": "note", "id", "title", "text", "tags", "metadata", "created", ...} or {"kind":
"edge", "source_id", "target_id", "type", "directed", "weight", "metadata", ...} with the names of brain2.graph.v1, or
{"kind": "rejection", "source_id", "target_id", "type"} for an automatic link that a person has rejected. The importer
(python -m deploy.local import) reads these lines.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from protos.cleanup.v1 import cleanup_pb2, events_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import events_pb2 as node_events_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.cleanup_service.model.erasure import Erasure
from services.cleanup_service.model.findings import Finding, ReconcileReport
from services.cleanup_service.model.saga import Cascade, Deletion, Restore, Saga, State, Step
from services.cleanup_service.ports import END_OF_TIME_MS, Record, TimeRange
from shared.errors import InvalidArgument, Violations
from shared.events.envelope import Event
from shared.grpc.validation import not_a_value
from shared.tokens import PAGE, Text, TokenCodec

M = TypeVar("M", bound=Message)
_LINES_BYTES = 2 * 1024 * 1024

_STATES: Mapping[State, cleanup_pb2.DeletionState] = {
    state: getattr(cleanup_pb2, f"DELETION_STATE_{state}") for state in State
}
_STEPS: Mapping[Step, cleanup_pb2.DeletionStep] = {step: getattr(cleanup_pb2, f"DELETION_STEP_{step}") for step in Step}
_STATE_OF: Mapping[int, State] = {number: state for state, number in _STATES.items()}


def deletion(saga: Saga) -> cleanup_pb2.Deletion:
    message = cleanup_pb2.Deletion(
        user_id=saga.user_id,
        node_id=saga.node_id,
        version=saga.version,
        state=_STATES[saga.state],
        step=_STEPS[saga.step],
        delete_time=timestamp(saga.delete_ms),
        purge_time=timestamp(saga.purge_ms),
        update_time=timestamp(saga.update_ms),
        attempts=saga.attempts,
        error=saga.error,
        archive_uri=saga.archive_uri,
        removed_edges=saga.removed_edges,
    )
    for entry in saga.history:
        message.history.add(
            time=timestamp(entry.time_ms), state=_STATES[entry.state], step=_STEPS[entry.step], message=entry.message
        )
    return message


def state(value: int) -> State | None:
    """The state of a request, None for any. Raises InvalidArgument for an unknown number."""
    if value == cleanup_pb2.DELETION_STATE_UNSPECIFIED:
        return None
    violations = Violations()
    if value not in _STATE_OF:
        violations.add("state", not_a_value(cleanup_pb2.DeletionState.DESCRIPTOR, value))
    violations.raise_if_any()
    return _STATE_OF[value]


def times(request: cleanup_pb2.ListDeletionsRequest) -> TimeRange:
    """start_time and end_time of a list. Raises InvalidArgument for what is no Timestamp."""
    violations = Violations()
    found = {}
    for field in ("start_time", "end_time"):
        if request.HasField(field):
            value: Timestamp = getattr(request, field)
            if not 0 <= value.nanos < 1_000_000_000:
                violations.add(field, f"has {value.nanos:,} nanos, must have 0 to 999,999,999")
            # Rounded up, since times are whole milliseconds and both bounds are compared from below.
            found[field] = value.seconds * 1000 + (value.nanos + 999_999) // 1_000_000
    violations.raise_if_any()
    return TimeRange(max(found.get("start_time", 0), 0), min(found.get("end_time", END_OF_TIME_MS), END_OF_TIME_MS))


def erasure(known: Erasure) -> cleanup_pb2.Erasure:
    message = cleanup_pb2.Erasure(
        erasure_id=known.erasure_id,
        user_id=known.user_id,
        user_digest=known.user_digest,
        done=known.done,
        phase="" if known.done else known.phase,
        removed=known.removed,
        start_time=timestamp(known.start_ms),
        error=known.error,
    )
    if known.end_ms:
        message.end_time.CopyFrom(timestamp(known.end_ms))
    return message


def lines(records: Iterable[Record]) -> Iterator[cleanup_pb2.ExportUserResponse]:
    """Records as lines of JSON, in messages of at most about 2 MiB, which every client accepts."""
    message, size = cleanup_pb2.ExportUserResponse(), 0
    for record in records:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        # An upper bound of its bytes: most clients refuse a message above 4 MiB.
        cost = len(line) * 4
        if message.lines and size + cost > _LINES_BYTES:
            yield message
            message, size = cleanup_pb2.ExportUserResponse(), 0
        message.lines.append(line)
        size += cost
    if message.lines:
        yield message


def reconciled(part: Sequence[Finding] | ReconcileReport) -> cleanup_pb2.ReconcileUserResponse:
    if isinstance(part, ReconcileReport):
        report = cleanup_pb2.ReconcileReport(
            notes=part.notes,
            edges=part.edges,
            index_entries=part.index_entries,
            found=part.found,
            repaired=+part.repaired,
            end_time=timestamp(part.end_ms),
        )
        return cleanup_pb2.ReconcileUserResponse(report=report)
    message = cleanup_pb2.ReconcileUserResponse()
    for one in part:
        message.findings.add(kind=one.type, node_id=one.node_id, detail=one.detail, repaired=one.repaired)
    return message


def completed(saga: Saga) -> dict[str, Any]:
    """The data of cleanup.completed."""
    message = events_pb2.CleanupCompleted(
        removed_edges=saga.removed_edges, archive_uri=saga.archive_uri, completed_time=timestamp(saga.update_ms)
    )
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def deleted_event(event: Event) -> Deletion:
    """From node.deleted. Raises InvalidArgument for an unreadable event, which then becomes a dead letter."""
    data = _parsed(event, node_events_pb2.NodeDeleted())
    violations = Violations()
    for field in ("delete_time", "purge_time"):
        if not data.HasField(field):
            violations.add(field, "is missing")
    violations.raise_if_any("unreadable node.deleted")
    return Deletion(
        event.user_id,
        event.node_id,
        event.version,
        millis(data.delete_time),
        millis(data.purge_time),
        cascade(data.cascade) or Cascade.EDGES,
        data.incarnation,
    )


def restored_event(event: Event) -> Restore:
    """From node.restored. Raises InvalidArgument like deleted_event."""
    data = _parsed(event, node_events_pb2.NodeRestored())
    return Restore(event.user_id, event.node_id, event.version, data.incarnation)


def deletion_of(node: node_pb2.Node) -> Deletion | None:
    """From GetNode; None when the note is live. The cascade is not known here: the fence returns it."""
    if not node.HasField("delete_time"):
        return None
    return Deletion(
        node.user_id,
        node.node_id,
        node.version,
        millis(node.delete_time),
        millis(node.purge_time),
        incarnation=node.incarnation,
    )


def cascade(value: int) -> Cascade | None:
    if value == node_pb2.CASCADE_UNSPECIFIED:
        return None
    return Cascade.ORPHANS if value == node_pb2.CASCADE_ORPHANS else Cascade.EDGES


def note_record(node: node_pb2.Node) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": "note",
        "id": node.node_id,
        "title": node.title,
        "text": node.content,
        "tags": list(node.tags),
        "aliases": list(node.aliases),
        "metadata": dict(node.metadata),
        "version": node.version,
        "created": iso(node.create_time),
        "updated": iso(node.update_time),
    }
    if node.HasField("delete_time"):
        record |= {"delete_time": iso(node.delete_time), "purge_time": iso(node.purge_time)}
    return record


def edge_record(edge: graph_pb2.Edge) -> dict[str, Any]:
    """Of kind "edge", or of kind "rejection", which has the ends and the type of the automatic link alone."""
    if edge.suppressed:
        return {"kind": "rejection", "source_id": edge.source_id, "target_id": edge.target_id, "type": edge.type}
    record = json_format.MessageToDict(edge, preserving_proto_field_name=True)
    for internal in ("user_id", "etag"):
        record.pop(internal, None)
    # JSON leaves a weight of 0 out, and an importer takes none for the default of 1.
    return {"kind": "edge", **record, "weight": edge.weight}


def keyword_record(keyword: similarity_pb2.Keyword) -> dict[str, Any]:
    return {"keyword": keyword.keyword, "weight": keyword.weight}


def settings_record(context: str, settings: Message) -> dict[str, Any]:
    values = json_format.MessageToDict(settings, preserving_proto_field_name=True)
    return {"kind": "settings", "context": context, "settings": values}


# A key of one of the indexes that list deletions; both begin with a time.
_TOKENS = TokenCodec(PAGE, str, {"at": Text(320, re.compile(r"[A-Z]+#[0-9]{13}#[A-Za-z0-9._@#-]+"))})


def position(bound: str, token: str) -> str:
    """Where a page begins, "" for the first. InvalidArgument (PAGE_TOKEN_INVALID) for a token of another request."""
    return _TOKENS.decode(bound, token) or ""


def page_token(bound: str, position: str) -> str:
    return _TOKENS.encode(bound, position) if position else ""


def millis(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000


def timestamp(ms: int) -> Timestamp:
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def iso(time: Timestamp) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(millis(time) / 1000, UTC).isoformat(timespec="milliseconds")


def _parsed(event: Event, message: M) -> M:
    try:
        return json_format.ParseDict(dict(event.data), message, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise InvalidArgument(f"unreadable {event.type}: {error}") from None
