"""The gRPC server of a service: its methods, health, reflection, limits and the drain.

Methods are registered by one generic handler, which reads each call's headers before anything else is done: it decides
whether the trace is recorded, and picks the recorded or the plain function of the method.
"""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from protos.options.rules import traits
from shared import request_id, telemetry
from shared.config import ServerConfig
from shared.errors import DeadlineExceeded, InvalidArgument
from shared.grpc import field_limits, health, middleware, reflection, tls, tracing
from shared.grpc.admission import Admission, first_message
from shared.grpc.auth import Guard, check_exposure, make_guard
from shared.grpc.metered import RpcMetrics
from shared.grpc.middleware import (
    Context,
    FastPath,
    Handler,
    MethodInfo,
    Middleware,
    Serve,
    ServerCalls,
    with_fast_path,
)
from shared.ratelimit import HasScripts
from shared.request_id import RequestId
from shared.resilience import foreground
from shared.tokens import TOKEN_SECRET

# Seconds in which the name service, a proxy, or a client that watches health notices that a server stops.
_LINGER_SECONDS = 1.0
# Streams that a connection may have, however small the limit of the process is.
_FEWEST_STREAMS = 100
# Quoted: generic for the type checker only.
_RpcHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Found: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class BindError(OSError):
    """The address can't be listened on."""


