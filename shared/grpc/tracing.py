"""Spans of gRPC calls, made by the interceptors of opentelemetry-instrumentation-grpc, for recorded calls only.

The interceptors are not installed in gRPC, because there every call would go through them (docs/adr/0002). The server
wraps each method once, at start-up, with record_server(), and calls that version for recorded calls. The client sends
with record_unary() and record_stream() while the current span is recorded, on the same connection as all other calls.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

import grpc
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN, Span

from shared import request_id, telemetry
from shared.grpc.middleware import Context, Serve
from shared.telemetry import server_attributes

# The attribute in which the instrumentation keeps the number of the status code.
STATUS_CODE = "rpc.grpc.status_code"
# Makes a call: (request, timeout in seconds, metadata) -> the call of gRPC.
Send = Callable[..., Any]


class _CallDetails(NamedTuple):
    """The part of grpc.HandlerCallDetails that the server interceptor reads."""

    method: str


async def record_server(path: str, serve: Serve) -> Serve:
    """The method inside a server span. Streams are treated alike, since they too are coroutines (middleware.stream)."""

    async def serve_in_span(request: bytes, context: Context) -> Any:
        span = trace.get_current_span()
        try:
            return await serve(request, context)
        finally:
            code: grpc.StatusCode | None = context.code()
            span.set_attributes(
                {
                    "rpc.system.name": "grpc",
                    "rpc.response.status_code": "OK" if code is None else code.name,
                    "brain2.request_id": str(request_id.current.get() or ""),
                }
            )

    async def find(_: _CallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(serve_in_span)

    interceptor = aio_server_interceptor(tracer_provider=telemetry.active().provider)  # type: ignore[no-untyped-call]
    recorded: Serve = (await interceptor.intercept_service(find, _CallDetails(path))).unary_unary
    return recorded


async def record_unary(send: Send, path: str, request: Any, timeout: float | None, target: str) -> Any:
    """Make a unary call to a target inside a client span, and return its response."""
    attempt = _Attempt(send, target)
    interceptor, _ = _client_interceptors(telemetry.active().provider)
    try:
        return await (await interceptor.intercept_unary_unary(attempt.unary, _details(path, timeout), request))
    except asyncio.CancelledError:
        attempt.cancel()
        attempt.end_span()
        raise


async def record_stream(send: Send, path: str, request: Any, timeout: float | None, target: str) -> AsyncGenerator[Any]:
    """Make a call to a target that is answered with a stream inside a client span, and yield its responses."""
    attempt = _Attempt(send, target)
    _, interceptor = _client_interceptors(telemetry.active().provider)
    responses = await interceptor.intercept_unary_stream(attempt.stream, _details(path, timeout), request)
    async with contextlib.aclosing(responses):
        try:
            async for response in responses:
                yield response
        except GeneratorExit:
            attempt.cancel()
            raise


class _Attempt:
    """The continuation of a client interceptor: it makes the call, and marks its span when the call is cancelled.

    The interceptors handle no asyncio.CancelledError: the span of a cancelled unary call would never end, that of a
    cancelled stream would show the code OK.
    """

    def __init__(self, send: Send, target: str) -> None:
        self._send = send
        self._target = target
        self._call: Any = None
        self._span: Span = INVALID_SPAN

    async def unary(self, details: grpc.aio.ClientCallDetails, request: Any) -> Any:
        self._span = trace.get_current_span()
        self._span.set_attributes({"rpc.system.name": "grpc", **server_attributes(self._target)})
        self._call = self._send(request, timeout=details.timeout, metadata=details.metadata)
        return self._call

    async def stream(self, details: grpc.aio.ClientCallDetails, request: Any) -> AsyncGenerator[Any]:
        return self._responses(await self.unary(details, request))

    async def _responses(self, call: Any) -> AsyncGenerator[Any]:
        try:
            async for response in call:
                yield response
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Cancel the call, and set the status code of its span if that hasn't ended."""
        self._call.cancel()
        if self._span.is_recording():
            self._span.set_attribute(STATUS_CODE, grpc.StatusCode.CANCELLED.value[0])

    def end_span(self) -> None:
        """End the span if the interceptor hasn't."""
        if self._span.is_recording():
            self._span.end()


def _details(path: str, timeout: float | None) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*request_id.inject().items())
    return grpc.aio.ClientCallDetails(path, timeout, metadata, None, None)


@functools.lru_cache(maxsize=1)
def _client_interceptors(provider: TracerProvider) -> tuple[Any, Any]:
    unary, stream, *_ = aio_client_interceptors(tracer_provider=provider)  # type: ignore[no-untyped-call]
    return unary, stream
