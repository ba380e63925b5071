"""Calls over one channel to each service: headers, deadlines, retries, consistency tokens."""

import asyncio
import importlib.util
import inspect
import json
import random
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import grpc

from .errors import Aborted, Brain2Error, Cancelled, DeadlineExceeded, ResourceExhausted, from_rpc

_POLICY = Path(__file__).with_name("retry-policy.json")
_MOST_TOKENS = 4096
# What a search accepts as its consistency_token.
_MOST_JOINED_BYTES, _MOST_JOINED_NOTES = 4096, 100
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
)
# A token, or a function that answers the present one; it may be a coroutine function.
Token = str | Callable[[], str | Awaitable[str]]


class Channels:
    """The channels of a client, shared by all users that it acts as. They belong to the event loop that opens them."""

    def __init__(self, targets: Mapping[str, str], credentials: grpc.ChannelCredentials | None) -> None:
        self._targets = dict(targets)
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_open = True
        self.makes_spans = False
        """Whether interceptors make a span of each call, and pass it on."""

    def of(self, context: str) -> grpc.aio.Channel:
        """The channel to a service, opened at its first use. Errors: RuntimeError on a second event loop."""
        if not self.is_open:
            raise Cancelled("the client is closed", reason="CLIENT_CLOSED")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("the client belongs to the event loop of its first call; use one client for each loop")
        if context not in self._channels:
            options = (*_OPTIONS, ("grpc.service_config", service_config()))
            target, interceptors = self._targets[context], tracing_interceptors()
            self.makes_spans = bool(interceptors)
            self._channels[context] = (
                grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
                if self._credentials is None
                else grpc.aio.secure_channel(target, self._credentials, options=options, interceptors=interceptors)
            )
        return self._channels[context]

    async def close(self) -> None:
        """Close every channel; calls that still run fail with Cancelled."""
        self.is_open = False
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))


def service_config() -> str:
    """The retry policy for gRPC, without its deadlines: gRPC takes the shorter one, and each call here has its own."""
    policy = json.loads(_POLICY.read_text(encoding="utf-8"))
    for method in policy["methodConfig"]:
        method.pop("timeout", None)
    return json.dumps(policy)


def tracing_interceptors() -> Sequence[grpc.aio.ClientInterceptor]:
    """Interceptors that make a span of each call: when OpenTelemetry is installed and the program set a provider."""
    if importlib.util.find_spec("opentelemetry") is None:
        return ()
    try:
        from opentelemetry import trace
        from opentelemetry.instrumentation.grpc import aio_client_interceptors
    except ImportError:
        return ()
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return ()
    found: Sequence[grpc.aio.ClientInterceptor] = aio_client_interceptors()  # type: ignore[no-untyped-call]
    return found


@cache
def _trace_context() -> Callable[[dict[str, str]], None] | None:
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    return TraceContextTextMapPropagator().inject


def trace_headers() -> tuple[tuple[str, str], ...]:
    """The headers of the trace that the program is in (W3C traceparent); none without one, or without OpenTelemetry."""
    inject, carrier = _trace_context(), dict[str, str]()
    if inject is not None:
        inject(carrier)
    return tuple(carrier.items())


