"""Failed calls as the JSON of Connect's protocol: {"code", "message", "details"} with the matching HTTP status."""

import base64
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

DOMAIN = "brain2"
# https://connectrpc.com/docs/protocol/#error-codes
_HTTP = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}


@dataclass(eq=False)
class CallError(Exception):
    """A call that failed, here or in a service.

    code: the name in Connect's protocol, "not_found".
    message: a sentence for a person.
    details: messages of google.rpc.
    """

    code: str
    message: str
    details: tuple[PackedAny, ...] = ()
    http: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.http or _HTTP[self.code]

    def json(self) -> dict[str, Any]:
        """The error as Connect's JSON. debug of a detail is the same message, readable."""
        found: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            found["details"] = [_detail(detail) for detail in self.details]
        return found

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before a retry, where the service states them."""
        for detail in self.details:
            retry = RetryInfo()
            if detail.Unpack(retry):
                return float(retry.retry_delay.ToTimedelta().total_seconds())
        return None


def refusal(code: str, message: str, reason: str, *, field: str = "", http: int | None = None) -> CallError:
    """An error of the console itself, with the same details as one of a service."""
    details = [_packed(ErrorInfo(reason=reason, domain=DOMAIN))]
    if field:
        bad = BadRequest()
        bad.field_violations.add(field=field, description=message)
        details.append(_packed(bad))
    return CallError(code, message, tuple(details), http)


def from_rpc(error: grpc.aio.AioRpcError) -> CallError:
    """The error of a service with its details. A code that gRPC does not define is unknown."""
    name = error.code().name.lower()
    code = "canceled" if name == "cancelled" else name
    packed = next((value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"), None)
    status = Status()
    if isinstance(packed, bytes):
        try:
            status.ParseFromString(packed)
        except DecodeError:
            status.Clear()
    return CallError(code, status.message or error.details() or name, tuple(status.details))


def _packed(message: Any) -> PackedAny:
    packed = PackedAny()
    packed.Pack(message)
    return packed


def _detail(detail: PackedAny) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": detail.type_url.rpartition("/")[2],
        "value": base64.b64encode(detail.value).decode().rstrip("="),
    }
    try:
        debug = json_format.MessageToDict(detail)
    except (TypeError, json_format.Error):  # a message that is not known here: its bytes are in value
        return found
    debug.pop("@type", None)
    return {**found, "debug": debug}
