import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from protos.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeletionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELETION_STATE_UNSPECIFIED: _ClassVar[DeletionState]
    DELETION_STATE_PENDING: _ClassVar[DeletionState]
    DELETION_STATE_RUNNING: _ClassVar[DeletionState]
    DELETION_STATE_FAILED: _ClassVar[DeletionState]
    DELETION_STATE_DONE: _ClassVar[DeletionState]
    DELETION_STATE_CANCELLED: _ClassVar[DeletionState]

class DeletionStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELETION_STEP_UNSPECIFIED: _ClassVar[DeletionStep]
    DELETION_STEP_FENCE: _ClassVar[DeletionStep]
    DELETION_STEP_ARCHIVE: _ClassVar[DeletionStep]
    DELETION_STEP_DETACH: _ClassVar[DeletionStep]
    DELETION_STEP_UNINDEX: _ClassVar[DeletionStep]
    DELETION_STEP_PURGE: _ClassVar[DeletionStep]
DELETION_STATE_UNSPECIFIED: DeletionState
DELETION_STATE_PENDING: DeletionState
DELETION_STATE_RUNNING: DeletionState
DELETION_STATE_FAILED: DeletionState
DELETION_STATE_DONE: DeletionState
DELETION_STATE_CANCELLED: DeletionState
DELETION_STEP_UNSPECIFIED: DeletionStep
DELETION_STEP_FENCE: DeletionStep
DELETION_STEP_ARCHIVE: DeletionStep
DELETION_STEP_DETACH: DeletionStep
DELETION_STEP_UNINDEX: DeletionStep
DELETION_STEP_PURGE: DeletionStep

class Deletion(_message.Message):
    __slots__ = ("user_id", "node_id", "version", "state", "step", "delete_time", "purge_time", "update_time", "attempts", "error", "archive_uri", "removed_edges", "history")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_URI_FIELD_NUMBER: _ClassVar[int]
    REMOVED_EDGES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    version: int
    state: DeletionState
    step: DeletionStep
    delete_time: _timestamp_pb2.Timestamp
    purge_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    attempts: int
    error: str
    archive_uri: str
    removed_edges: int
    history: _containers.RepeatedCompositeFieldContainer[DeletionEvent]
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[DeletionState, str]] = ..., step: _Optional[_Union[DeletionStep, str]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[int] = ..., error: _Optional[str] = ..., archive_uri: _Optional[str] = ..., removed_edges: _Optional[int] = ..., history: _Optional[_Iterable[_Union[DeletionEvent, _Mapping]]] = ...) -> None: ...

class DeletionEvent(_message.Message):
    __slots__ = ("time", "state", "step", "message")
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    state: DeletionState
    step: DeletionStep
    message: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[DeletionState, str]] = ..., step: _Optional[_Union[DeletionStep, str]] = ..., message: _Optional[str] = ...) -> None: ...

class QueueDeletionRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class QueueDeletionResponse(_message.Message):
    __slots__ = ("deletion",)
    DELETION_FIELD_NUMBER: _ClassVar[int]
    deletion: Deletion
    def __init__(self, deletion: _Optional[_Union[Deletion, _Mapping]] = ...) -> None: ...

class GetDeletionRequest(_message.Message):
    __slots__ = ("user_id", "node_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ...) -> None: ...

class GetDeletionResponse(_message.Message):
    __slots__ = ("deletion",)
    DELETION_FIELD_NUMBER: _ClassVar[int]
    deletion: Deletion
    def __init__(self, deletion: _Optional[_Union[Deletion, _Mapping]] = ...) -> None: ...

class ListDeletionsRequest(_message.Message):
    __slots__ = ("user_id", "state", "page_size", "page_token", "start_time", "end_time")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    state: DeletionState
    page_size: int
    page_token: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, user_id: _Optional[str] = ..., state: _Optional[_Union[DeletionState, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListDeletionsResponse(_message.Message):
    __slots__ = ("deletions", "next_page_token")
    DELETIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deletions: _containers.RepeatedCompositeFieldContainer[Deletion]
    next_page_token: str
    def __init__(self, deletions: _Optional[_Iterable[_Union[Deletion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetryDeletionRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetryDeletionResponse(_message.Message):
    __slots__ = ("deletion",)
    DELETION_FIELD_NUMBER: _ClassVar[int]
    deletion: Deletion
    def __init__(self, deletion: _Optional[_Union[Deletion, _Mapping]] = ...) -> None: ...

class Erasure(_message.Message):
    __slots__ = ("erasure_id", "user_id", "done", "phase", "removed", "start_time", "end_time", "error", "user_digest")
    class RemovedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    USER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    erasure_id: str
    user_id: str
    done: bool
    phase: str
    removed: _containers.ScalarMap[str, int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    error: str
    user_digest: str
    def __init__(self, erasure_id: _Optional[str] = ..., user_id: _Optional[str] = ..., done: bool = ..., phase: _Optional[str] = ..., removed: _Optional[_Mapping[str, int]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[str] = ..., user_digest: _Optional[str] = ...) -> None: ...

class EraseUserRequest(_message.Message):
    __slots__ = ("user_id", "confirm_user_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    confirm_user_id: str
    def __init__(self, user_id: _Optional[str] = ..., confirm_user_id: _Optional[str] = ...) -> None: ...

class EraseUserResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: Erasure
    def __init__(self, erasure: _Optional[_Union[Erasure, _Mapping]] = ...) -> None: ...

class GetErasureRequest(_message.Message):
    __slots__ = ("erasure_id",)
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    erasure_id: str
    def __init__(self, erasure_id: _Optional[str] = ...) -> None: ...

class GetErasureResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: Erasure
    def __init__(self, erasure: _Optional[_Union[Erasure, _Mapping]] = ...) -> None: ...

class ExportUserRequest(_message.Message):
    __slots__ = ("user_id", "include_deleted")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_DELETED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    include_deleted: bool
    def __init__(self, user_id: _Optional[str] = ..., include_deleted: bool = ...) -> None: ...

class ExportUserResponse(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lines: _Optional[_Iterable[str]] = ...) -> None: ...

class ReconcileUserRequest(_message.Message):
    __slots__ = ("user_id", "dry_run", "max_rate")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    MAX_RATE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    dry_run: bool
    max_rate: int
    def __init__(self, user_id: _Optional[str] = ..., dry_run: bool = ..., max_rate: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("kind", "node_id", "detail", "repaired")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    kind: str
    node_id: str
    detail: str
    repaired: bool
    def __init__(self, kind: _Optional[str] = ..., node_id: _Optional[str] = ..., detail: _Optional[str] = ..., repaired: bool = ...) -> None: ...

class ReconcileUserResponse(_message.Message):
    __slots__ = ("findings", "report")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    report: ReconcileReport
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., report: _Optional[_Union[ReconcileReport, _Mapping]] = ...) -> None: ...

class ReconcileReport(_message.Message):
    __slots__ = ("notes", "edges", "index_entries", "found", "repaired", "end_time")
    class FoundEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class RepairedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NOTES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    INDEX_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    notes: int
    edges: int
    index_entries: int
    found: _containers.ScalarMap[str, int]
    repaired: _containers.ScalarMap[str, int]
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, notes: _Optional[int] = ..., edges: _Optional[int] = ..., index_entries: _Optional[int] = ..., found: _Optional[_Mapping[str, int]] = ..., repaired: _Optional[_Mapping[str, int]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
