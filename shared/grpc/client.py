"""Calls to other services: one channel a target, and for each call a deadline, the trace, retries and a breaker.

Stubs are made from descriptors. A failed call raises the class of shared.errors that the server raised. gRPC's retry
policy was considered: it can't repeat only the requests that have a request_id, and it has no breaker.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from time import monotonic
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from protos.options.rules import traits
from shared import request_id, telemetry
from shared.config import ClientSecurity
from shared.errors import Brain2Error, Cancelled, DeadlineExceeded, Unavailable
from shared.grpc import deadline, status, tracing
from shared.grpc.outgoing import Outgoing
from shared.grpc.tracing import Send
from shared.ids import Clock, SystemClock
from shared.resilience.breaker import Breaker, Permit, unreachable
from shared.resilience.retry import Backoff, RetryBudget

_BACKOFF = Backoff(base=0.05, cap=1.0)
# While a peer restarts: short waits, with jitter so that not all callers return at the same moment.
_RESTART = Backoff(base=0.05, cap=0.25)
_OPTIONS: list[tuple[str, int | str]] = [
    # No health check here: grpcio 1.78's crashes the process when a connection that it watches is closed (ADR 0060).
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    # A peer whose machine died is noticed within 30 s; TCP alone needs a quarter of an hour.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The default waits up to two minutes between attempts to connect: too long after a peer's restart.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # In spite of its name, this is how long an attempt to connect may take, with TLS, to a peer whose cores are busy.
    # One that is refused fails at once.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
]


# After the TLS files have changed, calls on the former channel may go on for this long.
_CLOSE_SECONDS = 60.0


class Channels:
    """The channels of a process, closed together. Use as `async with Channels() as channels`.

    timeout: seconds that a call may take, unless the caller or the call being served allows less.
    attempts: how often a call that may be repeated is tried.
    patience: seconds in which calls wait for a target that was lost to come back, as after a restart.
    security: the token and the TLS files of all calls; None: no token, no TLS.
    """

    def __init__(
        self,
        *,
        timeout: float = 5.0,
        attempts: int = 3,
        patience: float = 3.0,
        security: ClientSecurity | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._timeout = timeout
        self._attempts = attempts
        self._patience = patience
        self.outgoing = Outgoing(security)
        self._clock = clock or SystemClock()
        self._targets: dict[str, _Target] = {}

    async def __aenter__(self) -> "Channels":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every channel; calls that still run end with Cancelled."""
        targets, self._targets = list(self._targets.values()), {}
        await asyncio.gather(*(target.close() for target in targets))

    @property
    def breakers(self) -> list[Breaker]:
        """The breakers of all targets that have a stub: one for each method."""
        return [breaker for target in self._targets.values() for breaker in target.breakers.values()]

    def stub(self, target: str, service_descriptor: ServiceDescriptor) -> "Stub":
        """Make a stub of the service at a target. Stubs of one target share its channel, breakers and retry budget."""
        if target not in self._targets:
            self._targets[target] = _Target(target, self.outgoing, self._clock, self._patience)
        return Stub(self._targets[target], service_descriptor, self._timeout, self._attempts)


class _Target:
    def __init__(self, name: str, outgoing: Outgoing, clock: Clock, patience: float) -> None:
        self.name = name
        # When calls stopped reaching the target; None while they reach it. Before its first answer a target counts as
        # lost for ever, since it isn't restarting.
        self.lost_at: float | None = -math.inf
        self._clock = clock
        self._patience = patience
        self.outgoing = outgoing
        self._generation = outgoing.generation
        self._channel = outgoing.channel(name, _OPTIONS)
        self._closing: set[asyncio.Task[None]] = set()
        # By the path of the method: a kind of call that is slow keeps no other one out.
        self.breakers: dict[str, Breaker] = {}
        self.budget = RetryBudget(clock=clock)

    def breaker(self, path: str) -> Breaker:
        """The breaker of a method's calls, of whichever stub."""
        if path not in self.breakers:
            # A peer that restarts is back within seconds; a longer cooldown would extend the outage.
            self.breakers[path] = Breaker(self.name, self._clock, max_cooldown=5.0)
        return self.breakers[path]

    def channel(self) -> grpc.aio.Channel:
        """The channel of calls that begin now: another one after the TLS files have changed."""
        self.outgoing.refresh()
        if self._generation != self.outgoing.generation:
            old, self._generation = self._channel, self.outgoing.generation
            self._channel = self.outgoing.channel(self.name, _OPTIONS)
            task = asyncio.create_task(old.close(_CLOSE_SECONDS))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return self._channel

    async def close(self) -> None:
        """Close the channel, and former ones at once, too."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(self._channel.close(), *self._closing, return_exceptions=True)

    def is_restarting(self) -> bool:
        """Whether the target was lost less than `patience` s ago. Call it when a call hasn't reached the target."""
        now = self._clock.monotonic()
        if self.lost_at is None:
            self.lost_at = now
        return now - self.lost_at < self._patience


