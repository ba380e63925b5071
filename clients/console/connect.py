"""Every RPC over HTTP in Connect's protocol (https://connectrpc.com/docs/protocol): JSON or protobuf in and out.

A unary RPC is a POST of its request. A read may also be a GET with ?encoding=json&message=..., as in Connect. A stream
has three forms: Connect's envelopes for application/connect+json (or +proto); and for clients without a Connect
library, as curl and browsers, application/json in and newline-separated JSON or, by the Accept header,
text/event-stream out.
"""

import asyncio
import base64
import binascii
import json
import math
import re
import secrets
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from clients.console.errors import CallError, from_rpc, refusal
from clients.console.methods import Method, methods
from clients.console.targets import Targets

# A message of the services has at most 4 MiB; the JSON of the same message may be longer. Only a batch is that large: a
# single note has 256 KiB of text, which is 1.5 MiB when each character is escaped.
MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_SINGLE_BYTES = 2 * 1024 * 1024
# Each value of JSON costs some 10 microseconds, however short it is, and the largest batch has about 40,000.
_MOST_VALUES = 100_000
# A string, or what begins or separates values.
_JSON_PARTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.DOTALL)
_UNARY_SECONDS = 30.0
# A body that comes more slowly keeps a place from others, of which the server has a limited number.
BODY_SECONDS = 30.0
# JSON of this many bytes or more is converted in a thread, so that other calls go on meanwhile.
_LARGE_BYTES = 64 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PASSED_ON = ("authorization", "traceparent", "tracestate")
_END_OF_STREAM = 0b10


@dataclass(frozen=True, slots=True)
class _Form:
    """How a body is written. enveloped: as one of Connect's streams."""

    json: bool
    enveloped: bool

    @property
    def content_type(self) -> str:
        encoding = "json" if self.json else "proto"
        return f"application/connect+{encoding}" if self.enveloped else f"application/{encoding}"


_FORMS = {form.content_type: form for form in (_Form(j, e) for j in (True, False) for e in (True, False))}


class Connect:
    """The HTTP side of the RPCs."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets

    def routes(self) -> list[Route]:
        """One route for each RPC; a read also answers GET."""
        return [
            Route(method.path, self._endpoint(method), methods=["POST", "GET"] if method.traits.reads else ["POST"])
            for method in methods().values()
        ]

    def _endpoint(self, method: Method) -> "_Endpoint":
        return _Endpoint(method, self._targets)


class _Endpoint:
    # Starlette takes an instance for a bare ASGI application, so the call of it is one.
    def __init__(self, method: Method, targets: Targets) -> None:
        self._method = method
        self._targets = targets

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        request = Request(scope, receive, send)  # type: ignore[arg-type]
        call_id = request_id(request)
        try:
            response = await self._answer(request, call_id)
        except CallError as error:
            response = failure(error)
        response.headers["x-request-id"] = call_id
        await response(scope, receive, send)  # type: ignore[arg-type]

    async def _answer(self, request: Request, call_id: str) -> Response:
        self._targets.check(self._method)
        form = _form(request)
        if self._method.streams and not (form.enveloped or form.json):
            raise _bad_content_type("a stream in protobuf needs application/connect+proto")
        if form.enveloped and not self._method.streams:
            raise _bad_content_type(f"{self._method.path} is unary: use application/json or application/proto")
        body = await _body(request, form, most_bytes(self._method))
        data = await _converted(len(body), lambda: _request_bytes(self._method, body, form))
        timeout = _timeout(request)
        metadata = metadata_of(request, call_id)
        if self._method.streams:
            answers = self._targets.stream(self._method, data, metadata, timeout)
            return await self._stream(answers, form, request.headers.get("accept", ""))
        limit = _UNARY_SECONDS if timeout is None else timeout
        try:
            answer = await self._targets.unary(self._method, data, metadata, limit)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None
        if not form.json:
            return Response(answer, media_type=form.content_type)
        text = await _converted(len(answer), lambda: _json(self._method, answer))
        return Response(text, media_type=form.content_type)

    async def _stream(self, answers: AsyncIterator[bytes], form: _Form, accept: str) -> Response:
        plain = _Events() if "text/event-stream" in accept else _Lines()
        writer = _Envelopes(form) if form.enveloped else plain
        return StreamingResponse(self._written(answers, writer), media_type=writer.media_type)

    async def _written(self, answers: AsyncIterator[bytes], writer: "_Writer") -> AsyncIterator[bytes]:
        try:
            # The head of the answer is sent at once: a subscription may have nothing to answer for minutes.
            yield writer.begin()
            async for answer in answers:
                if not writer.json:
                    yield writer.message(answer)
                    continue
                text = await _converted(len(answer), lambda answer=answer: _json(self._method, answer))  # type: ignore[misc]
                yield writer.message(text)
            yield writer.end(None)
        except CallError as error:
            yield writer.end(error)
        except grpc.aio.AioRpcError as error:
            yield writer.end(from_rpc(error))
        finally:
            await answers.aclose()  # type: ignore[attr-defined]


class _Writer:
    """How the messages of a stream are written into the body."""

    media_type = ""
    json = True

    def begin(self) -> bytes:
        return b""

    def message(self, data: bytes) -> bytes:
        raise NotImplementedError

    def end(self, error: CallError | None) -> bytes:
        """The last part of the body. HTTP's own status was sent long ago, so an error is part of the body."""
        raise NotImplementedError


