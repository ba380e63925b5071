"""All RPCs of the four services behind a real server whose servicers only note what reached them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.auth.principal import caller
from shared.grpc.server import GrpcServer
from tests.support.echo import server_config
from tests.support.tokens import AUDIENCE, ISSUER, Issuer, write_keys
from tests.support.valid_requests import valid

SERVICES: Sequence[ServiceDescriptor] = tuple(
    service
    for file in (node_pb2, graph_pb2, similarity_pb2, cleanup_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
METHODS: Sequence[MethodDescriptor] = tuple(method for service in SERVICES for method in service.methods)
RAW = ("GetNeighbors",)


class Noting:
    """The servicer of a service: every method answers an empty response."""

    def __init__(self, service: ServiceDescriptor, seen: list[tuple[str, str]], users: list[str]) -> None:
        for method in service.methods:
            if hasattr(type(self), method.name):
                continue  # a subclass has its own
            setattr(self, method.name, _method(method, seen, users))


def _method(method: MethodDescriptor, seen: list[tuple[str, str]], users: list[str]) -> Any:
    request_type, response_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)

    def note(request: Any) -> Any:
        if type(request) is bytes:
            request = request_type.FromString(request)
        seen.append((method.name, getattr(request, "user_id", "")))
        principal = caller.get()
        users.append(principal.user if principal else "")
        return response_type()

    async def unary(request: Any, context: Any) -> Any:
        return note(request)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield note(request)

    return stream if method.server_streaming else unary


class Door:
    """A running server. seen: (RPC, user_id) of each call that reached a servicer; users: who made it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel: Any = channel
        self.seen: list[tuple[str, str]] = []
        self.users: list[str] = []

    async def call(self, method: MethodDescriptor, request: Any, token: str = "") -> grpc.StatusCode:
        """The code of a call with this bearer token; "" sends none."""
        return (await self.answer(method, request, token))[0]

    async def answer(self, method: MethodDescriptor, request: Any, token: str = "") -> tuple[grpc.StatusCode, Any]:
        """The code, and the bytes of the answer or the error."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        data = request if type(request) is bytes else request.SerializeToString()
        try:
            if method.server_streaming:
                call = self.channel.unary_stream(path)(data, metadata=metadata, timeout=20)
                return grpc.StatusCode.OK, b"".join([each async for each in call])
            return grpc.StatusCode.OK, await self.channel.unary_unary(path)(data, metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code(), error


@asynccontextmanager
async def opened(folder: Path, issuer: Issuer, *keys: dict[str, Any], **changed: Any) -> AsyncIterator[Door]:
    """All services on one server with BRAIN2_AUTH=oidc."""
    config = server_config(
        **oidc(folder, issuer),
        auth_keys=write_keys(folder / "keys.json", *keys) if keys else "",
        **changed,
    )
    seen: list[tuple[str, str]] = []
    users: list[str] = []
    fast_paths = {"GetNeighbors": lambda _: None}
    services = [(service, Noting(service, seen, users)) for service in SERVICES]
    server = GrpcServer(config, services, raw=RAW, fast_paths=fast_paths)
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            door = Door(channel)
            door.seen, door.users = seen, users
            yield door
    finally:
        await server.stop(0)


def oidc(folder: Path, issuer: Issuer) -> dict[str, Any]:
    """The fields of a config that accepts the tokens of the issuer."""
    (folder / "jwks.json").write_bytes(issuer.jwks())
    return {
        "auth": "oidc",
        "oidc_issuer": ISSUER,
        "oidc_audience": AUDIENCE,
        "oidc_jwks": str(folder / "jwks.json"),
        "oidc_leeway_seconds": 0.0,
    }


def request_for(method: MethodDescriptor, user: str) -> Any:
    """The smallest request of an RPC that keeps all limits, of this user."""
    message: Any = valid(method.input_type)
    if "user_id" in method.input_type.fields_by_name:
        message.user_id = user
    return message
