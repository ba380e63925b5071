from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Access(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCESS_UNSPECIFIED: _ClassVar[Access]
    ACCESS_PUBLIC: _ClassVar[Access]
    ACCESS_READ: _ClassVar[Access]
    ACCESS_WRITE: _ClassVar[Access]
    ACCESS_ADMIN: _ClassVar[Access]
    ACCESS_INTERNAL: _ClassVar[Access]

class Pattern(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PATTERN_UNSPECIFIED: _ClassVar[Pattern]
    PATTERN_ID: _ClassVar[Pattern]
    PATTERN_USER_ID: _ClassVar[Pattern]
    PATTERN_EDGE_TYPE: _ClassVar[Pattern]
    PATTERN_LINE: _ClassVar[Pattern]
ACCESS_UNSPECIFIED: Access
ACCESS_PUBLIC: Access
ACCESS_READ: Access
ACCESS_WRITE: Access
ACCESS_ADMIN: Access
ACCESS_INTERNAL: Access
PATTERN_UNSPECIFIED: Pattern
PATTERN_ID: Pattern
PATTERN_USER_ID: Pattern
PATTERN_EDGE_TYPE: Pattern
PATTERN_LINE: Pattern
ACCESS_FIELD_NUMBER: _ClassVar[int]
access: _descriptor.FieldDescriptor
SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
subscription: _descriptor.FieldDescriptor
ALL_USERS_FIELD_NUMBER: _ClassVar[int]
all_users: _descriptor.FieldDescriptor
BULK_FIELD_NUMBER: _ClassVar[int]
bulk: _descriptor.FieldDescriptor
FIELD_FIELD_NUMBER: _ClassVar[int]
field: _descriptor.FieldDescriptor

class FieldRules(_message.Message):
    __slots__ = ("required", "allow_empty", "pattern", "min_len", "max_bytes", "min_items", "max_items", "max_total_bytes", "gte", "lte", "finite", "min_nonzero", "whole_seconds", "defined_only", "items_have_results", "unlimited")
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    ALLOW_EMPTY_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    MIN_LEN_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIN_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    GTE_FIELD_NUMBER: _ClassVar[int]
    LTE_FIELD_NUMBER: _ClassVar[int]
    FINITE_FIELD_NUMBER: _ClassVar[int]
    MIN_NONZERO_FIELD_NUMBER: _ClassVar[int]
    WHOLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DEFINED_ONLY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_HAVE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    UNLIMITED_FIELD_NUMBER: _ClassVar[int]
    required: bool
    allow_empty: bool
    pattern: Pattern
    min_len: int
    max_bytes: int
    min_items: int
    max_items: int
    max_total_bytes: int
    gte: float
    lte: float
    finite: bool
    min_nonzero: float
    whole_seconds: bool
    defined_only: bool
    items_have_results: bool
    unlimited: bool
    def __init__(self, required: bool = ..., allow_empty: bool = ..., pattern: _Optional[_Union[Pattern, str]] = ..., min_len: _Optional[int] = ..., max_bytes: _Optional[int] = ..., min_items: _Optional[int] = ..., max_items: _Optional[int] = ..., max_total_bytes: _Optional[int] = ..., gte: _Optional[float] = ..., lte: _Optional[float] = ..., finite: bool = ..., min_nonzero: _Optional[float] = ..., whole_seconds: bool = ..., defined_only: bool = ..., items_have_results: bool = ..., unlimited: bool = ...) -> None: ...
