"""Translates errors to gRPC statuses and back, without loss.

The details are a google.rpc.Status in the trailer grpc-status-details-bin (https://google.aip.dev/193): ErrorInfo
{reason, domain "brain2", metadata}, BadRequest with the violations (QuotaFailure where a limit is reached), and
RetryInfo. grpcio-status was considered: its helpers serve context.abort_with_status, which marks every span with an
AbortError, and don't cut what is too long.
"""

import re
from collections.abc import Mapping

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    BadRequest,
    ErrorInfo,
    QuotaFailure,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from shared.errors import KINDS, Brain2Error, FieldViolation, Internal, ResourceExhausted, Unavailable

DOMAIN = "brain2"
# UNAVAILABLE for one of these reasons means that no handler has seen the call, so even a write may be repeated. The
# server sends the first; the client derives the second. A server never passes them on to its own caller, since its own
# call was begun (middleware.py).
SHUTTING_DOWN = "SHUTTING_DOWN"
NOT_CONNECTED = "NOT_CONNECTED"
NOT_BEGUN = frozenset((SHUTTING_DOWN, NOT_CONNECTED))
DETAILS_KEY = "grpc-status-details-bin"
CODES: Mapping[str, grpc.StatusCode] = {kind: grpc.StatusCode[kind] for kind in KINDS}
# Peers may refuse headers and trailers above 8 KB in all; base64 adds a third to this many bytes.
_MOST_BYTES = 4096
_LONGEST_TEXT = 512
_LONGEST_VALUE = 128
_MOST_METADATA = 12
# An IP address with a port, a name with a port of four digits or more, or a target in the form of gRPC.
_ADDRESS = re.compile(
    r"(?:(?:ipv4|ipv6|dns|unix):\S{1,200}|(?<!\d)\d{1,3}(?:\.\d{1,3}){3}:\d{1,5}|\[[0-9a-f:]{2,40}\]:\d{1,5}"
    r"|(?<![\w.-])[A-Za-z][\w.-]{0,100}:\d{4,5})(?!\d)"
)
# How the text of gRPC's error begins when it had no connection (grpcio 1.78; a test checks it).
_UNSENT = ("failed to connect to all addresses", "connections to all backends failing", "DNS resolution failed")


def to_status(error: Brain2Error) -> Status:
    """The whole error as google.rpc.Status; long parts are cut so that it fits into the trailers."""
    code: int = CODES.get(error.kind, grpc.StatusCode.INTERNAL).value[0]
    status = Status(code=code, message=details(error))
    status.details.append(_any(ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))))
    if error.violations:
        room = _MOST_BYTES - status.ByteSize()
        bad = BadRequest()
        for violation in error.violations:
            bad.field_violations.add(
                field=violation.field[:_LONGEST_VALUE], description=violation.description[:_LONGEST_VALUE]
            )
            if bad.ByteSize() > room:
                del bad.field_violations[-1]
                break
        status.details.append(_any(_quota(bad) if isinstance(error, ResourceExhausted) else bad))
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(max(round(error.retry_after * 1000), 0))
        status.details.append(_any(retry))
    return status


def details(error: Brain2Error) -> str:
    """The message of the error for its caller: cut to 512 characters, and without the addresses of our network."""
    text = error.message[: 4 * _LONGEST_TEXT]
    text = _ADDRESS.sub("(an address)", text) if ":" in text else text
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def from_rpc_error(error: grpc.aio.AioRpcError) -> Brain2Error:
    """The error that the server raised, as the same class; without our details, the class of the status code.

    Two errors without details come from gRPC itself and get a reason of their own: see _of_grpc.
    """
    code = error.code()
    cls = KINDS.get(code.name, Internal)
    packed = next((value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY), None)
    message = error.details() or code.name
    if not isinstance(packed, bytes):
        return _of_grpc(code, message) or cls(message)
    status = Status()
    try:
        status.ParseFromString(packed)
        return _rebuilt(cls, message, status)
    except (DecodeError, ValueError, OverflowError):  # unreadable details must not hide the error itself
        return cls(message)


def _of_grpc(code: grpc.StatusCode, message: str) -> Brain2Error | None:
    # A stopping server ends the calls that arrive while it sends GOAWAY with CANCELLED. The calls that it had begun end
    # in another way (docs/adr/0060), and a call that this process cancels raises CancelledError.
    if code is grpc.StatusCode.CANCELLED:
        return Unavailable("the server was stopping and didn't begin the call", reason=SHUTTING_DOWN)
    if code is grpc.StatusCode.UNAVAILABLE and message.startswith(_UNSENT):
        return Unavailable(message, reason=NOT_CONNECTED)
    return None


def _rebuilt(cls: type[Brain2Error], message: str, status: Status) -> Brain2Error:
    info, bad, retry, quota = ErrorInfo(), BadRequest(), RetryInfo(), QuotaFailure()
    retry_after: float | None = None
    for detail in status.details:
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        elif not detail.Unpack(info) and not detail.Unpack(bad):
            detail.Unpack(quota)
    return cls(
        status.message or message,
        reason=info.reason,
        metadata=dict(info.metadata),
        violations=[
            *(FieldViolation(each.field, each.description) for each in bad.field_violations),
            *(FieldViolation(each.subject, each.description) for each in quota.violations),
        ],
        retry_after=retry_after,
    )


def _quota(bad: BadRequest) -> QuotaFailure:
    """A limit that is reached is no wrong field of the request."""
    quota = QuotaFailure()
    for violation in bad.field_violations:
        quota.violations.add(subject=violation.field, description=violation.description)
    return quota


def _metadata(error: Brain2Error) -> dict[str, str]:
    return {key[:64]: value[:_LONGEST_VALUE] for key, value in list(error.metadata.items())[:_MOST_METADATA]}


def _any(message: ErrorInfo | BadRequest | QuotaFailure | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
