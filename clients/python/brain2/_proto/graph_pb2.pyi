import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from . import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTION_UNSPECIFIED: _ClassVar[Direction]
    DIRECTION_OUT: _ClassVar[Direction]
    DIRECTION_IN: _ClassVar[Direction]
    DIRECTION_BOTH: _ClassVar[Direction]

class NeighborOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NEIGHBOR_ORDER_UNSPECIFIED: _ClassVar[NeighborOrder]
    NEIGHBOR_ORDER_WEIGHT: _ClassVar[NeighborOrder]
    NEIGHBOR_ORDER_TIME: _ClassVar[NeighborOrder]
DIRECTION_UNSPECIFIED: Direction
DIRECTION_OUT: Direction
DIRECTION_IN: Direction
DIRECTION_BOTH: Direction
NEIGHBOR_ORDER_UNSPECIFIED: NeighborOrder
NEIGHBOR_ORDER_WEIGHT: NeighborOrder
NEIGHBOR_ORDER_TIME: NeighborOrder

class Edge(_message.Message):
    __slots__ = ("user_id", "source_id", "target_id", "type", "directed", "weight", "metadata", "version", "etag", "create_time", "update_time", "suppressed")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DIRECTED_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    source_id: str
    target_id: str
    type: str
    directed: bool
    weight: float
    metadata: EdgeMetadata
    version: int
    etag: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    suppressed: bool
    def __init__(self, user_id: _Optional[str] = ..., source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., directed: bool = ..., weight: _Optional[float] = ..., metadata: _Optional[_Union[EdgeMetadata, _Mapping]] = ..., version: _Optional[int] = ..., etag: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., suppressed: bool = ...) -> None: ...