class Memory:
    """The consistency tokens of the writes of one user: a read of a note that was written sends the token along."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[tuple[str, str], str] = OrderedDict()
        # The tokens of writes of notes that no search has waited for yet, oldest first, with the notes of each.
        self._unsearched: OrderedDict[str, set[str]] = OrderedDict()

    def wrote(self, context: str, node_ids: Collection[str], token: str) -> None:
        """Keep the token of a write of these notes, or of links at them."""
        if token:
            for key in ((context, node_id) for node_id in ("", *node_ids)):
                self._tokens[key] = token
                self._tokens.move_to_end(key)
            while len(self._tokens) > _MOST_TOKENS:
                self._tokens.popitem(last=False)
            if context == "node":
                self._unsearched[token] = set(node_ids)
                while self._is_too_long():
                    self._unsearched.popitem(last=False)

    def token(self, context: str, node_id: str) -> str:
        """The token of the last write that concerns the note; "" when there was none."""
        return self._tokens.get((context, node_id), "")

    def newest(self, context: str) -> str:
        """The token of the last write of all."""
        return self._tokens.get((context, ""), "")

    def _is_too_long(self) -> bool:
        # A batch of more than 20 notes has the 20 last ones in its token.
        notes = sum(min(len(node_ids), 20) for node_ids in self._unsearched.values())
        return sum(len(each) + 1 for each in self._unsearched) > _MOST_JOINED_BYTES or notes > _MOST_JOINED_NOTES

    def unsearched(self) -> str:
        """The tokens of the last writes of notes that no search has waited for, joined by commas."""
        return ",".join(self._unsearched)

    def searched(self, tokens: str) -> None:
        """Forget the tokens, which commas join: a search has waited for them."""
        for token in tokens.split(","):
            self._unsearched.pop(token, None)

    def deleted(self, node_id: str) -> None:
        """Let no search wait for a note: the index never has one that was deleted and purged."""
        for token, node_ids in list(self._unsearched.items()):
            node_ids.discard(node_id)
            if not node_ids:
                del self._unsearched[token]


class Calls:
    """Calls RPCs for one user.

    user: the owner of the notes; "" means the user of the token.
    timeout: seconds for a call, all repetitions included.
    """

    def __init__(self, channels: Channels, user: str, token: Token | None, timeout: float) -> None:
        self.channels = channels
        self.user = user
        self.memory = Memory()
        self.default_timeout = timeout
        self._token = token

    async def unary(
        self, context: str, path: str, request: Any, response: Any, timeout: float | None, request_id: str = ""
    ) -> Any:
        """The answer of an RPC. A request that can have a request_id gets a new one unless it is given.

        UNAVAILABLE and CANCELLED are repeated by the channel (retry-policy.json). Calls that the service has not begun
        because it is busy, or because the first call of this request_id still runs, are repeated here after the time
        that it states.
        """
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = request_id or secrets.token_hex(16)
        ends = monotonic() + (self.default_timeout if timeout is None else timeout)
        method = self.channels.of(context).unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        while True:
            metadata = await self._metadata()
            if (left := ends - monotonic()) <= 0:
                # gRPC would send it, and a quick answer would come before the deadline is noticed.
                raise DeadlineExceeded("no time is left for the call", reason="DEADLINE_EXCEEDED")
            try:
                return await method(request, timeout=left, metadata=metadata)
            except grpc.aio.AioRpcError as failure:
                error = from_rpc(failure)
            except asyncio.CancelledError:
                raise _own_or_closed() from None
            wait = _repeat_after(error)
            if wait is None or monotonic() + wait >= ends:
                raise error
            await asyncio.sleep(wait)

    async def stream(
        self, context: str, path: str, request: Any, response: Any, *, first_within: float | None
    ) -> AsyncIterator[Any]:
        """The answers of a streaming RPC. It has no deadline: it ends with the stream.

        first_within: seconds until the first answer, or the end. None: it may come at any time.
        Errors: DeadlineExceeded when the first answer does not come in time.
        """
        method = self.channels.of(context).unary_stream(
            path, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        call = method(request, metadata=await self._metadata())
        try:
            answers = aiter(call)
            try:
                first = await asyncio.wait_for(anext(answers, None), first_within)
            except TimeoutError:
                message = f"no answer within {first_within:g} s"
                raise DeadlineExceeded(message, reason="DEADLINE_EXCEEDED") from None
            if first is None:
                return
            yield first
            async for answer in answers:
                yield answer
        except grpc.aio.AioRpcError as failure:
            raise from_rpc(failure) from None
        except asyncio.CancelledError:
            raise _own_or_closed() from None
        finally:
            call.cancel()

    async def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(token):
            token = await token
        headers = () if self.channels.makes_spans else trace_headers()
        return (*headers, ("authorization", f"Bearer {token}")) if token else headers


def _repeat_after(error: Brain2Error) -> float | None:
    if error.retry_after is None:
        return None
    busy = isinstance(error, ResourceExhausted) and error.reason == "SERVER_BUSY"
    in_progress = isinstance(error, Aborted) and error.reason == "REQUEST_IN_PROGRESS"
    return error.retry_after * random.uniform(1.0, 1.5) if busy or in_progress else None


def _own_or_closed() -> BaseException:
    # gRPC raises CancelledError as well when the channel is closed under a call; then this task isn't being cancelled.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return asyncio.CancelledError()
    return Cancelled("the client was closed during the call", reason="CLIENT_CLOSED")