class GrpcServer:
    """Serves the methods of some services, looked up on their servicers by RPC name.

    services: pairs of a service's descriptor and its servicer. Unary methods are `async def M(self, request, context)`
    returning the response message or its bytes; server streams are async generators of those. Client streams are not
    supported.

    middleware: wraps every method, the first outermost.
    raw: names of the methods whose servicer takes the request as bytes.
    fast_paths: FastPaths of unary methods, by name. Such a method is raw; its servicer is called when the fast path has
        no answer.
    metrics: count the calls; None counts none.
    redis: shares the rate limits of users and callers between replicas; None = each replica limits by itself.

    Who may call, TLS and reflection are decided by the config (shared/grpc/auth.py, tls.py). ConfigError: the config is
    not complete, or would let other machines in without authentication.
    """

    def __init__(
        self,
        config: ServerConfig,
        services: Sequence[tuple[ServiceDescriptor, object]],
        *,
        middleware: Sequence[Middleware] = (),
        raw: Collection[str] = (),
        fast_paths: Mapping[str, FastPath] | None = None,
        metrics: RpcMetrics | None = None,
        redis: HasScripts | None = None,
    ) -> None:
        check_exposure(config, config.listen)
        self._config = config
        self._guard = make_guard(config, redis)
        self._calls = ServerCalls(config)
        TOKEN_SECRET.set(config.token_secret)
        fast_paths = fast_paths or {}
        raw = {*raw, *fast_paths}
        self._methods: list[tuple[MethodInfo, Serve]] = []
        for descriptor, servicer in services:
            for method in descriptor.methods:
                info = _info(method, raw)
                serve = self._chain(info, servicer, fast_paths.get(info.name), middleware)
                if metrics is not None:
                    serve = metrics.counted(info, method, serve)
                self._methods.append((info, serve))
        if unknown := raw - {info.name for info, _ in self._methods}:
            raise TypeError(f"raw names methods that no service has: {', '.join(sorted(unknown))}")
        self._names = [descriptor.full_name for descriptor, _ in services]
        self._health = health.Health(self._names, self._calls.admission.health_watches)
        self._credentials = tls.server_credentials(config)
        self._server: grpc.aio.Server | None = None
        self._probes: grpc.aio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._end_watch: Callable[[], None] = lambda: None

    async def start(self) -> int:
        """Listen and serve; returns the port, 0 for a unix socket. Raises BindError when it can't listen."""
        server = grpc.aio.server(options=_options(self._config))
        recorded = [(info, await tracing.record_server(info.path, serve)) for info, serve in self._methods]
        server.add_generic_rpc_handlers((_Methods(self._methods, recorded, self._guard, self._calls.admission),))
        server.add_generic_rpc_handlers((self._health.handler(),))
        if self._config.reflection:
            names = (*self._names, health.SERVICE)
            server.add_generic_rpc_handlers((reflection.handler(names, self._calls.admission.reflections),))
        port = _bind(server, "BRAIN2_LISTEN", self._config.listen, self._credentials)
        await server.start()
        self._server = server
        if self._config.health_listen:
            self._probes = grpc.aio.server(options=_options(self._config))
            self._probes.add_generic_rpc_handlers((self._health.handler(),))
            _bind(self._probes, "BRAIN2_HEALTH_LISTEN", self._config.health_listen, None)
            await self._probes.start()
        self._end_watch = foreground.watch(self._calls.running.__len__, lambda: self._calls.latest)
        self._tasks = [asyncio.create_task(self._calls.enforce_default_deadline(), name="grpc-default-deadlines")]
        if self._guard is not None:
            self._tasks.append(asyncio.create_task(self._guard.run(), name="key-files"))
        self.set_serving(True)
        return port

    async def stop(self, grace: float) -> None:
        """Stop within `grace` seconds without losing a call (docs/adr/0060).

        Health becomes NOT_SERVING, so that clients that watch it send their calls elsewhere, and subscriptions end.
        Calls that still come are served until none come, for _LINGER_SECONDS at most. Then clients get GOAWAY, which
        makes them reconnect, and running calls finish. After the grace the calls that still run end with UNAVAILABLE.
        """
        self._health.close()
        if self._server is not None:
            ends = monotonic() + grace
            await self._calls.drain(min(grace / 2, _LINGER_SECONDS))
            await self._server.stop(max(ends - monotonic(), 0.0))
            self._server = None
            self._end_watch()
        if self._probes is not None:
            await self._probes.stop(0)
            self._probes = None
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        if self._guard is not None:
            await self._guard.close()

    def set_serving(self, serving: bool) -> None:
        """Set what health answers, for each service and for ""."""
        self._health.set(serving)

    def _chain(
        self, info: MethodInfo, servicer: object, fast_path: FastPath | None, middleware_: Sequence[Middleware]
    ) -> Serve:
        handler = field_limits.enforce(info, _servicer_method(servicer, info))
        if middleware_ and fast_path is not None:
            handler, fast_path = with_fast_path(fast_path, handler), None
        handler = _wrapped(info, handler, middleware_)
        if self._guard is not None:
            share = self._calls.admission.share_of(info.traits)
            handler = self._guard.protect(info, handler, share)
            fast_path = fast_path and self._guard.fast_path(info, fast_path)
            info = dataclasses.replace(info, raw=True)  # the guard decodes the request, after it knows the caller
        if info.server_streaming:
            return middleware.stream(info, handler, self._calls)
        return middleware.unary(info, handler, self._calls, fast_path)

    @property
    def calls(self) -> int:
        """How many calls are being served now."""
        return len(self._calls.running) + len(self._calls.admission.subscriptions)


class _Methods(grpc.GenericRpcHandler):
    """Finds the function for a call, after noting its caller and deciding whether its trace is recorded."""

    def __init__(
        self,
        plain: Sequence[tuple[MethodInfo, Serve]],
        recorded: Sequence[tuple[MethodInfo, Serve]],
        guard: Guard | None,
        admission: Admission,
    ) -> None:
        self._begin = guard.begin if guard is not None else None
        self._expect_message = admission.expect_message
        active = telemetry.active()
        self._ratio = active.ratio
        self._records = active.records
        self._plain = {info.path: _rpc_handler(info, serve) for info, serve in plain}
        self._recorded = {info.path: _rpc_handler(info, serve) for info, serve in recorded}
        self._impatient = {info.path: _impatient_handler(info, serve) for info, serve in plain}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Found:
        """Return the handler of a call, or None. gRPC calls it once a call, in the call's own task."""
        found = self._plain.get(handler_call_details.method)
        if found is None:
            return None
        metadata = handler_call_details.invocation_metadata
        if self._begin is not None:
            self._begin(metadata)
        request_id.current.set(RequestId(metadata))
        traceparent = _traceparent(metadata)
        if not self._expect_message():
            telemetry.unsampled.set(telemetry.Unsampled(traceparent))
            return self._impatient[handler_call_details.method]
        if traceparent:
            if self._records and telemetry.is_sampled(traceparent):
                return self._recorded[handler_call_details.method]
            telemetry.unsampled.set(telemetry.Unsampled(traceparent))
            return found
        if random.random() < self._ratio:
            telemetry.root_recorded.set(True)
            return self._recorded[handler_call_details.method]
        telemetry.unsampled.set(telemetry.Unsampled())
        return found


