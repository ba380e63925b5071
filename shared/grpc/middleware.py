"""What stands around every method, composed once at start-up: limit > log > errors > deadline > middleware > servicer.

There is no gRPC interceptor here: each one costs a tenth of the throughput, for all calls (docs/adr/0002). Instead each
method becomes one function that takes the request's bytes and returns the response's, and tracing is a second function
around it that only recorded calls go through.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from shared import telemetry
from shared.config import ServerConfig
from shared.errors import Brain2Error, DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted, Unavailable
from shared.grpc import deadline, status

log = logging.getLogger("brain2.rpc")

Context = grpc.aio.ServicerContext[Any, Any]
# Unary: (request, context) -> awaitable of a message or its bytes. Server stream: -> async iterator of those.
Handler = Callable[[Any, Context], Any]
# The answer to a request's bytes, if it is at hand; it must not wait for anything, nor fail.
Ready = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method as its descriptor has it. raw: the servicer wants the request's bytes, not the message."""

    service: str
    name: str
    request_type: type[Message]
    client_streaming: bool = False
    server_streaming: bool = False
    raw: bool = False

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"

    @property
    def subscription(self) -> bool:
        """A stream without an end of its own; told by its name, as all of ours are."""
        return self.server_streaming and self.name.startswith("Watch")


# Wraps the servicer's method once, at start-up: authentication, rate limits. It raises shared.errors to refuse a call.
Middleware = Callable[[MethodInfo, Handler], Handler]

# Codes that say the server is at fault (OpenTelemetry's RPC conventions); the others are answers.
_SERVER_FAULTS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
)
_BUSY_SECONDS = 0.2
_RESUME_SECONDS = 0.1
# A drain serves on until no call has begun for this long.
_QUIET_SECONDS = 0.1


class _ShuttingDown(Unavailable):
    """Our own SHUTTING_DOWN; one that a peer answered has the same reason and another class."""

    def __init__(self) -> None:
        super().__init__("this process is stopping", reason=status.SHUTTING_DOWN, retry_after=_RESUME_SECONDS)


