"""The errors of a call: one class for each gRPC status code, with its reason and the wrong fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong: its path in the proto ("node.title"), and what is allowed."""

    field: str
    description: str


class Brain2Error(Exception):
    """A call that failed. Each subclass is a gRPC status code.

    message: a sentence for a person.
    reason: stable text for a program, "NODE_NOT_FOUND"; the name of the code where a service gave no reason.
    violations: the fields that are wrong.
    metadata: more facts for a program.
    retry_after: seconds to wait before a retry, where the service states them.
    transient: whether the same call may succeed later although nothing was changed. A write is repeated with the
        request_id that it had, so that it is done once.
    """

    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = violations
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r})"


class InvalidArgument(Brain2Error):
    """The request is wrong, whatever the state is; violations names the fields."""


class NotFound(Brain2Error):
    """It does not exist, or it is another user's."""


class AlreadyExists(Brain2Error):
    """The id is taken."""


class FailedPrecondition(Brain2Error):
    """The state does not allow it."""


class Aborted(Brain2Error):
    """Another write came first: read again, decide again."""

    transient = True


class OutOfRange(Brain2Error):
    """The position no longer exists: start again from the beginning."""


class PermissionDenied(Brain2Error):
    """The token does not allow it."""


class Unauthenticated(Brain2Error):
    """There is no token, or it is not valid."""


class ResourceExhausted(Brain2Error):
    """There are too many calls, or a message is too large."""

    transient = True


class Unavailable(Brain2Error):
    """A service does not answer. Repetitions were tried already; the work may have been done."""

    transient = True


class DeadlineExceeded(Brain2Error):
    """The time of the call is over. The work may have been done."""

    transient = True


class Cancelled(Brain2Error):
    """The call was cancelled, or the client was closed."""

    transient = True


class Unimplemented(Brain2Error):
    """The service does not have this RPC."""


class DataLoss(Brain2Error):
    """Stored data can't be read."""


class Internal(Brain2Error):
    """A defect of the service; metadata["error_id"] identifies it in the log."""


_CLASSES: dict[str, type[Brain2Error]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "ABORTED": Aborted,
    "OUT_OF_RANGE": OutOfRange,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": Unauthenticated,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "UNIMPLEMENTED": Unimplemented,
    "DATA_LOSS": DataLoss,
    "INTERNAL": Internal,
}


# The numbers of google.rpc.Code, which results of a batch have.
_BY_NUMBER = {code.value[0]: _CLASSES[code.name] for code in grpc.StatusCode if code.name in _CLASSES}


def from_result(code: int, reason: str, message: str) -> Brain2Error | None:
    """The error of one item of a batch; None when its code is 0 (OK)."""
    return _BY_NUMBER.get(code, Internal)(message, reason=reason) if code else None


def from_rpc(error: grpc.aio.AioRpcError) -> Brain2Error:
    """The error of a call as one of the classes above. Details that can't be read are left out."""
    code = error.code().name
    packed = next((value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"), None)
    status = Status()
    if isinstance(packed, bytes):
        try:
            status.ParseFromString(packed)
        except DecodeError:
            status.Clear()
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    retry_after: float | None = None
    for detail in status.details:
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        elif not detail.Unpack(info):
            detail.Unpack(bad)
    return _CLASSES.get(code, Internal)(
        status.message or error.details() or code,
        reason=info.reason or code,
        violations=tuple(Violation(each.field, each.description) for each in bad.field_violations),
        metadata=dict(info.metadata),
        retry_after=retry_after,
    )
