"""Enforces the limits that the .proto states for the fields of a request, once a call, just before the servicer.

It stands inside the other middleware: authentication may complete a request first. A method that takes the request's
bytes (raw) decodes and checks by decode() itself, so that its fast path stays free of it.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from shared.errors import FieldViolation, InvalidArgument, invalid_request
from shared.grpc.middleware import Context, Handler, MethodInfo
from shared.grpc.validation import Found, validator

M = TypeVar("M", bound=Message)


def enforce(info: MethodInfo, handler: Handler) -> Handler:
    """The handler behind the check of its request. It returns what the handler returns, so it costs no coroutine."""
    if info.raw:
        return handler
    check = validator(info.request_type.DESCRIPTOR)

    def handle(request: Any, context: Context) -> Any:
        if found := check(request):
            raise refused(found)
        return handler(request, context)

    return handle


def decode(request_type: type[M], data: bytes) -> M:
    """The message of a raw request, checked. InvalidArgument: it isn't one (MALFORMED_REQUEST), or breaks a limit."""
    try:
        message = request_type.FromString(data)
    except DecodeError:
        raise InvalidArgument(
            f"the request is not a {request_type.DESCRIPTOR.full_name}", reason="MALFORMED_REQUEST"
        ) from None
    if found := validator(request_type.DESCRIPTOR)(message):
        raise refused(found)
    return message


def item_errors(items: Iterable[Message], path: str) -> dict[int, InvalidArgument]:
    """The errors of a batch whose items have results of their own, by their places in it.

    path: the name of an item in the errors, such as "node"; "{}" in it stands for the item's place.
    """
    errors = {}
    for index, item in enumerate(items):
        if found := validator(item.DESCRIPTOR)(item):
            errors[index] = refused([(f"{path.format(index)}.{name}", why) for name, why in found])
    return errors


def refused(found: list[Found]) -> InvalidArgument:
    """The error that names every wrong field."""
    return invalid_request([FieldViolation(path, why) for path, why in found])
