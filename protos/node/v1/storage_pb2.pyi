from protos.node.v1 import node_pb2 as _node_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoredNode(_message.Message):
    __slots__ = ("node", "cascade", "fenced", "with_content")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    WITH_CONTENT_FIELD_NUMBER: _ClassVar[int]
    node: _node_pb2.Node
    cascade: _node_pb2.Cascade
    fenced: bool
    with_content: bool
    def __init__(self, node: _Optional[_Union[_node_pb2.Node, _Mapping]] = ..., cascade: _Optional[_Union[_node_pb2.Cascade, str]] = ..., fenced: bool = ..., with_content: bool = ...) -> None: ...
