"""Pure conversions between the messages of protos/graph/v1 and the model, and the codec of stored lists.

A stored list is the wire form of GetNeighborsResponse.neighbors: a response is those bytes and two small fields after
them, without decoding or encoding.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from protos.graph.v1 import graph_pb2
from services.graph_service.model.consistency_token import decode
from services.graph_service.model.edge import RELATED, Edge, Keyword, Metadata, NewEdge
from services.graph_service.model.neighbors import Direction, Neighbor, NeighborQuery, NeighborsRequest, Order
from services.graph_service.model.traversal import Path, Stats, Subgraph, SubgraphEdge
from services.graph_service.ports import ChangeType, VisibilityRecord
from services.graph_service.usecases.batch_create_edges import EdgeResult
from services.graph_service.usecases.validation import check_query
from shared.errors import DataLoss, Violations, shown
from shared.grpc import field_limits
from shared.grpc.status import CODES
from shared.idempotent import IdempotentRequest
from shared.pages import page_size


# ---------------------------------------------------------------------------------------------- edges
def timestamp(ms: int) -> Timestamp:
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def milliseconds(stamp: Timestamp) -> int:
    return int(stamp.seconds) * 1000 + int(stamp.nanos) // 1_000_000


def metadata(message: graph_pb2.EdgeMetadata) -> Metadata:
    return Metadata(
        auto=message.auto_generated,
        score=message.score,
        keywords=tuple(Keyword(k.keyword, k.contribution) for k in message.shared_keywords),
        method=message.method,
        confirmed=message.confirmed,
        labels=dict(message.labels),
    )


def metadata_message(value: Metadata) -> graph_pb2.EdgeMetadata:
    return graph_pb2.EdgeMetadata(
        auto_generated=value.auto,
        score=value.score,
        shared_keywords=[
            graph_pb2.SharedKeyword(keyword=k.keyword, contribution=k.contribution) for k in value.keywords
        ],
        method=value.method,
        confirmed=value.confirmed,
        labels=dict(value.labels),
    )


def new_edge(message: graph_pb2.NewEdge) -> NewEdge:
    """The edge of a request; a weight of 0 stands for 1."""
    return NewEdge(
        message.source_id,
        message.target_id,
        message.type or RELATED,
        message.directed,
        message.weight or 1.0,
        metadata(message.metadata),
    )


def edge_message(edge: Edge) -> graph_pb2.Edge:
    return graph_pb2.Edge(
        user_id=edge.user_id,
        source_id=edge.source,
        target_id=edge.target,
        type=edge.type,
        directed=edge.directed,
        weight=edge.weight,
        metadata=metadata_message(edge.metadata),
        version=edge.version,
        etag=edge.etag,
        create_time=timestamp(edge.create_ms),
        update_time=timestamp(edge.update_ms),
        suppressed=edge.suppressed,
    )


def edge(message: graph_pb2.Edge) -> Edge:
    return Edge(
        message.user_id,
        message.source_id,
        message.target_id,
        message.type,
        message.directed,
        message.weight,
        metadata(message.metadata),
        message.version,
        milliseconds(message.create_time),
        milliseconds(message.update_time),
    )


def edge_event(edges: Sequence[Mapping[str, Any]], cause: str = "") -> Mapping[str, Any]:
    """The data of edge.created, and with a cause of edge.deleted. edges: of event_edge()."""
    return {"cause": cause, "edges": edges} if cause else {"edges": edges}


def event_edge(edge: Edge) -> Mapping[str, Any]:
    """An edge as events carry it: without what the envelope has, the shared keywords and the labels."""
    message = edge_message(edge)
    for name in ("user_id", "etag"):
        message.ClearField(name)
    for name in ("shared_keywords", "labels"):
        message.metadata.ClearField(name)
    found: Mapping[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


# ---------------------------------------------------------------------------------------------- requests
def neighbors_query(request: graph_pb2.GetNeighborsRequest) -> NeighborQuery:
    order = Order.TIME if request.order == graph_pb2.NEIGHBOR_ORDER_TIME else Order.WEIGHT
    # BOTH is the same as ANY in a request, and so is an unknown value.
    number = int(request.direction)
    direction = Direction(number) if number in (1, 2) else Direction.ANY
    return NeighborQuery(
        request.user_id,
        request.node_id,
        page_size("page_size", request.page_size, default=50, maximum=1000),
        order,
        request.min_weight,
        frozenset(request.types),
        direction,
    )


def node_created(data: Mapping[str, Any]) -> tuple[str, int]:
    """The title and the incarnation in the data of node.created."""
    return str(data.get("title", "")), incarnation(data)


def incarnation(data: Mapping[str, Any]) -> int:
    """Of any event about a note; JSON writes an int64 as text."""
    return int(data.get("incarnation", 0))


def visibility(
    request: graph_pb2.SetNodeVisibilityRequest | graph_pb2.AnnounceNodeVisibilityRequest,
) -> VisibilityRecord:
    return VisibilityRecord(
        request.node_id, request.version, hidden=not request.visible, incarnation=request.incarnation
    )


def mask(paths: Iterable[str]) -> frozenset[str]:
    """The paths of an update; empty means weight and metadata.labels. InvalidArgument for any other path."""
    known = {"weight", "metadata.labels", "metadata.confirmed"}
    requested = frozenset(paths) or frozenset(("weight", "metadata.labels"))
    violations = Violations()
    for unknown in sorted(requested - known):
        violations.add("update_mask", f"names {shown(unknown)}, only {', '.join(sorted(known))} can be updated")
    violations.raise_if_any()
    return requested


# ---------------------------------------------------------------------------------------------- lists
def neighbor_message(neighbor: Neighbor) -> graph_pb2.Neighbor:
    return graph_pb2.Neighbor(
        node_id=neighbor.node_id,
        weight=neighbor.weight,
        type=neighbor.type,
        direction=cast(graph_pb2.Direction, int(neighbor.direction)),
        auto_generated=neighbor.auto,
        create_time=timestamp(neighbor.create_ms),
        title=neighbor.title,
    )


_DIRECTIONS = tuple(Direction)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# total_degree on the wire, by degree; 0 isn't written.
_DEGREES = (b"", *(b"\x18" + _varint(degree) for degree in range(1, 513)))


class WireCodec:
    """Codec with protobuf. The tags are those of graph.proto; tests compare the bytes with the generated classes."""

    def request(self, data: bytes) -> NeighborsRequest:
        request = field_limits.decode(graph_pb2.GetNeighborsRequest, data)
        query = neighbors_query(request)
        check_query(query)
        return NeighborsRequest(query, decode(request.consistency_token), request.page_token, request.with_titles)

    def pack(self, neighbors: Sequence[Neighbor]) -> bytes:
        response = graph_pb2.GetNeighborsResponse(neighbors=[neighbor_message(n) for n in neighbors])
        return response.SerializeToString()

    def unpack(self, packed: bytes) -> list[Neighbor]:
        try:
            response = graph_pb2.GetNeighborsResponse.FromString(packed)
        except DecodeError as error:
            raise DataLoss("a stored list can't be read") from error
        return [
            Neighbor(
                n.node_id,
                n.weight,
                n.type,
                _DIRECTIONS[n.direction],
                n.auto_generated,
                n.create_time.seconds * 1000 + n.create_time.nanos // 1_000_000,
                n.title,
            )
            for n in response.neighbors
        ]

    def response(self, packed: bytes, next_page_token: str, degree: int) -> bytes:
        total = _DEGREES[degree] if degree < len(_DEGREES) else b"\x18" + _varint(degree)
        if not next_page_token:
            return packed + total
        return b"".join((packed, b"\x12", _varint(len(next_page_token)), next_page_token.encode(), total))

    def batch_part(self, node_id: str, packed: bytes, degree: int) -> bytes:
        # NodeNeighbors.neighbors has another tag than GetNeighborsResponse.neighbors: let protobuf copy them.
        neighbors = graph_pb2.GetNeighborsResponse.FromString(packed).neighbors if packed else ()
        body = graph_pb2.NodeNeighbors(node_id=node_id, neighbors=neighbors, total_degree=degree).SerializeToString()
        return b"\x0a" + _varint(len(body)) + body

    def feed_entry(self, change_type: ChangeType, edge: Edge) -> bytes:
        return _varint(change_type.value) + edge_message(edge).SerializeToString()


def feed_entry(data: bytes | None, resume_token: str) -> graph_pb2.WatchEdgesResponse:
    """The message of an entry that WireCodec.feed_entry wrote; None is a heartbeat. A change type takes one byte."""
    if data is None:
        return graph_pb2.WatchEdgesResponse(resume_token=resume_token)
    return graph_pb2.WatchEdgesResponse(
        kind=cast(graph_pb2.WatchEdgesResponse.Kind, data[0]),
        edge=graph_pb2.Edge.FromString(data[1:]),
        resume_token=resume_token,
    )


# ---------------------------------------------------------------------------------------------- repeated requests
def idempotent_request(method: str, request: Any) -> IdempotentRequest | None:
    """What is needed to answer the request again; None without a request_id. InvalidArgument: a malformed id."""
    found = IdempotentRequest.of(method, request)
    if found is None:
        return None
    encode, decode = _RESULTS[method]
    body = method.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return replace(
        found,
        # Graph stores the whole digest: a shorter one would refuse what the previous release has answered.
        fingerprint=hashlib.sha256(body).hexdigest(),
        encode=lambda result: encode(result).SerializeToString(),
        decode=lambda data: _previous_result(data) if data[:1] in _PREVIOUS else decode(data),
    )


def _created(data: bytes) -> tuple[bool, Edge]:
    """The result of CreateEdge."""
    response = graph_pb2.CreateEdgeResponse.FromString(data)
    return response.created, edge(response.edge)


def _edge_results(data: bytes) -> list[EdgeResult]:
    """The result of BatchCreateEdges."""
    return [
        EdgeResult(edge(r.edge) if r.HasField("edge") else None, r.created, _KINDS[r.code], r.reason, r.message)
        for r in graph_pb2.BatchCreateEdgesResponse.FromString(data).results
    ]


def _previous_result(data: bytes) -> Any:
    """A result as the previous release stored it: JSON, or "0" or "1" and an edge."""
    if data[:1] == b"[":
        return [
            EdgeResult(edge(graph_pb2.Edge.FromString(bytes.fromhex(packed))) if packed else None, *rest)
            for *rest, packed in json.loads(data)
        ]
    return data[:1] == b"1", edge(graph_pb2.Edge.FromString(data[1:])) if len(data) > 1 else None


# None of the responses below begins with one of these bytes: they would be other tags.
_PREVIOUS = (b"0", b"1", b"[")
_KINDS = {0: ""} | {code.value[0]: kind for kind, code in CODES.items()}
# Result -> the stored response, which lacks its token, and back.
_RESULTS: Mapping[str, tuple[Callable[[Any], Message], Callable[[bytes], Any]]] = {
    "CreateEdge": (
        lambda result: graph_pb2.CreateEdgeResponse(created=result[0], edge=edge_message(result[1])),
        _created,
    ),
    "UpdateEdge": (
        lambda result: graph_pb2.UpdateEdgeResponse(edge=edge_message(result[1])),
        lambda data: (True, edge(graph_pb2.UpdateEdgeResponse.FromString(data).edge)),
    ),
    "DeleteEdge": (
        lambda result: graph_pb2.DeleteEdgeResponse(deleted=result[0]),
        lambda data: (graph_pb2.DeleteEdgeResponse.FromString(data).deleted, None),
    ),
    "SuppressEdge": (
        lambda result: graph_pb2.SuppressEdgeResponse(removed=result[0]),
        lambda data: (graph_pb2.SuppressEdgeResponse.FromString(data).removed, None),
    ),
    "BatchCreateEdges": (
        lambda results: graph_pb2.BatchCreateEdgesResponse(results=[result_message(result) for result in results]),
        _edge_results,
    ),
}


def result_message(result: EdgeResult) -> graph_pb2.CreateEdgeResult:
    return graph_pb2.CreateEdgeResult(
        edge=None if result.edge is None else edge_message(result.edge),
        created=result.created,
        code=CODES[result.kind].value[0] if result.kind else 0,
        reason=result.reason,
        message=result.message,
    )


# ---------------------------------------------------------------------------------------------- traversals
def subgraph_edge_message(link: SubgraphEdge) -> graph_pb2.SubgraphEdge:
    return graph_pb2.SubgraphEdge(
        source_id=link.source, target_id=link.target, type=link.type, directed=link.directed, weight=link.weight
    )


def subgraph(found: Subgraph) -> graph_pb2.GetSubgraphResponse:
    return graph_pb2.GetSubgraphResponse(
        nodes=[
            graph_pb2.SubgraphNode(node_id=n.node_id, hops=n.hops, degree=n.degree, title=n.title) for n in found.nodes
        ],
        edges=[subgraph_edge_message(link) for link in found.edges],
        truncated=found.truncated,
        truncated_at=found.truncated_at[:100],
    )


def path(found: Path) -> graph_pb2.FindShortestPathResponse:
    return graph_pb2.FindShortestPathResponse(
        found=bool(found.nodes),
        node_ids=found.nodes,
        edges=[subgraph_edge_message(link) for link in found.edges],
        bound_reached=found.bound_reached,
        visited=found.visited,
    )


def stats(found: Stats) -> graph_pb2.GetGraphStatsResponse:
    return graph_pb2.GetGraphStatsResponse(
        linked_nodes=found.linked,
        edges=found.edges,
        automatic_edges=found.automatic,
        degrees=[
            graph_pb2.DegreeBucket(min_degree=1 << power, max_degree=(2 << power) - 1, nodes=count)
            for power, count in sorted(found.degrees.items())
        ],
        hubs=[graph_pb2.Hub(node_id=node_id, degree=degree) for node_id, degree in found.hubs],
        orphans=found.orphans,
        orphans_incomplete=found.orphans_incomplete,
        as_of=timestamp(found.as_of_ms),
    )
