import datetime

from google.protobuf import duration_pb2 as _duration_pb2
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

class NodeView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_VIEW_UNSPECIFIED: _ClassVar[NodeView]
    NODE_VIEW_TITLE: _ClassVar[NodeView]
    NODE_VIEW_SUMMARY: _ClassVar[NodeView]
    NODE_VIEW_FULL: _ClassVar[NodeView]

class Cascade(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CASCADE_UNSPECIFIED: _ClassVar[Cascade]
    CASCADE_EDGES: _ClassVar[Cascade]
    CASCADE_ORPHANS: _ClassVar[Cascade]
NODE_VIEW_UNSPECIFIED: NodeView
NODE_VIEW_TITLE: NodeView
NODE_VIEW_SUMMARY: NodeView
NODE_VIEW_FULL: NodeView
CASCADE_UNSPECIFIED: Cascade
CASCADE_EDGES: Cascade
CASCADE_ORPHANS: Cascade

class Node(_message.Message):
    __slots__ = ("user_id", "node_id", "title", "content", "tags", "metadata", "version", "etag", "create_time", "update_time", "delete_time", "purge_time", "excerpt", "content_bytes", "incarnation", "aliases")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXCERPT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    title: str
    content: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    version: int
    etag: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    purge_time: _timestamp_pb2.Timestamp
    excerpt: str
    content_bytes: int
    incarnation: int
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., title: _Optional[str] = ..., content: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., version: _Optional[int] = ..., etag: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., excerpt: _Optional[str] = ..., content_bytes: _Optional[int] = ..., incarnation: _Optional[int] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class NewNode(_message.Message):
    __slots__ = ("node_id", "title", "content", "tags", "metadata", "create_time", "aliases")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    title: str
    content: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node_id: _Optional[str] = ..., title: _Optional[str] = ..., content: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateNodeRequest(_message.Message):
    __slots__ = ("user_id", "node", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node: NewNode
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., node: _Optional[_Union[NewNode, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateNodeResponse(_message.Message):
    __slots__ = ("node", "consistency_token")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    node: Node
    consistency_token: str
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class BatchCreateNodesRequest(_message.Message):
    __slots__ = ("user_id", "nodes", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    nodes: _containers.RepeatedCompositeFieldContainer[NewNode]
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[NewNode, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchCreateNodesResponse(_message.Message):
    __slots__ = ("results", "consistency_token")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateNodeResult]
    consistency_token: str
    def __init__(self, results: _Optional[_Iterable[_Union[CreateNodeResult, _Mapping]]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class CreateNodeResult(_message.Message):
    __slots__ = ("node", "code", "reason", "message")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    node: Node
    code: int
    reason: str
    message: str
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "view", "show_deleted", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    view: NodeView
    show_deleted: bool
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., view: _Optional[_Union[NodeView, str]] = ..., show_deleted: bool = ..., consistency_token: _Optional[str] = ...) -> None: ...

class GetNodeResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: Node
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ...) -> None: ...

class BatchGetNodesRequest(_message.Message):
    __slots__ = ("user_id", "node_ids", "view", "show_deleted", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    view: NodeView
    show_deleted: bool
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., node_ids: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[NodeView, str]] = ..., show_deleted: bool = ..., consistency_token: _Optional[str] = ...) -> None: ...

class BatchGetNodesResponse(_message.Message):
    __slots__ = ("nodes", "missing_ids")
    NODES_FIELD_NUMBER: _ClassVar[int]
    MISSING_IDS_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    missing_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., missing_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "node", "update_mask", "etag", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    node: NewNode
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., node: _Optional[_Union[NewNode, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateNodeResponse(_message.Message):
    __slots__ = ("node", "consistency_token")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    node: Node
    consistency_token: str
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class DeleteNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "etag", "request_id", "cascade")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    etag: str
    request_id: str
    cascade: Cascade
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ..., cascade: _Optional[_Union[Cascade, str]] = ...) -> None: ...

class DeleteNodeResponse(_message.Message):
    __slots__ = ("node_id", "version", "etag", "delete_time", "purge_time", "consistency_token")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    version: int
    etag: str
    delete_time: _timestamp_pb2.Timestamp
    purge_time: _timestamp_pb2.Timestamp
    consistency_token: str
    def __init__(self, node_id: _Optional[str] = ..., version: _Optional[int] = ..., etag: _Optional[str] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class RestoreNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RestoreNodeResponse(_message.Message):
    __slots__ = ("node", "consistency_token")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    node: Node
    consistency_token: str
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ("user_id", "page_size", "page_token", "start_time", "end_time")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page_size: int
    page_token: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, user_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes", "next_page_token")
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    next_page_token: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PurgeNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "version", "fence")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    version: int
    fence: bool
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., version: _Optional[int] = ..., fence: bool = ...) -> None: ...

class PurgeNodeResponse(_message.Message):
    __slots__ = ("node", "already_purged", "cascade")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ALREADY_PURGED_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    node: Node
    already_purged: bool
    cascade: Cascade
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., already_purged: bool = ..., cascade: _Optional[_Union[Cascade, str]] = ...) -> None: ...

class ReplayEventsRequest(_message.Message):
    __slots__ = ("user_id", "max_rate", "page_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_RATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    max_rate: int
    page_token: str
    def __init__(self, user_id: _Optional[str] = ..., max_rate: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ReplayEventsResponse(_message.Message):
    __slots__ = ("replayed", "next_page_token", "finished")
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    replayed: int
    next_page_token: str
    finished: bool
    def __init__(self, replayed: _Optional[int] = ..., next_page_token: _Optional[str] = ..., finished: bool = ...) -> None: ...

class UserSettings(_message.Message):
    __slots__ = ("retention",)
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    retention: _duration_pb2.Duration
    def __init__(self, retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetUserSettingsRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class GetUserSettingsResponse(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: UserSettings
    def __init__(self, settings: _Optional[_Union[UserSettings, _Mapping]] = ...) -> None: ...

class UpdateUserSettingsRequest(_message.Message):
    __slots__ = ("user_id", "settings", "update_mask", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    settings: UserSettings
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., settings: _Optional[_Union[UserSettings, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateUserSettingsResponse(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: UserSettings
    def __init__(self, settings: _Optional[_Union[UserSettings, _Mapping]] = ...) -> None: ...