class _Envelopes(_Writer):
    def __init__(self, form: _Form) -> None:
        self.media_type = form.content_type
        self.json = form.json

    def message(self, data: bytes) -> bytes:
        return struct.pack(">BI", 0, len(data)) + data

    def end(self, error: CallError | None) -> bytes:
        data = json.dumps({} if error is None else {"error": error.json()}).encode()
        return struct.pack(">BI", _END_OF_STREAM, len(data)) + data


class _Lines(_Writer):
    media_type = "application/x-ndjson"

    def message(self, data: bytes) -> bytes:
        return data + b"\n"

    def end(self, error: CallError | None) -> bytes:
        return b"" if error is None else json.dumps({"error": error.json()}).encode() + b"\n"


class _Events(_Writer):
    media_type = "text/event-stream"

    def begin(self) -> bytes:
        return b": open\n\n"

    def message(self, data: bytes) -> bytes:
        return b"data: " + data + b"\n\n"

    def end(self, error: CallError | None) -> bytes:
        if error is None:
            return b"event: end\ndata: {}\n\n"
        return b"event: error\ndata: " + json.dumps(error.json()).encode() + b"\n\n"


def failure(error: CallError) -> Response:
    """A failed call as an answer."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.json(), status_code=error.status, headers=headers)


def request_id(request: Request) -> str:
    """The caller's x-request-id, or a new one. It is passed on to the service and is in the answer."""
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def _bad_content_type(message: str) -> CallError:
    return refusal("invalid_argument", message, "BAD_CONTENT_TYPE", http=415)


def metadata_of(request: Request, call_id: str) -> list[tuple[str, str]]:
    """What is passed on to the service: token, trace and request id. Nothing else of the request is."""
    passed = [(name, request.headers[name]) for name in _PASSED_ON if name in request.headers]
    if any(not value.isascii() or not value.isprintable() for _, value in passed):
        raise refusal("invalid_argument", "a header that is passed on has characters outside of ASCII", "BAD_HEADER")
    return [*passed, ("x-request-id", call_id)]


def _form(request: Request) -> _Form:
    if request.method == "GET":
        encoding = request.query_params.get("encoding", "json")
        if encoding not in ("json", "proto"):
            raise refusal("invalid_argument", "encoding is json or proto", "BAD_ENCODING", http=415)
        return _Form(encoding == "json", False)
    given, _, parameters = request.headers.get("content-type", "").partition(";")
    form = _FORMS.get(given.strip().lower())
    if form is None or parameters.strip().lower() not in ("", "charset=utf-8"):
        raise _bad_content_type(f"Content-Type is one of {', '.join(sorted(_FORMS))}")
    for name in ("content-encoding", "connect-content-encoding"):
        if request.headers.get(name, "identity") != "identity":
            raise refusal("unimplemented", f"{name}: only identity is supported", "BAD_CONTENT_ENCODING")
    return form


