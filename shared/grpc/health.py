"""grpc.health.v1 for our server.

The servicer of grpcio-health-checking was considered: in it a slow watcher holds the lock that a change of state needs,
and a watcher delays the stop of the server until the grace is over.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from shared.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted
from shared.grpc.admission import Lane, first_message
from shared.grpc.middleware import answer, parser

SERVICE = "grpc.health.v1.Health"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_parse = parser(health_pb2.HealthCheckRequest)


class Health:
    """The servicer. All services of a process, and "" for the process itself, have the same state.

    watches: the slots of Watch, which may stay open for ever.
    """

    def __init__(self, services: Iterable[str], watches: Lane) -> None:
        self._watches = watches
        self._services = frozenset(("", *services))
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set(self, serving: bool) -> None:
        """Set whether the process takes new calls; it has no effect after close()."""
        if not self._closed:
            self._serving = serving
            self._wake()

    def close(self) -> None:
        """Set NOT_SERVING for good; watchers get it, and their calls end."""
        self._serving, self._closed = False, True
        self._wake()

    def handler(self) -> "grpc.GenericRpcHandler":
        """The handler of the service. It reads and decodes requests itself: gRPC would wait without end for a message
        that doesn't come, and log a traceback of one that is garbled."""

        async def check(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            try:
                request = _parse(await first_message(requests))
            except (InvalidArgument, DeadlineExceeded) as error:
                answer(context, error)
                return b""
            return bytes((await self.check(request, context)).SerializeToString())

        async def watch(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[bytes]:
            try:
                request = _parse(await first_message(requests))
            except (InvalidArgument, DeadlineExceeded) as error:
                answer(context, error)
                return
            async for response in self.watch(request, context):
                yield response.SerializeToString()

        methods: dict[str, Any] = {
            "Check": grpc.stream_unary_rpc_method_handler(check),
            "Watch": grpc.stream_stream_rpc_method_handler(watch),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        state = self._state(request.service)
        if state == _UNKNOWN:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(f"{request.service[:100]!r} is not served here")
        return health_pb2.HealthCheckResponse(status=state)

    async def watch(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            with self._watches.slot(context):
                async for state in self._states(request.service):
                    yield health_pb2.HealthCheckResponse(status=state)
        except ResourceExhausted as error:
            answer(context, error)

    async def _states(self, service: str) -> AsyncIterator[int]:
        sent = None
        while True:
            changed, state, closed = self._changed, self._state(service), self._closed
            if state != sent:
                yield state
                sent = state
            if closed:
                return
            await changed.wait()

    def _state(self, service: str) -> int:
        if service not in self._services:
            return int(_UNKNOWN)
        return int(_SERVING if self._serving else _NOT_SERVING)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
