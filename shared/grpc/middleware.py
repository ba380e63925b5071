"""The chain around every method, composed once at start-up: limit > log > errors > deadline > middleware > servicer.

Each method becomes one function that takes the request's bytes and returns the response's. gRPC's own interceptors were
measured and are not used for all calls: each one costs a tenth of the throughput (docs/adr/0002). Checks that are cheap
and may refuse a call (the limit, authentication) stand first, so that a refused call costs little. tracing.py
puts the server interceptor of opentelemetry-instrumentation-grpc around these functions, for recorded calls only.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from opentelemetry import trace

from protos.options.rules import MethodTraits
from shared.config import ServerConfig
from shared.errors import Brain2Error, DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted, Unavailable
from shared.grpc import deadline, status
from shared.grpc.admission import LARGE, Admission, Lane, busy

log = logging.getLogger("brain2.rpc")

Context = grpc.aio.ServicerContext[Any, Any]
# Unary: (request, context) -> awaitable of a message or its bytes. Server stream: -> async iterator of those.
Handler = Callable[[Any, Context], Any]
# Finds the answer to a request's bytes in memory, or returns None. It must neither wait nor raise.
FastPath = Callable[[bytes], bytes | None]
# A method as gRPC calls it: (request bytes, context) -> response bytes. A stream writes its answers to the context.
Serve = Callable[[bytes, Context], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method as its descriptor describes it.

    traits: what the options in the .proto state: the scope that a caller needs, and whether it is a subscription.
    raw: the servicer takes the request's bytes, not the message.
    """

    service: str
    name: str
    request_type: type[Message]
    traits: MethodTraits
    server_streaming: bool = False
    raw: bool = False

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


# Wraps the servicer's method once, at start-up: authentication, rate limits. It raises shared.errors to refuse a call.
Middleware = Callable[[MethodInfo, Handler], Handler]

_RESUME_SECONDS = 0.1
# A drain serves on until no call has begun for this long.
_QUIET_SECONDS = 0.1


class _ShuttingDown(Unavailable):
    """SHUTTING_DOWN of this process; the error that a peer answered has the same reason and another class."""

    def __init__(self) -> None:
        super().__init__("this process is stopping", reason=status.SHUTTING_DOWN, retry_after=_RESUME_SECONDS)