class Guard:
    """What all methods of a server share: who is being served, for how long, and how a failure is answered."""

    def __init__(self, settings: ServerConfig) -> None:
        self.limit = settings.max_concurrent_rpcs
        self.max_bytes = settings.max_message_bytes
        self.default_deadline = settings.default_deadline_seconds
        # The level is fixed at start-up, so whether each call is logged is too.
        self.log_level = logging.DEBUG if log.isEnabledFor(logging.DEBUG) else logging.INFO
        self.log_after = 0.0 if self.log_level == logging.DEBUG else settings.slow_call_seconds
        self.calls: dict[Context, tuple[asyncio.Task[Any] | None, float, bool]] = {}
        self._overdue: set[Context] = set()
        # When the latest call began, on the monotonic clock.
        self.latest = 0.0
        self._draining = asyncio.Event()
        # Subscriptions that wait for something to say (and aren't just sending it).
        self._waiting: dict[Context, asyncio.Task[Any]] = {}

    async def watch(self) -> None:
        """End calls without a deadline after the default one; one loop for all, since a timer each costs each call."""
        while True:
            await asyncio.sleep(min(self.default_deadline / 4, 1.0))
            self.expire(monotonic())

    def expire(self, now: float) -> None:
        """Cancel the unary calls that have no deadline of their own and began more than the default one ago."""
        self._overdue &= self.calls.keys()
        for context, (task, started, streaming) in list(self.calls.items()):
            if streaming or task is None or context in self._overdue or now - started < self.default_deadline:
                continue
            if context.time_remaining() is None:
                self._overdue.add(context)
                task.cancel()

    @property
    def draining(self) -> bool:
        """Whether the drain has begun."""
        return self._draining.is_set()

    async def drain(self, at_most: float) -> None:
        """End subscriptions, refuse new ones; return when other calls have stopped coming, or after `at_most` s."""
        self._draining.set()
        for task in self._waiting.values():
            task.cancel()
        began = now = monotonic()
        while now - began < at_most and now - max(began, self.latest) < _QUIET_SECONDS:
            await asyncio.sleep(min(_QUIET_SECONDS / 10, at_most))
            now = monotonic()

    async def until_drain(self, context: Context, responses: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
        """The answers of a subscription until the drain begins; then SHUTTING_DOWN, so that it resumes elsewhere."""
        task = asyncio.current_task()
        assert task is not None  # gRPC serves each call in a task of its own
        async with contextlib.aclosing(responses):
            while not self._draining.is_set():
                self._waiting[context] = task
                try:
                    response = await anext(responses)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    # By drain(), and not by the caller going away as well.
                    if not self._draining.is_set() or task.uncancel():
                        raise
                    break
                finally:
                    del self._waiting[context]
                yield response
            raise _ShuttingDown

    def busy(self, info: MethodInfo, context: Context) -> None:
        """Answer that there are too many calls already."""
        error = ResourceExhausted(
            f"{self.limit} calls are being served already", reason="SERVER_BUSY", retry_after=_BUSY_SECONDS
        )
        _answer(context, error)
        log.debug("rpc refused", extra={"rpc": info.path, "code": error.kind, "reason": error.reason})

    def failed(self, info: MethodInfo, context: Context, error: BaseException) -> None:
        """Answer an exception that a method raised; re-raise what isn't ours to answer (cancellation, abort)."""
        if isinstance(error, asyncio.CancelledError):
            error = self._cancelled(info, context, error)
        elif isinstance(error, TimeoutError):
            error = _timed_out(info, context, error)
        elif isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
            raise error
        if not isinstance(error, Brain2Error) or isinstance(error, Internal):
            error = _defect(info, error)
        elif error.reason in status.NOT_BEGUN and not isinstance(error, _ShuttingDown):
            # A peer's call wasn't begun. Ours was: handed on, the reason would have our caller repeat a write.
            error = Unavailable(error.message, metadata=error.metadata, retry_after=error.retry_after)
        _answer(context, error)
        log.info("rpc failed", extra={"rpc": info.path, "code": error.kind, "reason": error.reason, "why": str(error)})

    def _cancelled(self, info: MethodInfo, context: Context, error: asyncio.CancelledError) -> Brain2Error:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            # Not this call was cancelled but something that it waited for; without an answer the caller would hang.
            log.warning("a call waited for work that was cancelled", extra={"rpc": info.path}, exc_info=error)
            return Unavailable("work that the call needs was cancelled", reason="WORK_CANCELLED")
        if context not in self._overdue:
            _gone(context)
            raise error
        task.uncancel()
        return DeadlineExceeded(f"no answer within the default of {self.default_deadline:g} s")

    def finished(self, info: MethodInfo, context: Context, seconds: float) -> None:
        """Log a call that took long (or, at DEBUG, any)."""
        extra = {"rpc": info.path, "code": _outcome(context), "ms": round(seconds * 1000, 3)}
        log.log(self.log_level, "rpc done", extra=extra)


def unary(
    info: MethodInfo, handler: Handler, guard: Guard, ready: Ready | None = None
) -> Callable[[Any, Context], Awaitable[bytes]]:
    """A unary answer from request bytes (or an iterator of them) to response bytes. This is the hot path."""
    parse = _parser(info)
    calls, limit, max_bytes, log_after = guard.calls, guard.limit, guard.max_bytes, guard.log_after
    set_current, current_task = deadline.current.set, asyncio.current_task

    async def serve(request: Any, context: Context) -> bytes:
        if len(calls) >= limit:
            guard.busy(info, context)
            return b""
        # Never reset: gRPC runs each call in a task of its own, whose context dies with it.
        set_current(context)
        guard.latest = started = monotonic()
        calls[context] = (current_task(), started, False)
        try:
            response = await handler(parse(request), context)
            sent: bytes = response if type(response) is bytes else response.SerializeToString()
            if len(sent) > max_bytes:
                raise _too_large(len(sent), max_bytes)
            return sent
        except BaseException as error:
            guard.failed(info, context, error)
            return b""
        finally:
            del calls[context]
            if (seconds := monotonic() - started) >= log_after:
                guard.finished(info, context, seconds)

    if ready is None:
        return serve

    async def serve_at_hand(request: bytes, context: Context) -> bytes:
        # Nothing waits, so there is nothing to limit, to end in time or to log as slow.
        answer = ready(request)
        if answer is None or len(answer) > max_bytes:
            return await serve(request, context)
        guard.latest = monotonic()
        return answer

    return serve_at_hand


def with_ready(ready: Ready, handler: Handler) -> Handler:
    """The same behind middleware, which has to see every call."""

    async def handle(request: bytes, context: Context) -> Any:
        answer = ready(request)
        return await handler(request, context) if answer is None else answer

    return handle


def stream(info: MethodInfo, handler: Handler, guard: Guard) -> Callable[[Any, Context], AsyncIterator[bytes]]:
    """The same for a stream of answers. Streams without a deadline may stay open: subscribers want that."""
    parse = _parser(info)

    async def serve(request: Any, context: Context) -> AsyncIterator[bytes]:
        if len(guard.calls) >= guard.limit:
            guard.busy(info, context)
            return
        deadline.current.set(context)
        guard.latest = started = monotonic()
        guard.calls[context] = (asyncio.current_task(), started, True)
        try:
            responses = handler(parse(request), context)
            if info.subscription:
                responses = guard.until_drain(context, responses)
            async with contextlib.aclosing(responses):
                async for response in responses:
                    sent = response if type(response) is bytes else response.SerializeToString()
                    if len(sent) > guard.max_bytes:
                        raise _too_large(len(sent), guard.max_bytes)
                    yield sent
        except GeneratorExit:
            _gone(context)
            raise
        except BaseException as error:
            guard.failed(info, context, error)
        finally:
            del guard.calls[context]
            if guard.log_level == logging.DEBUG:
                guard.finished(info, context, monotonic() - started)

    return serve


def traced_unary(info: MethodInfo, serve: Callable[[Any, Context], Awaitable[bytes]]) -> Handler:
    """The same call inside a server span; the choice which calls come here is made in server.py, by the headers."""

    async def serve_traced(request: Any, context: Context) -> bytes:
        span = _server_span(info, context)
        try:
            return await serve(request, context)
        finally:
            _end(span, context)

    return serve_traced


def traced_stream(info: MethodInfo, serve: Callable[[Any, Context], AsyncIterator[bytes]]) -> Handler:
    """As traced_unary, for a stream of answers."""

    async def serve_traced(request: Any, context: Context) -> AsyncIterator[bytes]:
        span = _server_span(info, context)
        try:
            async for response in serve(request, context):
                yield response
        finally:
            _end(span, context)

    return serve_traced


def _server_span(info: MethodInfo, context: Context) -> Span:
    headers = dict(context.invocation_metadata() or ())
    span = telemetry.start(
        info.path[1:],
        SpanKind.SERVER,
        traceparent=str(headers.get("traceparent", "")),
        tracestate=str(headers.get("tracestate", "")),
        attributes={"rpc.system.name": "grpc", "rpc.method": info.path[1:]},
    )
    # Not detached: the task that serves this call ends with it.
    otel_context.attach(trace.set_span_in_context(span))
    return span


def _end(span: Span, context: Context) -> None:
    code = _outcome(context)
    span.set_attribute("rpc.response.status_code", code)
    if code in _SERVER_FAULTS:
        span.set_attribute("error.type", code)
        span.set_status(Status(StatusCode.ERROR, context.details() or None))
    span.end()


def _outcome(context: Context) -> str:
    code: grpc.StatusCode | None = context.code()
    return "OK" if code is None else code.name


def _gone(context: Context) -> None:
    # Nobody hears this any more, but the log and the span read it.
    late = context.time_remaining() == 0
    context.set_code(grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED)


def _parser(info: MethodInfo) -> Callable[[Any], Any]:
    decode = info.request_type.FromString

    def parse(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            raise InvalidArgument(
                f"the request is not a {info.request_type.DESCRIPTOR.full_name}", reason="MALFORMED_REQUEST"
            ) from None

    async def parse_each(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            yield data if info.raw else parse(data)

    if info.client_streaming:
        return parse_each
    return (lambda data: data) if info.raw else parse


def _answer(context: Context, error: Brain2Error) -> None:
    context.set_code(status.CODES.get(error.kind, grpc.StatusCode.INTERNAL))
    context.set_details(status.details(error))
    packed = (status.DETAILS_KEY, status.to_status(error).SerializeToString())
    context.set_trailing_metadata((*(context.trailing_metadata() or ()), packed))


def _timed_out(info: MethodInfo, context: Context, error: TimeoutError) -> Brain2Error:
    left: float | None = context.time_remaining()
    if left is not None and left <= 0:
        return DeadlineExceeded("the deadline of the call has passed")
    # Adapters translate their time-outs; one that gets here is still better answered as what it is.
    log.warning("a time-out reached the server untranslated", extra={"rpc": info.path}, exc_info=error)
    return Unavailable("something that the call needs didn't answer in time", reason="DEPENDENCY_TIMEOUT")


def _defect(info: MethodInfo, error: BaseException) -> Internal:
    error_id = secrets.token_hex(8)
    log.error("rpc crashed", extra={"rpc": info.path, "error_id": error_id}, exc_info=error)
    trace.get_current_span().record_exception(error)
    # What went wrong may hold somebody's data, so the caller gets the id and the log gets the rest.
    return Internal(f"internal error {error_id}", metadata={"error_id": error_id})


def _too_large(size: int, allowed: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"the response has {size} bytes, {allowed} are allowed: ask for a smaller page", reason="RESPONSE_TOO_LARGE"
    )