def _traceparent(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The caller's trace; "" without one that is long enough."""
    for key, value in metadata:
        if key == "traceparent" and len(value) >= telemetry.SHORTEST:
            return str(value)
    return ""


def _bind(server: grpc.aio.Server, name: str, listen: str, credentials: grpc.ServerCredentials | None) -> int:
    """The port. BindError when the address can't be listened on. name: the variable that has it."""
    try:
        return server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise BindError(
            f"cannot listen on {listen} ({name}): another process has the port, or the address is wrong"
        ) from error


def _rpc_handler(info: MethodInfo, serve: Serve) -> _RpcHandler:
    make: Any = grpc.unary_stream_rpc_method_handler if info.server_streaming else grpc.unary_unary_rpc_method_handler
    # No (de)serialisers: the chain takes and returns bytes, so that a garbled request gets an answer.
    handler: _RpcHandler = make(serve)
    return handler


def _impatient_handler(info: MethodInfo, serve: Serve) -> _RpcHandler:
    """The handler that reads the message itself: it begins with the headers of a call, and ends without a message."""

    async def read(requests: AsyncIterator[bytes], context: Context) -> Any:
        try:
            request = await first_message(requests)
        except (InvalidArgument, DeadlineExceeded) as error:
            middleware.answer(context, error)
            return b""
        return await serve(request, context)

    make: Any = grpc.stream_stream_rpc_method_handler if info.server_streaming else grpc.stream_unary_rpc_method_handler
    handler: _RpcHandler = make(read)
    return handler


def _wrapped(info: MethodInfo, handler: Handler, middleware_: Sequence[Middleware]) -> Handler:
    for wrap in reversed(middleware_):
        handler = wrap(info, handler)
    return handler


def _servicer_method(servicer: object, info: MethodInfo) -> Handler:
    method = getattr(servicer, info.name, None)
    # The base classes that protoc generates have all methods, and answer UNIMPLEMENTED.
    if method is None or getattr(method, "__module__", "").endswith("_pb2_grpc"):
        raise TypeError(f"{type(servicer).__name__} doesn't implement {info.path[1:]}")
    handler: Handler = method
    return handler


def _info(method: MethodDescriptor, raw: Collection[str]) -> MethodInfo:
    if method.client_streaming:
        raise TypeError(f"{method.full_name} takes a stream of requests, which is not supported")
    return MethodInfo(
        service=method.containing_service.full_name,
        name=method.name,
        request_type=GetMessageClass(method.input_type),
        traits=traits(method),
        server_streaming=method.server_streaming,
        raw=method.name in raw,
    )


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        # A compressed message is refused: of one with 400 KB gRPC would make 350 MB before the limit above holds.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.per_message_decompression", 0),
        # One connection takes half of the slots at most; its further calls wait at the client.
        ("grpc.max_concurrent_streams", max(config.max_concurrent_rpcs // 2, _FEWEST_STREAMS)),
        # The chain checks the length and answers with a reason; gRPC's check would only break the call.
        ("grpc.max_send_message_length", -1),
        # gRPC's default is on: two servers that are given one port by mistake would then share it without an error.
        ("grpc.so_reuseport", int(config.reuse_port or config.workers > 1)),
        # Clients may ping every 10 s, also without calls; one that pings more often is cut off. Dead peers are found
        # within 40 s.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if config.max_connection_age_seconds > 0:
        options += [
            ("grpc.max_connection_age_ms", int(config.max_connection_age_seconds * 1000)),
            ("grpc.max_connection_age_grace_ms", int(config.max_connection_age_grace_seconds * 1000)),
        ]
    return options