class Stub:
    """A service of another process, with one attribute per RPC.

    Unary: `await stub.GetNode(request, timeout=2.0)`; server streams: `async for answer in stub.ListEdges(request)`.
    A request may be a message or its bytes. Errors are the classes of shared.errors.

    timeout: seconds, limited to what the call being served has left.
    idempotent: whether a call that the server may have begun may be tried again. The default is True for methods whose
        idempotency_level says so and for requests with a request_id. A call that wasn't begun (status.NOT_BEGUN) is
        always tried again.
    """

    def __init__(self, target: _Target, service: ServiceDescriptor, timeout: float, attempts: int) -> None:
        self._service = service.full_name
        for method in service.methods:
            if method.client_streaming:
                continue  # not supported, as in server.py
            cls = _Stream if method.server_streaming else _Unary
            setattr(self, method.name, cls(target, method, timeout, attempts))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self._service} has no method {name} that can be called")


class _Method:
    def __init__(self, target: _Target, method: MethodDescriptor, timeout: float, attempts: int) -> None:
        self.target = target
        self._timeout = timeout
        self.attempts = attempts
        self.path = f"/{method.containing_service.full_name}/{method.name}"
        self.breaker = target.breaker(self.path)
        self.idempotent = traits(method).idempotent
        self._streaming = method.server_streaming
        self._parse: Callable[[bytes], Any] = GetMessageClass(method.output_type).FromString
        self._channel: grpc.aio.Channel | None = None
        self._made: Send | None = None

    def send(self) -> Send:
        """What makes the call, on the target's present channel and with the present token."""
        channel = self.target.channel()
        if self._made is None or channel is not self._channel:
            self._channel = channel
            make = channel.unary_stream if self._streaming else channel.unary_unary
            self._made = make(self.path, request_serializer=_serialize, response_deserializer=self._parse)
        headers, made = self.target.outgoing.headers, self._made
        if not headers:
            return made

        def with_token(request: Any, *, timeout: float | None, metadata: Any) -> Any:
            return made(request, timeout=timeout, metadata=(*headers, *(metadata or ())))

        return with_token

    @contextlib.contextmanager
    def _errors(self, permit: Permit, limit: float | None) -> Iterator[None]:
        """Raise what gRPC raises as a Brain2Error, and end the permit with what it says of the peer."""
        try:
            yield
        except grpc.aio.AioRpcError as failure:
            error, verdict = self._failed(failure, limit)
            permit.end(verdict)
            raise error from None
        except asyncio.CancelledError:
            permit.end(None)
            if _is_cancelled():
                raise
            raise Cancelled("the channel was closed during the call") from None

    def _failed(self, failure: grpc.aio.AioRpcError, limit: float | None) -> tuple[Brain2Error, bool | None]:
        """The error, and the verdict for the breaker: whether the peer is healthy, or None for unknown."""
        error = status.from_rpc_error(failure)
        if isinstance(error, Unavailable) and unreachable(error):
            # The breaker must not open for a peer that restarts: it would stay open for longer than the restart.
            return error, None if error.reason in status.NOT_BEGUN and self.target.is_restarting() else False
        if isinstance(error, DeadlineExceeded):
            # A caller that allows only milliseconds must not open the breaker for all the others.
            return error, False if limit is not None and limit >= self._timeout else None
        if isinstance(error, Cancelled):
            return error, None
        self.target.lost_at = None
        return error, True


