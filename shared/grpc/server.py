"""The gRPC server of a service: its methods, health, reflection, limits and a gentle end.

Methods are registered by one generic handler, which sees each call's headers before anything else is done: there it is
decided whether the trace is recorded, and the call takes the traced or the plain function of its method.
"""

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared import telemetry
from shared.config import ServerConfig
from shared.grpc import health, middleware
from shared.grpc.middleware import Guard, Handler, MethodInfo, Middleware, Ready, with_ready
from shared.tokens import TOKEN_SECRET

# In this time the name service, a proxy, or a client that watches health has noticed.
_LINGER_SECONDS = 1.0
# Quoted: generic for the type checker only.
_RpcHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Found: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class BindError(OSError):
    """The address can't be listened on."""


class GrpcServer:
    """Serves the methods of some services, looked up on their servicers by RPC name.

    services: pairs of a service's descriptor and its servicer. Unary methods are `async def M(self, request, context)`
    returning the response message or its bytes; server streams are async generators of those. raw: names of methods
    whose servicer takes the request as bytes. ready: for unary methods of that kind, by name, where an answer may be at
    hand; when there is none the servicer is asked. middleware: the first stands outermost. credentials: TLS or mTLS.
    """

    def __init__(
        self,
        settings: ServerConfig,
        services: Sequence[tuple[ServiceDescriptor, object]],
        *,
        middleware: Sequence[Middleware] = (),
        raw: Collection[str] = (),
        ready: Mapping[str, Ready] | None = None,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._settings = settings
        self._guard = Guard(settings)
        TOKEN_SECRET.set(settings.token_secret)
        ready = ready or {}
        raw = {*raw, *ready}
        self._methods: list[tuple[MethodInfo, Handler, Ready | None]] = []
        for descriptor, servicer in services:
            for method in descriptor.methods:
                info = _info(method, raw)
                handler, at_hand = _servicer_method(servicer, info), ready.get(info.name)
                if middleware and at_hand is not None:
                    handler, at_hand = with_ready(at_hand, handler), None
                for wrap in reversed(middleware):
                    handler = wrap(info, handler)
                self._methods.append((info, handler, at_hand))
        if unknown := raw - {info.name for info, _, _ in self._methods}:
            raise TypeError(f"raw names methods that no service has: {', '.join(sorted(unknown))}")
        self._names = [descriptor.full_name for descriptor, _ in services]
        self._health = health.Health(self._names)
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen and serve; returns the port (0 for unix sockets). BindError when the address can't be had."""
        server = grpc.aio.server(options=_options(self._settings))
        server.add_generic_rpc_handlers((_Methods(self._methods, self._guard),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*self._names, health.SERVICE, reflection.SERVICE_NAME), server)
        port = self._bind(server)
        await server.start()
        self._server = server
        self._watch = asyncio.create_task(self._guard.watch(), name="grpc-default-deadlines")
        self.set_serving(True)
        return port

    async def stop(self, grace: float) -> None:
        """Leave without a call being lost: all of it within `grace` seconds (docs/adr/0060).

        NOT_SERVING first, so that whoever watches health sends calls elsewhere, and subscriptions end. Calls that still
        come are served until none come or _LINGER_SECONDS are over; then clients are told to reconnect (GOAWAY), and
        running calls finish. What hasn't ended after the grace is cut off: UNAVAILABLE.
        """
        self._health.close()
        if self._server is not None:
            ends = monotonic() + grace
            await self._guard.drain(min(grace / 2, _LINGER_SECONDS))
            await self._server.stop(max(ends - monotonic(), 0.0))
            self._server = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def set_serving(self, serving: bool) -> None:
        """What health answers, for each service and for ""."""
        self._health.set(serving)

    @property
    def calls(self) -> int:
        """How many calls are being served now."""
        return len(self._guard.calls)

    @property
    def draining(self) -> bool:
        """Whether stop() has begun: subscriptions are refused."""
        return self._guard.draining

    def _bind(self, server: grpc.aio.Server) -> int:
        listen = self._settings.listen
        try:
            if self._credentials is None:
                return server.add_insecure_port(listen)
            return server.add_secure_port(listen, self._credentials)
        except RuntimeError as error:
            raise BindError(
                f"cannot listen on {listen} (BRAIN2_LISTEN): another process has the port, or the address is not ours"
            ) from error


class _Methods(grpc.GenericRpcHandler):
    """Finds the function for a call, having decided whether its trace is recorded."""

    def __init__(self, methods: Sequence[tuple[MethodInfo, Handler, Ready | None]], guard: Guard) -> None:
        tracing = telemetry.active()
        self._ratio = tracing.ratio
        self._records = tracing.records
        self._plain: Mapping[str, _RpcHandler] = {
            info.path: _rpc_handler(info, handler, guard, ready, traced=False) for info, handler, ready in methods
        }
        self._traced: Mapping[str, _RpcHandler] = {
            info.path: _rpc_handler(info, handler, guard, ready, traced=True) for info, handler, ready in methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Found:
        """Called once a call, in the call's own task."""
        found = self._plain.get(handler_call_details.method)
        if found is None:
            return None
        for key, value in handler_call_details.invocation_metadata:
            if key == "traceparent" and len(value) >= telemetry.SHORTEST:
                traceparent = str(value)
                if self._records and telemetry.is_sampled(traceparent):
                    return self._traced[handler_call_details.method]
                telemetry.unsampled.set(traceparent)
                return found
        if random.random() < self._ratio:
            return self._traced[handler_call_details.method]
        telemetry.unsampled.set("")
        return found


def _rpc_handler(info: MethodInfo, handler: Handler, guard: Guard, ready: Ready | None, *, traced: bool) -> _RpcHandler:
    serve: Any
    if info.server_streaming:
        serve = middleware.stream(info, handler, guard)
        serve = middleware.traced_stream(info, serve) if traced else serve
        make = grpc.stream_stream_rpc_method_handler if info.client_streaming else grpc.unary_stream_rpc_method_handler
    else:
        serve = middleware.unary(info, handler, guard, ready)
        serve = middleware.traced_unary(info, serve) if traced else serve
        make = grpc.stream_unary_rpc_method_handler if info.client_streaming else grpc.unary_unary_rpc_method_handler
    # No (de)serialisers: our functions take and return bytes, so that a garbled request is an answer, not a crash.
    return make(serve)


def _servicer_method(servicer: object, info: MethodInfo) -> Handler:
    method = getattr(servicer, info.name, None)
    # The base classes that protoc generates have every method, each answering UNIMPLEMENTED.
    if method is None or getattr(method, "__module__", "").endswith("_pb2_grpc"):
        raise TypeError(f"{type(servicer).__name__} doesn't implement {info.path[1:]}")
    handler: Handler = method
    return handler


def _info(method: MethodDescriptor, raw: Collection[str]) -> MethodInfo:
    return MethodInfo(
        service=method.containing_service.full_name,
        name=method.name,
        request_type=GetMessageClass(method.input_type),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        raw=method.name in raw,
    )


def _options(settings: ServerConfig) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        # Our own check answers with a reason; gRPC's would only break the call.
        ("grpc.max_send_message_length", -1),
        # On by default, and then two servers that were given one port by mistake would share it silently.
        ("grpc.so_reuseport", int(settings.reuse_port)),
        # Clients may ping every 10 s, also without calls; more often is abuse. Dead peers are found in 40 s.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if settings.max_connection_age_seconds > 0:
        options += [
            ("grpc.max_connection_age_ms", int(settings.max_connection_age_seconds * 1000)),
            ("grpc.max_connection_age_grace_ms", int(settings.max_connection_age_grace_seconds * 1000)),
        ]
    return options
