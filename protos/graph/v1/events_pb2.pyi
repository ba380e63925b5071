from protos.graph.v1 import graph_pb2 as _graph_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EdgeCreated(_message.Message):
    __slots__ = ("edge", "edges")
    EDGE_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    edge: _graph_pb2.Edge
    edges: _containers.RepeatedCompositeFieldContainer[_graph_pb2.Edge]
    def __init__(self, edge: _Optional[_Union[_graph_pb2.Edge, _Mapping]] = ..., edges: _Optional[_Iterable[_Union[_graph_pb2.Edge, _Mapping]]] = ...) -> None: ...

class EdgeDeleted(_message.Message):
    __slots__ = ("source_id", "target_id", "type", "cause", "edges")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    target_id: str
    type: str
    cause: str
    edges: _containers.RepeatedCompositeFieldContainer[_graph_pb2.Edge]
    def __init__(self, source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[str] = ..., cause: _Optional[str] = ..., edges: _Optional[_Iterable[_Union[_graph_pb2.Edge, _Mapping]]] = ...) -> None: ...