class _Retries:
    """Decides, after a try of a call has failed, whether there is another one, and when."""

    def __init__(self, method: _Method, request: Any, idempotent: bool | None) -> None:
        self._method = method
        self._may_repeat = idempotent
        if idempotent is None:
            self._may_repeat = method.idempotent or bool(getattr(request, "request_id", ""))
        self._failed = self._counted = 0

    def wait(self, error: Unavailable, left: float) -> float:
        """Seconds to wait before the next try; raises the error when there must be none."""
        target = self._method.target
        not_begun = error.reason in status.NOT_BEGUN
        # A try that no server has begun causes no load: it uses neither the attempts nor the budget, only time.
        free = not_begun and target.is_restarting()
        wait = (_RESTART if free else _BACKOFF).delay(self._failed, random, error.retry_after)
        self._failed += 1
        # An open breaker fails calls at once so that callers don't wait, so there is no wait here either.
        if wait >= left or error.reason == "BREAKER_OPEN":
            raise error
        if free:
            return wait
        self._counted += 1
        if self._counted >= self._method.attempts or not (not_begun or self._may_repeat):
            raise error
        if not target.budget.withdraw():
            raise error
        return wait


class _Unary(_Method):
    async def __call__(self, request: Any, timeout: float | None = None, *, idempotent: bool | None = None) -> Any:
        limit = deadline.with_timeout(self._timeout if timeout is None else timeout)
        self.target.budget.deposit()
        ends = monotonic() + limit
        retries: _Retries | None = None
        while True:
            try:
                return await self._once(request, limit)
            except Unavailable as error:
                retries = retries or _Retries(self, request, idempotent)
                wait = retries.wait(error, ends - monotonic())
            await asyncio.sleep(wait)
            limit = ends - monotonic()

    async def _once(self, request: Any, limit: float) -> Any:
        with self.breaker.enter() as permit, self._errors(permit, limit):
            if telemetry.is_recording():
                answer = await tracing.record_unary(self.send(), self.path, request, limit, self.target.name)
            else:
                answer = await self.send()(request, timeout=limit, metadata=_headers())
            self.target.lost_at = None
            return answer


class _Stream(_Method):
    async def __call__(
        self, request: Any, timeout: float | None = None, *, idempotent: bool | None = None
    ) -> AsyncIterator[Any]:
        """Yield the answers. The call is tried again only before the first answer.

        Without a timeout, and outside of a call that is being served, the stream may stay open forever.
        """
        unbounded = timeout is None and deadline.remaining() is None
        limit = None if unbounded else deadline.with_timeout(math.inf if timeout is None else timeout)
        ends = None if limit is None else monotonic() + limit
        self.target.budget.deposit()
        retries: _Retries | None = None
        begun = False
        while True:
            try:
                async with contextlib.aclosing(self._once(request, limit)) as answers:
                    async for answer in answers:
                        begun = True
                        yield answer
                return
            except Unavailable as error:
                if begun:
                    raise
                retries = retries or _Retries(self, request, idempotent)
                wait = retries.wait(error, self._timeout if ends is None else ends - monotonic())
            await asyncio.sleep(wait)
            limit = None if ends is None else ends - monotonic()

    async def _once(self, request: Any, limit: float | None) -> AsyncGenerator[Any]:
        record = tracing.record_stream if telemetry.is_recording() else _stream
        with self.breaker.enter() as permit, self._errors(permit, limit):
            async with contextlib.aclosing(record(self.send(), self.path, request, limit, self.target.name)) as answers:
                async for answer in answers:
                    # A stream may last for hours: its first message already shows the breaker that the peer is up.
                    permit.end(True)
                    self.target.lost_at = None
                    yield answer


async def _stream(send: Any, path: str, request: Any, timeout: float | None, target: str) -> AsyncGenerator[Any]:
    """What tracing.record_stream() does, without a span."""
    call = send(request, timeout=timeout, metadata=_headers())
    try:
        async for answer in call:
            yield answer
    finally:
        call.cancel()  # does nothing to a call that has ended


def _serialize(request: Any) -> bytes:
    return request if type(request) is bytes else request.SerializeToString()


def _headers() -> tuple[tuple[str, str], ...]:
    return tuple((telemetry.inject() | request_id.inject()).items())


def _is_cancelled() -> bool:
    # gRPC also raises CancelledError when the channel is closed during a call; then this task isn't cancelled.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