class ServerCalls:
    """The running calls of a server, shared by all its methods: their limit, deadlines, drain, and failures."""

    def __init__(self, config: ServerConfig) -> None:
        self.admission = Admission(config)
        self.limit = config.max_concurrent_rpcs
        self.max_bytes = config.max_message_bytes
        self.default_deadline = config.default_deadline_seconds
        # The level is fixed at start-up, and so is whether each call is logged.
        self.log_level = logging.DEBUG if log.isEnabledFor(logging.DEBUG) else logging.INFO
        self.log_after = 0.0 if self.log_level == logging.DEBUG else config.slow_call_seconds
        # The running calls except subscriptions: task, when it began (monotonic seconds), and whether it is a stream.
        self.running: dict[Context, tuple[asyncio.Task[Any] | None, float, bool]] = {}
        self._overdue: set[Context] = set()
        # When the latest call began, in seconds of the monotonic clock.
        self.latest = 0.0
        self._draining = asyncio.Event()
        # The subscriptions that wait for their next answer; the others are sending one.
        self._waiting: dict[Context, asyncio.Task[Any]] = {}

    async def enforce_default_deadline(self) -> None:
        """End calls without a deadline after the default one, forever. One loop for all calls: a timer costs each."""
        while True:
            await asyncio.sleep(min(self.default_deadline / 4, 1.0))
            self.expire(monotonic())

    def expire(self, now: float) -> None:
        """Cancel the unary calls without a deadline that began at least the default deadline before `now`."""
        self._overdue &= self.running.keys()
        for context, (task, started, streaming) in list(self.running.items()):
            if streaming or task is None or context in self._overdue or now - started < self.default_deadline:
                continue
            if context.time_remaining() is None:
                self._overdue.add(context)
                task.cancel()

    async def drain(self, at_most: float) -> None:
        """End subscriptions and refuse new ones; return when no call has begun for 0.1 s, or after `at_most` s."""
        self._draining.set()
        for task in self._waiting.values():
            task.cancel()
        began = now = monotonic()
        while now - began < at_most and now - max(began, self.latest) < _QUIET_SECONDS:
            await asyncio.sleep(min(_QUIET_SECONDS / 10, at_most))
            now = monotonic()

    async def until_drain(self, context: Context, responses: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
        """Yield the answers of a subscription until the drain begins, then raise SHUTTING_DOWN."""
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
                    # Cancelled by drain() alone ends the subscription; cancelled by the caller as well is passed on.
                    if not self._draining.is_set() or task.uncancel():
                        raise
                    break
                finally:
                    del self._waiting[context]
                yield response
            raise _ShuttingDown

    def refuse_busy(self, info: MethodInfo, context: Context) -> None:
        """Answer RESOURCE_EXHAUSTED because the limit of running calls, or of their bytes, is reached."""
        why = f"{self.limit} calls" if len(self.running) >= self.limit else f"calls of {self.admission.bytes:,} bytes"
        error = busy(f"{why} are being served already")
        answer(context, error)
        log.debug("rpc refused", extra={"rpc": info.path, "code": error.kind, "reason": error.reason})

    def answer_error(self, info: MethodInfo, context: Context, error: BaseException) -> None:
        """Answer an exception that a method raised; raise it again when gRPC must see it (cancellation, abort)."""
        if isinstance(error, asyncio.CancelledError):
            error = self._cancelled(info, context, error)
        elif isinstance(error, TimeoutError):
            error = _timed_out(info, context, error)
        elif isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
            raise error
        if not isinstance(error, Brain2Error) or isinstance(error, Internal):
            error = _defect(info, error)
        elif error.reason in status.NOT_BEGUN and not isinstance(error, _ShuttingDown):
            # The peer's call was not begun, but this one was: with the same reason our caller would repeat a write.
            error = Unavailable(error.message, metadata=error.metadata, retry_after=error.retry_after)
        answer(context, error)
        log.info("rpc failed", extra={"rpc": info.path, "code": error.kind, "reason": error.reason, "why": str(error)})

    def _cancelled(self, info: MethodInfo, context: Context, error: asyncio.CancelledError) -> Brain2Error:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            # Work that the call waited for was cancelled, not the call. Without an answer the caller would wait on.
            log.warning("a call waited for work that was cancelled", extra={"rpc": info.path}, exc_info=error)
            return Unavailable("work that the call needs was cancelled", reason="WORK_CANCELLED")
        if context not in self._overdue:
            set_cancelled(context)
            raise error
        task.uncancel()
        return DeadlineExceeded(f"no answer within the default of {self.default_deadline:g} s")

    def log_call(self, info: MethodInfo, context: Context, seconds: float) -> None:
        """Log a call that has ended, with its code and duration."""
        code: grpc.StatusCode | None = context.code()
        extra = {"rpc": info.path, "code": "OK" if code is None else code.name, "ms": round(seconds * 1000, 3)}
        log.log(self.log_level, "rpc done", extra=extra)


def unary(info: MethodInfo, handler: Handler, calls: ServerCalls, fast_path: FastPath | None = None) -> Serve:
    """The chain of a unary method. This is the hot path."""
    parse = _parser(info)
    running, limit, max_bytes, log_after = calls.running, calls.limit, calls.max_bytes, calls.log_after
    set_current, current_task = deadline.current.set, asyncio.current_task
    admission = calls.admission
    max_inflight, arrived = admission.max_bytes, admission.message_arrived
    if info.traits.bulk:
        handler = _in_lane(admission.bulk, handler)

    async def serve(request: bytes, context: Context) -> bytes:
        arrived(task := current_task())
        size = len(request)
        if len(running) >= limit or admission.bytes + size > max_inflight:
            calls.refuse_busy(info, context)
            return b""
        # It is never reset: gRPC runs each call in a task of its own, and the context variable ends with the task.
        set_current(context)
        calls.latest = started = monotonic()
        running[context] = (task, started, False)
        admission.bytes += size
        try:
            response = await handler(parse(request), context)
            sent: bytes = response if type(response) is bytes else response.SerializeToString()
            if len(sent) > max_bytes:
                raise _too_large(len(sent), max_bytes)
            if len(sent) > LARGE:
                admission.hold_answer(context, len(sent), must=not info.traits.reads)
            return sent
        except BaseException as error:
            calls.answer_error(info, context, error)
            return b""
        finally:
            admission.bytes -= size
            del running[context]
            if (seconds := monotonic() - started) >= log_after:
                calls.log_call(info, context, seconds)

    if fast_path is None:
        return serve

    async def serve_fast(request: bytes, context: Context) -> bytes:
        # The fast path never waits, so it needs no limit, no deadline and no log of slow calls.
        found = fast_path(request)
        if found is None or len(found) > max_bytes:
            return await serve(request, context)
        arrived(current_task())
        calls.latest = monotonic()
        if len(found) > LARGE:
            try:
                admission.hold_answer(context, len(found), must=False)
            except ResourceExhausted as error:
                answer(context, error)
                return b""
        return found

    return serve_fast


def with_fast_path(fast_path: FastPath, handler: Handler) -> Handler:
    """The fast path as a part of the handler, so that middleware around the handler sees every call."""

    async def handle(request: bytes, context: Context) -> Any:
        answer = fast_path(request)
        return await handler(request, context) if answer is None else answer

    return handle


def stream(info: MethodInfo, handler: Handler, calls: ServerCalls) -> Serve:
    """The chain of a server stream. A stream without a deadline may stay open: subscriptions need that.

    It writes the answers to the context and isn't a generator: gRPC leaves the generator of a cancelled call to the
    garbage collector, which ends it later and in another task.
    """
    parse = _parser(info)
    admission, subscription = calls.admission, info.traits.subscription
    lane = admission.subscriptions if subscription else admission.bulk if info.traits.bulk else None

    async def serve(request: bytes, context: Context) -> None:
        task = asyncio.current_task()
        admission.message_arrived(task)
        size = len(request)
        if (not subscription and len(calls.running) >= calls.limit) or admission.bytes + size > admission.max_bytes:
            calls.refuse_busy(info, context)
            return
        deadline.current.set(context)
        calls.latest = started = monotonic()
        if not subscription:
            calls.running[context] = (task, started, True)
        admission.bytes += size
        try:
            with lane.slot(context) if lane is not None else contextlib.nullcontext():
                responses = handler(parse(request), context)
                if subscription:
                    responses = calls.until_drain(context, responses)
                async with contextlib.aclosing(responses):
                    async for response in responses:
                        sent = response if type(response) is bytes else response.SerializeToString()
                        if len(sent) > calls.max_bytes:
                            raise _too_large(len(sent), calls.max_bytes)
                        with admission.writing(context, len(sent)):
                            if not await _write(context, sent):
                                return
        except BaseException as error:
            calls.answer_error(info, context, error)
        finally:
            admission.bytes -= size
            calls.running.pop(context, None)
            if calls.log_level == logging.DEBUG:
                calls.log_call(info, context, monotonic() - started)

    return serve


def _in_lane(lane: Lane, handler: Handler) -> Handler:
    """The handler of a unary bulk call, which holds a slot of the lane."""

    async def handle(request: Any, context: Context) -> Any:
        with lane.slot(context):
            return await handler(request, context)

    return handle


async def _write(context: Context, message: bytes) -> bool:
    try:
        await context.write(message)
    except Exception:  # gRPC has no public class for it: the caller has gone, or the call was cut off
        set_cancelled(context)
        return False
    return True


def set_cancelled(context: Context) -> None:
    """Set the code of a call whose caller is gone. Nobody receives it, but the log and the span show it."""
    late = context.time_remaining() == 0
    context.set_code(grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED)


def parser(request_type: type[Message]) -> Callable[[bytes], Any]:
    """Decodes requests of the type; InvalidArgument (MALFORMED_REQUEST) for other bytes."""
    decode = request_type.FromString

    def parse(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            raise InvalidArgument(
                f"the request is not a {request_type.DESCRIPTOR.full_name}", reason="MALFORMED_REQUEST"
            ) from None

    return parse


def _parser(info: MethodInfo) -> Callable[[bytes], Any]:
    return (lambda data: data) if info.raw else parser(info.request_type)


def answer(context: Context, error: Brain2Error) -> None:
    """Set the status of a call to an error, with its details."""
    context.set_code(status.CODES.get(error.kind, grpc.StatusCode.INTERNAL))
    context.set_details(status.details(error))
    packed = (status.DETAILS_KEY, status.to_status(error).SerializeToString())
    context.set_trailing_metadata((*(context.trailing_metadata() or ()), packed))


def _timed_out(info: MethodInfo, context: Context, error: TimeoutError) -> Brain2Error:
    left: float | None = context.time_remaining()
    if left is not None and left <= 0:
        return DeadlineExceeded("the deadline of the call has passed")
    # Adapters translate their time-outs. This one wasn't translated, which is a defect, but UNAVAILABLE is still true.
    log.warning("a time-out reached the server untranslated", extra={"rpc": info.path}, exc_info=error)
    return Unavailable("something that the call needs didn't answer in time", reason="DEPENDENCY_TIMEOUT")


def _defect(info: MethodInfo, error: BaseException) -> Internal:
    error_id = secrets.token_hex(8)
    log.error("rpc crashed", extra={"rpc": info.path, "error_id": error_id}, exc_info=error)
    trace.get_current_span().record_exception(error)
    # The text of the error may hold a user's data: the caller gets the id only, and the log has the rest.
    return Internal(f"internal error {error_id}", metadata={"error_id": error_id})


def _too_large(size: int, allowed: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"the response has {size} bytes, {allowed} are allowed: ask for a smaller page", reason="RESPONSE_TOO_LARGE"
    )