def most_bytes(method: Method) -> int:
    """The longest body of the requests of an RPC."""
    fields = method.request.DESCRIPTOR.fields
    batch = any(field.is_repeated and field.message_type is not None for field in fields)
    return MAX_BODY_BYTES if batch else _MAX_SINGLE_BYTES


def has_too_many_values(body: bytes) -> bool:
    """Whether JSON would take seconds to read; found in a time in proportion to its bytes, at most _MOST_VALUES."""
    values = 0
    for found in _JSON_PARTS.finditer(body):
        values += found[0][0] != 0x22
        if values > _MOST_VALUES:
            return True
    return False


async def _body(request: Request, form: _Form, most: int) -> bytes:
    if request.method == "GET":
        return _query_message(request)
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > most:
                    message = f"the body is over {most} bytes"
                    raise refusal("resource_exhausted", message, "REQUEST_TOO_LARGE", http=413)
    except TimeoutError:
        message = f"the body did not come within {BODY_SECONDS:g} s"
        raise refusal("deadline_exceeded", message, "REQUEST_TOO_SLOW", http=408) from None
    except ClientDisconnect:
        raise refusal("canceled", "the client is gone", "CANCELLED") from None
    if not form.enveloped:
        return bytes(found)
    if len(found) < 5 or found[0] != 0 or struct.unpack(">I", found[1:5])[0] != len(found) - 5:
        raise refusal(
            "invalid_argument", "the body is not one uncompressed message in an envelope", "MALFORMED_REQUEST"
        )
    return bytes(found[5:])


def _query_message(request: Request) -> bytes:
    message = request.query_params.get("message", "")
    if request.query_params.get("base64") != "1":
        return message.encode()
    try:
        return base64.b64decode(message + "=" * (-len(message) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise refusal("invalid_argument", "message is not base64", "MALFORMED_REQUEST") from None


def _request_bytes(method: Method, body: bytes, form: _Form) -> bytes:
    """The request in protobuf. One without a request_id gets one, so that the retries of a write do it once."""
    message: Message = method.request()
    try:
        if form.json:
            if has_too_many_values(body):
                raise refusal("resource_exhausted", f"the body has over {_MOST_VALUES} values", "REQUEST_TOO_LARGE",
                              http=413)  # fmt: skip
            json_format.Parse(body.decode() or "{}", message, max_recursion_depth=32)
        else:
            message.ParseFromString(body)
    except UnicodeDecodeError:
        raise refusal("invalid_argument", "the body is not UTF-8", "MALFORMED_REQUEST") from None
    except (json_format.ParseError, DecodeError, RecursionError) as error:
        raise refusal("invalid_argument", f"not a {method.request.DESCRIPTOR.name}: {error}"[:500],
                      "MALFORMED_REQUEST") from None  # fmt: skip
    if "request_id" in method.request.DESCRIPTOR.fields_by_name and not message.request_id:  # type: ignore[attr-defined]
        message.request_id = secrets.token_hex(16)  # type: ignore[attr-defined]
    return message.SerializeToString()


def _json(method: Method, answer: bytes) -> bytes:
    return json_format.MessageToJson(method.response.FromString(answer), indent=None, ensure_ascii=False).encode()


async def _converted(size: int, convert: Callable[[], bytes]) -> bytes:
    return convert() if size < _LARGE_BYTES else await asyncio.to_thread(convert)


def _timeout(request: Request) -> float | None:
    given = request.headers.get("connect-timeout-ms", request.query_params.get("timeout_ms", ""))
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", given) or int(given) == 0:
        raise refusal("invalid_argument", "Connect-Timeout-Ms is a positive number of at most 10 digits", "BAD_TIMEOUT")
    return int(given) / 1000