class EdgeMetadata(_message.Message):
    __slots__ = ("auto_generated", "score", "shared_keywords", "method", "confirmed", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AUTO_GENERATED_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SHARED_KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    auto_generated: bool
    score: float
    shared_keywords: _containers.RepeatedCompositeFieldContainer[SharedKeyword]
    method: str
    confirmed: bool
    labels: _containers.ScalarMap[str, str]
    def __init__(self, auto_generated: bool = ..., score: _Optional[float] = ..., shared_keywords: _Optional[_Iterable[_Union[SharedKeyword, _Mapping]]] = ..., method: _Optional[str] = ..., confirmed: bool = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SharedKeyword(_message.Message):
    __slots__ = ("keyword", "contribution")
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    keyword: str
    contribution: float
    def __init__(self, keyword: _Optional[str] = ..., contribution: _Optional[float] = ...) -> None: ...

class NewEdge(_message.Message):
    __slots__ = ("source_id", "target_id", "type", "directed", "weight", "metadata")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DIRECTED_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    target_id: str
    type: str
    directed: bool
    weight: float
    metadata: EdgeMetadata
    def __init__(self, source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., directed: bool = ..., weight: _Optional[float] = ..., metadata: _Optional[_Union[EdgeMetadata, _Mapping]] = ...) -> None: ...

class CreateEdgeRequest(_message.Message):
    __slots__ = ("user_id", "edge", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EDGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    edge: NewEdge
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., edge: _Optional[_Union[NewEdge, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateEdgeResponse(_message.Message):
    __slots__ = ("edge", "created", "consistency_token")
    EDGE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    edge: Edge
    created: bool
    consistency_token: str
    def __init__(self, edge: _Optional[_Union[Edge, _Mapping]] = ..., created: bool = ..., consistency_token: _Optional[str] = ...) -> None: ...

class BatchCreateEdgesRequest(_message.Message):
    __slots__ = ("user_id", "edges", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    edges: _containers.RepeatedCompositeFieldContainer[NewEdge]
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., edges: _Optional[_Iterable[_Union[NewEdge, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchCreateEdgesResponse(_message.Message):
    __slots__ = ("results", "consistency_token")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateEdgeResult]
    consistency_token: str
    def __init__(self, results: _Optional[_Iterable[_Union[CreateEdgeResult, _Mapping]]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class CreateEdgeResult(_message.Message):
    __slots__ = ("edge", "created", "code", "reason", "message")
    EDGE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    edge: Edge
    created: bool
    code: int
    reason: str
    message: str
    def __init__(self, edge: _Optional[_Union[Edge, _Mapping]] = ..., created: bool = ..., code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class GetEdgeRequest(_message.Message):
    __slots__ = ("user_id", "source_id", "target_id", "type", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    source_id: str
    target_id: str
    type: str
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class GetEdgeResponse(_message.Message):
    __slots__ = ("edge",)
    EDGE_FIELD_NUMBER: _ClassVar[int]
    edge: Edge
    def __init__(self, edge: _Optional[_Union[Edge, _Mapping]] = ...) -> None: ...

class UpdateEdgeRequest(_message.Message):
    __slots__ = ("user_id", "source_id", "target_id", "type", "weight", "metadata", "update_mask", "etag", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    source_id: str
    target_id: str
    type: str
    weight: float
    metadata: EdgeMetadata
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., weight: _Optional[float] = ..., metadata: _Optional[_Union[EdgeMetadata, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateEdgeResponse(_message.Message):
    __slots__ = ("edge", "consistency_token")
    EDGE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    edge: Edge
    consistency_token: str
    def __init__(self, edge: _Optional[_Union[Edge, _Mapping]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class DeleteEdgeRequest(_message.Message):
    __slots__ = ("user_id", "source_id", "target_id", "type", "etag", "request_id", "only_if_automatic", "only_if_from_text")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ONLY_IF_AUTOMATIC_FIELD_NUMBER: _ClassVar[int]
    ONLY_IF_FROM_TEXT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    source_id: str
    target_id: str
    type: str
    etag: str
    request_id: str
    only_if_automatic: bool
    only_if_from_text: bool
    def __init__(self, user_id: _Optional[str] = ..., source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ..., only_if_automatic: bool = ..., only_if_from_text: bool = ...) -> None: ...

class DeleteEdgeResponse(_message.Message):
    __slots__ = ("deleted", "consistency_token")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    consistency_token: str
    def __init__(self, deleted: bool = ..., consistency_token: _Optional[str] = ...) -> None: ...

class SuppressEdgeRequest(_message.Message):
    __slots__ = ("user_id", "source_id", "target_id", "type", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    source_id: str
    target_id: str
    type: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SuppressEdgeResponse(_message.Message):
    __slots__ = ("removed", "consistency_token")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    removed: bool
    consistency_token: str
    def __init__(self, removed: bool = ..., consistency_token: _Optional[str] = ...) -> None: ...

class ListSuppressedEdgesRequest(_message.Message):
    __slots__ = ("user_id", "node_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ...) -> None: ...

class ListSuppressedEdgesResponse(_message.Message):
    __slots__ = ("node_ids",)
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetNeighborsRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "page_size", "page_token", "order", "min_weight", "types", "direction", "with_titles", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    MIN_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    WITH_TITLES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    page_size: int
    page_token: str
    order: NeighborOrder
    min_weight: float
    types: _containers.RepeatedScalarFieldContainer[str]
    direction: Direction
    with_titles: bool
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., order: _Optional[_Union[NeighborOrder, str]] = ..., min_weight: _Optional[float] = ..., types: _Optional[_Iterable[str]] = ..., direction: _Optional[_Union[Direction, str]] = ..., with_titles: bool = ..., consistency_token: _Optional[str] = ...) -> None: ...

class Neighbor(_message.Message):
    __slots__ = ("node_id", "weight", "type", "direction", "auto_generated", "create_time", "title")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    AUTO_GENERATED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    weight: float
    type: str
    direction: Direction
    auto_generated: bool
    create_time: _timestamp_pb2.Timestamp
    title: str
    def __init__(self, node_id: _Optional[str] = ..., weight: _Optional[float] = ..., type: _Optional[str] = ..., direction: _Optional[_Union[Direction, str]] = ..., auto_generated: bool = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., title: _Optional[str] = ...) -> None: ...

class GetNeighborsResponse(_message.Message):
    __slots__ = ("neighbors", "next_page_token", "total_degree")
    NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DEGREE_FIELD_NUMBER: _ClassVar[int]
    neighbors: _containers.RepeatedCompositeFieldContainer[Neighbor]
    next_page_token: str
    total_degree: int
    def __init__(self, neighbors: _Optional[_Iterable[_Union[Neighbor, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_degree: _Optional[int] = ...) -> None: ...

class BatchGetNeighborsRequest(_message.Message):
    __slots__ = ("user_id", "node_ids", "limit", "min_weight", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MIN_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    min_weight: float
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., node_ids: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., min_weight: _Optional[float] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class NodeNeighbors(_message.Message):
    __slots__ = ("node_id", "neighbors", "total_degree")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DEGREE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    neighbors: _containers.RepeatedCompositeFieldContainer[Neighbor]
    total_degree: int
    def __init__(self, node_id: _Optional[str] = ..., neighbors: _Optional[_Iterable[_Union[Neighbor, _Mapping]]] = ..., total_degree: _Optional[int] = ...) -> None: ...

class BatchGetNeighborsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[NodeNeighbors]
    def __init__(self, results: _Optional[_Iterable[_Union[NodeNeighbors, _Mapping]]] = ...) -> None: ...

class GetSubgraphRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "max_hops", "max_fanout", "max_nodes", "min_weight", "with_titles", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_HOPS_FIELD_NUMBER: _ClassVar[int]
    MAX_FANOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_NODES_FIELD_NUMBER: _ClassVar[int]
    MIN_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    WITH_TITLES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    max_hops: int
    max_fanout: int
    max_nodes: int
    min_weight: float
    with_titles: bool
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., max_hops: _Optional[int] = ..., max_fanout: _Optional[int] = ..., max_nodes: _Optional[int] = ..., min_weight: _Optional[float] = ..., with_titles: bool = ..., consistency_token: _Optional[str] = ...) -> None: ...

class SubgraphNode(_message.Message):
    __slots__ = ("node_id", "hops", "degree", "title")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    DEGREE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    hops: int
    degree: int
    title: str
    def __init__(self, node_id: _Optional[str] = ..., hops: _Optional[int] = ..., degree: _Optional[int] = ..., title: _Optional[str] = ...) -> None: ...

class SubgraphEdge(_message.Message):
    __slots__ = ("source_id", "target_id", "type", "directed", "weight")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DIRECTED_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    target_id: str
    type: str
    directed: bool
    weight: float
    def __init__(self, source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., directed: bool = ..., weight: _Optional[float] = ...) -> None: ...

class GetSubgraphResponse(_message.Message):
    __slots__ = ("nodes", "edges", "truncated", "truncated_at")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_AT_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[SubgraphNode]
    edges: _containers.RepeatedCompositeFieldContainer[SubgraphEdge]
    truncated: bool
    truncated_at: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nodes: _Optional[_Iterable[_Union[SubgraphNode, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[SubgraphEdge, _Mapping]]] = ..., truncated: bool = ..., truncated_at: _Optional[_Iterable[str]] = ...) -> None: ...

class FindShortestPathRequest(_message.Message):
    __slots__ = ("user_id", "source_id", "target_id", "max_hops", "max_visited", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_HOPS_FIELD_NUMBER: _ClassVar[int]
    MAX_VISITED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    source_id: str
    target_id: str
    max_hops: int
    max_visited: int
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., max_hops: _Optional[int] = ..., max_visited: _Optional[int] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class FindShortestPathResponse(_message.Message):
    __slots__ = ("found", "node_ids", "edges", "bound_reached", "visited")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    BOUND_REACHED_FIELD_NUMBER: _ClassVar[int]
    VISITED_FIELD_NUMBER: _ClassVar[int]
    found: bool
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    edges: _containers.RepeatedCompositeFieldContainer[SubgraphEdge]
    bound_reached: bool
    visited: int
    def __init__(self, found: bool = ..., node_ids: _Optional[_Iterable[str]] = ..., edges: _Optional[_Iterable[_Union[SubgraphEdge, _Mapping]]] = ..., bound_reached: bool = ..., visited: _Optional[int] = ...) -> None: ...

class ListEdgesRequest(_message.Message):
    __slots__ = ("user_id", "min_weight", "show_hidden", "node_id", "show_suppressed")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SHOW_HIDDEN_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SHOW_SUPPRESSED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    min_weight: float
    show_hidden: bool
    node_id: str
    show_suppressed: bool
    def __init__(self, user_id: _Optional[str] = ..., min_weight: _Optional[float] = ..., show_hidden: bool = ..., node_id: _Optional[str] = ..., show_suppressed: bool = ...) -> None: ...

class ListEdgesResponse(_message.Message):
    __slots__ = ("edges",)
    EDGES_FIELD_NUMBER: _ClassVar[int]
    edges: _containers.RepeatedCompositeFieldContainer[Edge]
    def __init__(self, edges: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ...) -> None: ...

class GetGraphStatsRequest(_message.Message):
    __slots__ = ("user_id", "top_hubs")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOP_HUBS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    top_hubs: int
    def __init__(self, user_id: _Optional[str] = ..., top_hubs: _Optional[int] = ...) -> None: ...

class DegreeBucket(_message.Message):
    __slots__ = ("min_degree", "max_degree", "nodes")
    MIN_DEGREE_FIELD_NUMBER: _ClassVar[int]
    MAX_DEGREE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    min_degree: int
    max_degree: int
    nodes: int
    def __init__(self, min_degree: _Optional[int] = ..., max_degree: _Optional[int] = ..., nodes: _Optional[int] = ...) -> None: ...

class Hub(_message.Message):
    __slots__ = ("node_id", "degree")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DEGREE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    degree: int
    def __init__(self, node_id: _Optional[str] = ..., degree: _Optional[int] = ...) -> None: ...

class GetGraphStatsResponse(_message.Message):
    __slots__ = ("linked_nodes", "edges", "automatic_edges", "degrees", "hubs", "orphans", "as_of", "orphans_incomplete")
    LINKED_NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    AUTOMATIC_EDGES_FIELD_NUMBER: _ClassVar[int]
    DEGREES_FIELD_NUMBER: _ClassVar[int]
    HUBS_FIELD_NUMBER: _ClassVar[int]
    ORPHANS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    ORPHANS_INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    linked_nodes: int
    edges: int
    automatic_edges: int
    degrees: _containers.RepeatedCompositeFieldContainer[DegreeBucket]
    hubs: _containers.RepeatedCompositeFieldContainer[Hub]
    orphans: int
    as_of: _timestamp_pb2.Timestamp
    orphans_incomplete: bool
    def __init__(self, linked_nodes: _Optional[int] = ..., edges: _Optional[int] = ..., automatic_edges: _Optional[int] = ..., degrees: _Optional[_Iterable[_Union[DegreeBucket, _Mapping]]] = ..., hubs: _Optional[_Iterable[_Union[Hub, _Mapping]]] = ..., orphans: _Optional[int] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., orphans_incomplete: bool = ...) -> None: ...

class WarmCacheRequest(_message.Message):
    __slots__ = ("user_id", "node_ids", "max_nodes")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_NODES_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    max_nodes: int
    def __init__(self, user_id: _Optional[str] = ..., node_ids: _Optional[_Iterable[str]] = ..., max_nodes: _Optional[int] = ...) -> None: ...

class WarmCacheResponse(_message.Message):
    __slots__ = ("warmed", "truncated")
    WARMED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    warmed: int
    truncated: bool
    def __init__(self, warmed: _Optional[int] = ..., truncated: bool = ...) -> None: ...

class WatchEdgesRequest(_message.Message):
    __slots__ = ("user_id", "resume_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    resume_token: str
    def __init__(self, user_id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchEdgesResponse(_message.Message):
    __slots__ = ("kind", "edge", "resume_token")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[WatchEdgesResponse.Kind]
        KIND_CREATED: _ClassVar[WatchEdgesResponse.Kind]
        KIND_UPDATED: _ClassVar[WatchEdgesResponse.Kind]
        KIND_DELETED: _ClassVar[WatchEdgesResponse.Kind]
        KIND_NODE_HIDDEN: _ClassVar[WatchEdgesResponse.Kind]
        KIND_NODE_SHOWN: _ClassVar[WatchEdgesResponse.Kind]
    KIND_UNSPECIFIED: WatchEdgesResponse.Kind
    KIND_CREATED: WatchEdgesResponse.Kind
    KIND_UPDATED: WatchEdgesResponse.Kind
    KIND_DELETED: WatchEdgesResponse.Kind
    KIND_NODE_HIDDEN: WatchEdgesResponse.Kind
    KIND_NODE_SHOWN: WatchEdgesResponse.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    EDGE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    kind: WatchEdgesResponse.Kind
    edge: Edge
    resume_token: str
    def __init__(self, kind: _Optional[_Union[WatchEdgesResponse.Kind, str]] = ..., edge: _Optional[_Union[Edge, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class DetachNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "max_edges", "version")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_EDGES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    max_edges: int
    version: int
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., max_edges: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class DetachNodeResponse(_message.Message):
    __slots__ = ("removed", "done", "edges")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    removed: int
    done: bool
    edges: _containers.RepeatedCompositeFieldContainer[Edge]
    def __init__(self, removed: _Optional[int] = ..., done: bool = ..., edges: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ...) -> None: ...

class AnnounceNodeVisibilityRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "version", "visible", "incarnation", "announcement_id", "withdraw")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    version: int
    visible: bool
    incarnation: int
    announcement_id: str
    withdraw: bool
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., version: _Optional[int] = ..., visible: bool = ..., incarnation: _Optional[int] = ..., announcement_id: _Optional[str] = ..., withdraw: bool = ...) -> None: ...

class AnnounceNodeVisibilityResponse(_message.Message):
    __slots__ = ("announced",)
    ANNOUNCED_FIELD_NUMBER: _ClassVar[int]
    announced: bool
    def __init__(self, announced: bool = ...) -> None: ...

class SetNodeVisibilityRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "version", "visible", "incarnation", "announcement_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    version: int
    visible: bool
    incarnation: int
    announcement_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., version: _Optional[int] = ..., visible: bool = ..., incarnation: _Optional[int] = ..., announcement_id: _Optional[str] = ...) -> None: ...

class SetNodeVisibilityResponse(_message.Message):
    __slots__ = ("applied",)
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    def __init__(self, applied: bool = ...) -> None: ...
