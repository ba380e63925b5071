"""A service of the tests' own, with both kinds of methods: the gRPC kernel is tested without any context's .proto.

message Echo { string text = 1; string request_id = 2; }
service EchoService {
  rpc GetEcho(Echo) returns (Echo);     // NO_SIDE_EFFECTS
  rpc CreateEcho(Echo) returns (Echo);
  rpc PutEcho(Echo) returns (Echo);     // IDEMPOTENT
  rpc RawEcho(Echo) returns (Echo);
  rpc ListEchoes(Echo) returns (stream Echo);   // NO_SIDE_EFFECTS
  rpc WatchEchoes(Echo) returns (stream Echo);  // NO_SIDE_EFFECTS, a subscription
}
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass

from protos.options.v1 import options_pb2
from shared.config import ServerConfig
from shared.grpc.middleware import FastPath, Middleware
from shared.grpc.server import GrpcServer

_UNARY = ("GetEcho", "CreateEcho", "PutEcho", "RawEcho")
_STREAMS = ("ListEchoes", "WatchEchoes")
_READS = ("GetEcho", "ListEchoes", "WatchEchoes")


def _options(name: str) -> MethodOptions:
    options: Any = MethodOptions()
    if name in _READS:
        options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    if name == "PutEcho":
        options.idempotency_level = MethodOptions.IDEMPOTENT
    options.Extensions[options_pb2.access] = options_pb2.ACCESS_READ if name in _READS else options_pb2.ACCESS_WRITE
    options.Extensions[options_pb2.subscription] = name == "WatchEchoes"
    return options  # type: ignore[no-any-return]


def _service() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(name="tests/echo.proto", package="brain2.tests.v1", syntax="proto3")
    file.dependency.append(options_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="Echo")
    for number, field in enumerate(("text", "request_id"), start=1):
        message.field.add(name=field, number=number, type="TYPE_STRING", label="LABEL_OPTIONAL")
    service = file.service.add(name="EchoService")
    for name in (*_UNARY, *_STREAMS):
        service.method.add(
            name=name,
            input_type=".brain2.tests.v1.Echo",
            output_type=".brain2.tests.v1.Echo",
            server_streaming=name in _STREAMS,
            options=_options(name),
        )
    pool = descriptor_pool.Default()  # the one that reflection answers from
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("brain2.tests.v1.EchoService")


SERVICE: ServiceDescriptor = _service()
NAME = "brain2.tests.v1.EchoService"
Echo: Any = GetMessageClass(SERVICE.file.message_types_by_name["Echo"])
Unary = Callable[[Any, Any], Awaitable[Any]]


class EchoServicer:
    """Answers what it is sent; `unary` and `listed` say what else the unary methods and the stream should do."""

    def __init__(
        self, unary: Unary | None = None, listed: Callable[[Any, Any], AsyncIterator[Any]] | None = None
    ) -> None:
        self._unary = unary
        self._listed = listed
        self.seen = 0

    async def GetEcho(self, request: Any, context: Any) -> Any:
        self.seen += 1
        return await self._unary(request, context) if self._unary else request

    async def CreateEcho(self, request: Any, context: Any) -> Any:
        return await self.GetEcho(request, context)

    async def PutEcho(self, request: Any, context: Any) -> Any:
        return await self.GetEcho(request, context)

    async def RawEcho(self, request: bytes, context: Any) -> bytes:
        assert type(request) is bytes
        return request

    async def ListEchoes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.seen += 1
        if self._listed:
            async for each in self._listed(request, context):
                yield each
            return
        for letter in request.text:
            yield Echo(text=letter)

    async def WatchEchoes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield request
        await asyncio.Event().wait()


def server_config(**changed: Any) -> ServerConfig:
    """The config of a server on a free port of loopback."""
    return ServerConfig(**{"listen": "127.0.0.1:0", **changed})


@asynccontextmanager
async def plain_channel(target: str) -> AsyncIterator[Any]:
    """A channel of grpc itself: bytes in and out, no deadline, no headers but those that the test gives."""
    async with grpc.aio.insecure_channel(target) as channel:
        yield channel


@asynccontextmanager
async def serving(
    servicer: object | None = None,
    *,
    middleware: Sequence[Middleware] = (),
    raw: Sequence[str] = ("RawEcho",),
    fast_paths: Mapping[str, FastPath] | None = None,
    **changed: Any,
) -> AsyncIterator[str]:
    """A running server of EchoService; gives its target."""
    services = [(SERVICE, servicer or EchoServicer())]
    server = GrpcServer(server_config(**changed), services, middleware=middleware, raw=raw, fast_paths=fast_paths)
    port = await server.start()
    try:
        yield changed.get("listen", f"127.0.0.1:{port}")
    finally:
        await server.stop(0)
