import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CleanupCompleted(_message.Message):
    __slots__ = ("removed_edges", "archive_uri", "completed_time")
    REMOVED_EDGES_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_URI_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_TIME_FIELD_NUMBER: _ClassVar[int]
    removed_edges: int
    archive_uri: str
    completed_time: _timestamp_pb2.Timestamp
    def __init__(self, removed_edges: _Optional[int] = ..., archive_uri: _Optional[str] = ..., completed_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
