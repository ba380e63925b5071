"""The guard of a real server: whose answers a fast path gives, tokens that end, keys and certificates that change."""

import asyncio
import json
import logging
import ssl
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.options.rules import traits
from protos.options.v1 import options_pb2
from shared.auth.authenticator import Authenticator
from shared.auth.principal import Principal, caller
from shared.config import ClientSecurity, ConfigError
from shared.errors import PermissionDenied, Unauthenticated, Unavailable
from shared.grpc.auth import Guard, check_exposure, is_local
from shared.grpc.client import Channels
from shared.grpc.middleware import MethodInfo
from shared.grpc.server import GrpcServer
from shared.grpc.status import from_rpc_error
from shared.grpc.tls import ServerCertificates
from tests.support.doors import METHODS, RAW, SERVICES, Door, Noting, oidc, opened, request_for
from tests.support.echo import server_config
from tests.support.tokens import Authority, Issuer, write_keys
from tests.support.waiting import PATIENCE, within

GRAPH = graph_pb2.DESCRIPTOR.services_by_name["GraphService"]
NODE = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
GET_NEIGHBORS = next(method for method in METHODS if method.name == "GetNeighbors")
GET_STATS = next(method for method in METHODS if method.name == "GetGraphStats")
GET_EDGE = next(method for method in METHODS if method.name == "GetEdge")
GET_NODE = next(method for method in METHODS if method.name == "GetNode")
WATCH = next(method for method in METHODS if method.name == "WatchEdges")
ISSUED = Issuer()
ADA, BOB = "a" * 40, "b" * 40
PEER = "p" * 40
NOBODY = "n" * 40
KEYS = (
    {"name": "ada", "key": ADA, "scopes": ["read", "write"], "user": "ada"},
    {"name": "bob", "key": BOB, "scopes": ["read"], "user": "bob"},
    {"name": "peer", "key": PEER, "scopes": ["read", "internal", "act_as"]},
    {"name": "nobody", "key": NOBODY, "scopes": ["read", "write"]},
)


class Remembering(Noting):
    """Answers GetNeighbors with the user's name, and keeps the answer under the bytes that it was given."""

    def __init__(self) -> None:
        super().__init__(GRAPH, [], [])
        self.kept: dict[bytes, bytes] = {}
        self.found = 0

    def find(self, request: bytes) -> bytes | None:
        answer = self.kept.get(request)
        self.found += answer is not None
        return answer

    async def GetNeighbors(self, request: bytes, context: Any) -> bytes:
        user = graph_pb2.GetNeighborsRequest.FromString(request).user_id
        neighbor = graph_pb2.Neighbor(node_id=f"of-{user}")
        answer = graph_pb2.GetNeighborsResponse(neighbors=[neighbor]).SerializeToString()
        self.kept[request] = answer
        return answer


@asynccontextmanager
async def graph(folder: Path, **changed: Any) -> AsyncIterator[tuple[Remembering, grpc.aio.Channel]]:
    servicer = Remembering()
    config = server_config(auth="preshared", auth_keys=write_keys(folder / "keys.json", *KEYS), **changed)
    server = GrpcServer(config, [(GRAPH, servicer)], raw=RAW, fast_paths={"GetNeighbors": servicer.find})
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield servicer, channel
    finally:
        await server.stop(0)


async def neighbors(channel: grpc.aio.Channel, request: Any, key: str) -> str:
    """Whose answer came; the name of the code for an error."""
    data = request if type(request) is bytes else request.SerializeToString()
    send: Any = channel.unary_unary("/brain2.graph.v1.GraphService/GetNeighbors")
    try:
        answer = await send(data, metadata=(("authorization", f"Bearer {key}"),), timeout=10)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return str(graph_pb2.GetNeighborsResponse.FromString(answer).neighbors[0].node_id)


async def test_a_fast_path_gives_nobody_the_answer_of_another(tmp_path: Path) -> None:
    request = graph_pb2.GetNeighborsRequest
    async with graph(tmp_path) as (servicer, channel):
        for _ in range(2):
            assert await neighbors(channel, request(user_id="ada", node_id="n"), ADA) == "of-ada"
            assert await neighbors(channel, request(user_id="ada", node_id="n"), BOB) == "PERMISSION_DENIED"
            assert await neighbors(channel, request(user_id="ada", node_id="n"), PEER) == "of-ada"
            # A key without a user, and without the scope to act for others.
            assert await neighbors(channel, request(user_id="ada", node_id="n"), NOBODY) == "PERMISSION_DENIED"
            assert await neighbors(channel, request(user_id="bob", node_id="n"), BOB) == "of-bob"
            # The same bytes, and two answers.
            assert await neighbors(channel, request(node_id="n"), ADA) == "of-ada"
            assert await neighbors(channel, request(node_id="n"), BOB) == "of-bob"
            assert await neighbors(channel, request(node_id="n"), "c" * 40) == "UNAUTHENTICATED"
        assert servicer.found >= 5, "the second round must come from memory"
        assert len(servicer.kept) == 2


@pytest.mark.parametrize("second", [f"Bearer {ADA}", "Bearer x", ""])
async def test_of_several_authorization_headers_none_counts(tmp_path: Path, second: str) -> None:
    """A proxy that has checked one of them must not be by-passed with another one."""
    request = graph_pb2.GetNeighborsRequest(user_id="ada", node_id="n").SerializeToString()
    async with graph(tmp_path) as (servicer, channel):
        assert await neighbors(channel, request, ADA) == "of-ada"
        for headers in ((f"Bearer {ADA}", second), (second, f"Bearer {ADA}")):
            send: Any = channel.unary_unary("/brain2.graph.v1.GraphService/GetNeighbors")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await send(request, metadata=[("authorization", each) for each in headers], timeout=10)
            assert from_rpc_error(refused.value).reason == "TOKEN_INVALID"
        assert len(servicer.kept) == 1


async def test_a_second_user_id_in_the_bytes_is_the_one_that_counts(tmp_path: Path) -> None:
    ada = graph_pb2.GetNeighborsRequest(user_id="ada", node_id="n").SerializeToString()
    bob = graph_pb2.GetNeighborsRequest(user_id="bob").SerializeToString()
    async with graph(tmp_path) as (servicer, channel):
        for _ in range(2):
            assert await neighbors(channel, ada + bob, ADA) == "PERMISSION_DENIED"
            assert await neighbors(channel, ada + bob, BOB) == "of-bob"
        assert all(kept.count(b"\x0a\x03") == 1 for kept in servicer.kept)


@pytest.mark.parametrize("user", ["a", "u" * 127, "u" * 128])
def test_the_field_of_a_user_is_what_protobuf_writes(user: str) -> None:
    written = graph_pb2.GetNeighborsRequest(user_id=user).SerializeToString()
    assert Principal("x", user, frozenset()).user_field == written


def test_a_fast_path_needs_the_user_in_the_first_field() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="tests/late.proto", package="brain2.late.v1", syntax="proto3")
    file.dependency.append(options_pb2.DESCRIPTOR.name)
    file.message_type.add(name="Late").field.add(name="user_id", number=2, type="TYPE_STRING", label="LABEL_OPTIONAL")
    options: Any = descriptor_pb2.MethodOptions()
    options.Extensions[options_pb2.access] = options_pb2.ACCESS_READ
    late = ".brain2.late.v1.Late"
    file.service.add(name="LateService").method.add(name="GetLate", input_type=late, output_type=late, options=options)
    pool = descriptor_pool.DescriptorPool()
    for known in (descriptor_pb2.DESCRIPTOR, options_pb2.DESCRIPTOR):
        pool.AddSerializedFile(known.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    service = pool.FindServiceByName("brain2.late.v1.LateService")
    message = GetMessageClass(pool.FindMessageTypeByName("brain2.late.v1.Late"))
    guard = Guard(Authenticator())

    info = MethodInfo(service.full_name, "GetLate", message, traits(GET_NODE), raw=True)
    with pytest.raises(TypeError, match="first field"):
        guard.fast_path(info, lambda _: None)


async def test_callers_at_the_same_time_on_one_connection_stay_apart(tmp_path: Path) -> None:
    async with opened(tmp_path, ISSUED) as door:
        users = [f"user{number % 7}" for number in range(140)]
        tokens = {user: ISSUED.token(user, "read") for user in users}
        await asyncio.gather(*(door.call(GET_NODE, request_for(GET_NODE, ""), tokens[user]) for user in users))
        assert sorted(user for _, user in door.seen) == sorted(users)
        assert [user for _, user in door.seen] == door.users
    assert caller.get() is None


async def test_a_token_ends_also_for_who_was_verified_before(tmp_path: Path) -> None:
    async with opened(tmp_path, ISSUED) as door:
        token = ISSUED.token("ada", "read", exp=int(time.time()) + 4)
        request = request_for(GET_NODE, "ada")
        assert await door.call(GET_NODE, request, token) == grpc.StatusCode.OK
        codes = [grpc.StatusCode.OK]
        async with within(10):
            while codes[-1] is grpc.StatusCode.OK:
                codes.append(await door.call(GET_NODE, request, token))
        assert codes[-1] is grpc.StatusCode.UNAUTHENTICATED


async def test_a_subscription_ends_with_its_token(tmp_path: Path) -> None:
    class Endless(Noting):
        async def WatchEdges(self, request: Any, context: Any) -> AsyncIterator[Any]:
            yield graph_pb2.WatchEdgesResponse()
            await asyncio.Event().wait()

    server = GrpcServer(server_config(**oidc(tmp_path, ISSUED)), [(GRAPH, Endless(GRAPH, [], []))])
    port = await server.start()
    token = ISSUED.token("ada", "read", exp=int(time.time()) + 4)
    try:
        async with Channels(security=ClientSecurity(token=token)) as channels:
            answers = channels.stub(f"127.0.0.1:{port}", GRAPH).WatchEdges(graph_pb2.WatchEdgesRequest(), timeout=100)
            await anext(answers)
            with pytest.raises(Unauthenticated) as ended:
                await anext(answers)
        assert ended.value.reason == "TOKEN_EXPIRED"
    finally:
        await server.stop(0)


async def test_a_key_that_is_taken_out_of_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.grpc.auth._RELOAD_SECONDS", 0.01)
    request = graph_pb2.GetNeighborsRequest(user_id="ada", node_id="n")
    async with graph(tmp_path) as (_, channel):
        assert await neighbors(channel, request, ADA) == "of-ada"
        (tmp_path / "keys.json").write_text("{")
        await asyncio.sleep(0)
        assert await neighbors(channel, request, ADA) == "of-ada", "a wrong file keeps the former keys"
        write_keys(tmp_path / "keys.json", *KEYS[1:])
        async with within(10):
            while await neighbors(channel, request, ADA) != "UNAUTHENTICATED":
                pass


async def test_a_user_has_a_rate_also_where_answers_come_from_memory(tmp_path: Path) -> None:
    request = graph_pb2.GetNeighborsRequest(user_id="ada", node_id="n")
    async with graph(tmp_path, user_rate=0.001, user_burst=3) as (_, channel):
        answers = [await neighbors(channel, request, ADA) for _ in range(5)]
        assert answers == ["of-ada"] * 3 + ["RESOURCE_EXHAUSTED"] * 2
        assert await neighbors(channel, request, PEER) == "of-ada", "the services are not limited"
        request.user_id = "bob"
        assert await neighbors(channel, request, BOB) == "of-bob"


# ---------------------------------------------------------------------- services call each other


@asynccontextmanager
async def serving(**changed: Any) -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    seen: list[tuple[str, str]] = []
    server = GrpcServer(server_config(**changed), [(each, Noting(each, seen, [])) for each in SERVICES], raw=RAW)
    port = await server.start()
    try:
        yield f"127.0.0.1:{port}", seen
    finally:
        await server.stop(0)


async def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.json", *KEYS)
    (tmp_path / "token").write_text("x" * 40 + "\n")
    async with serving(auth="preshared", auth_keys=keys) as (target, seen):
        async with Channels(security=ClientSecurity(token_file=str(tmp_path / "token"))) as channels:
            stub = channels.stub(target, GRAPH)
            request = graph_pb2.SetNodeVisibilityRequest(user_id="ada", node_id="n", version=1)
            with pytest.raises(Unauthenticated) as refused:
                await stub.SetNodeVisibility(request)
            assert refused.value.reason == "TOKEN_INVALID"
            (tmp_path / "token").write_text(PEER)
            channels.outgoing.reload()
            await stub.SetNodeVisibility(request)
            with pytest.raises(PermissionDenied) as denied:
                await stub.CreateEdge(graph_pb2.CreateEdgeRequest(user_id="ada"))
            assert (denied.value.reason, denied.value.metadata) == ("SCOPE_MISSING", {"scope": "write"})
        assert seen == [("SetNodeVisibility", "ada")]


async def test_a_missing_token_file_is_an_error_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BRAIN2_TOKEN_FILE"):
        Channels(security=ClientSecurity(token_file=str(tmp_path / "none")))


# ---------------------------------------------------------------------- TLS


def tls(certificate: tuple[str, str], authority: Authority) -> dict[str, Any]:
    return {"tls_cert": certificate[0], "tls_key": certificate[1], "tls_client_ca": authority.path}


async def test_a_certificate_stands_for_a_service(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    keys = write_keys(
        tmp_path / "keys.json",
        {"name": "node", "tls": "spiffe://brain2.test/node", "scopes": ["internal"]},
        {"name": "cleanup", "tls": "cleanup.test", "scopes": ["admin"]},
    )
    server = tls(authority.issue("server"), authority)
    node = authority.issue("node", uri="spiffe://brain2.test/node")
    cleanup, other = authority.issue("cleanup"), authority.issue("other")
    request = graph_pb2.SetNodeVisibilityRequest(user_id="ada", node_id="n", version=1)

    async def reason(target: str, certificate: tuple[str, str], token: str = "") -> str:
        security = ClientSecurity(tls_ca=authority.path, tls_cert=certificate[0], tls_key=certificate[1], token=token)
        async with Channels(security=security, attempts=1, patience=0) as channels:
            try:
                await channels.stub(target, GRAPH).SetNodeVisibility(request)
            except (PermissionDenied, Unauthenticated) as error:
                return error.reason
        return "OK"

    async with serving(auth="preshared", auth_keys=keys, **server) as (target, _):
        assert await reason(target, node) == "OK"
        assert await reason(target, cleanup) == "SCOPE_MISSING"
        assert await reason(target, other) == "TOKEN_MISSING"
        assert await reason(target, node, token="x" * 40) == "TOKEN_INVALID", "a wrong token is never overlooked"


async def test_without_a_certificate_of_the_authority_nobody_connects(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server = tls(authority.issue("server"), authority)
    certificates: list[tuple[str, str]] = [("", ""), stranger.issue("forged", uri="spiffe://brain2.test/node")]
    async with serving(**server) as (target, seen):
        for cert, key in certificates:
            security = ClientSecurity(tls_ca=authority.path, tls_cert=cert, tls_key=key)
            async with Channels(security=security, attempts=1, patience=0) as channels:
                with pytest.raises(Unavailable):
                    await channels.stub(target, NODE).GetNode(request_for(GET_NODE, "ada"), timeout=3)
        assert not seen


async def test_certificates_change_without_a_restart(tmp_path: Path) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    certificate = first.issue("server")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(first.path).read_bytes() + Path(second.path).read_bytes())
    client = first.issue("client")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Path(first.path).read_bytes())
    security = ClientSecurity(tls_ca=str(ca), tls_cert=client[0], tls_key=client[1])
    changed = {"tls_cert": certificate[0], "tls_key": certificate[1], "tls_client_ca": str(both)}
    async with serving(**changed) as (target, seen), Channels(security=security, patience=0) as channels:
        stub = channels.stub(target, NODE)
        await stub.GetNode(request_for(GET_NODE, "ada"))
        # A new pair, half written: the server goes on with the former one.
        pair = [Path(path).read_bytes() for path in second.issue("next")]
        Path(certificate[0]).write_bytes(pair[0])
        async with Channels(security=security, patience=0) as others:
            await others.stub(target, NODE).GetNode(request_for(GET_NODE, "ada"))
        # Whole: new connections get it, and a client that has only the former authority refuses it.
        Path(certificate[1]).write_bytes(pair[1])
        async with Channels(security=security, attempts=1, patience=0) as others:
            with pytest.raises(Unavailable):
                await others.stub(target, NODE).GetNode(request_for(GET_NODE, "ada"), timeout=3 * PATIENCE)
        # A client whose files change makes a new channel; the stub stays the same.
        ca.write_bytes(Path(second.path).read_bytes())
        new = [Path(path).read_bytes() for path in second.issue("newer")]
        Path(client[0]).write_bytes(new[0])
        Path(client[1]).write_bytes(new[1])
        channels.outgoing.reload()
        await stub.GetNode(request_for(GET_NODE, "ada"))
        assert len(seen) == 3


def replace_file(path: Path, content: bytes | None) -> None:
    """Replace a file at once: a handshake in the background must not meet an empty one before. None removes it."""
    if content is None:
        path.unlink()
        return
    changed = path.with_suffix(".changed")
    changed.write_bytes(content)
    changed.replace(path)


async def test_files_change_under_running_calls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Calls go on over their connection; new connections meet the newest whole files; wrong ones are logged once."""
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    certificate, old, new = first.issue("server"), first.issue("old"), second.issue("new")
    clients = tmp_path / "clients.pem"
    clients.write_bytes(Path(first.path).read_bytes())
    files = {"tls_cert": certificate[0], "tls_key": certificate[1], "tls_client_ca": str(clients)}
    servicer = Waiting()
    server = GrpcServer(server_config(**files), [(GRAPH, servicer)])
    target = f"127.0.0.1:{await server.start()}"

    async def connects(pair: tuple[str, str], ca: str) -> bool:
        """Whether a new connection with this certificate, to a server of this authority, serves a call."""
        security = ClientSecurity(tls_ca=ca, tls_cert=pair[0], tls_key=pair[1])
        async with Channels(security=security, attempts=1, patience=0) as channels:
            try:
                await channels.stub(target, GRAPH).GetGraphStats(request_for(GET_STATS, "ada"), timeout=3 * PATIENCE)
            except Unavailable:
                return False
        return True

    try:
        security = ClientSecurity(tls_ca=first.path, tls_cert=old[0], tls_key=old[1])
        async with Channels(security=security, attempts=1, patience=0) as channels:
            running = asyncio.create_task(
                channels.stub(target, GRAPH).GetEdge(request_for(GET_EDGE, "ada"), timeout=100)
            )
            await servicer.begun.acquire()
            # Other authorities of clients: who had a certificate of the first one has no way in any more.
            clients.write_bytes(Path(second.path).read_bytes())
            assert not await connects(old, first.path)
            assert await connects(new, first.path)
            # Garbage, nothing, half a file, no file: the former files serve, and each state is logged once.
            whole = [Path(path).read_bytes() for path in (certificate[0], clients)]
            for path, garbled in (
                (clients, b"garbage"),
                (clients, b""),
                (Path(certificate[0]), whole[0][: len(whole[0]) // 2]),
                (Path(certificate[1]), b"-----BEGIN PRIVATE KEY-----"),
                (clients, None),
            ):
                kept = path.read_bytes()
                caplog.clear()
                replace_file(path, garbled)
                assert await connects(new, first.path)
                assert await connects(new, first.path)
                refused = [record for record in caplog.records if "TLS files can't be used" in record.message]
                assert len(refused) == 1
                path.write_bytes(kept)
            # The server's own certificate, of another authority.
            for own, other in zip(certificate, second.issue("next"), strict=True):
                Path(own).write_bytes(Path(other).read_bytes())
            assert await connects(new, second.path)
            assert not await connects(new, first.path)
            assert not running.done()
            servicer.go.set()
            await running
    finally:
        await server.stop(0)


def test_files_that_many_handshakes_meet_at_once_are_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    certificates = ServerCertificates(server_config(tls_cert=certificate, tls_key=key))
    all_read = threading.Barrier(8)

    def read(*_: Any, **__: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            all_read.wait(0.2)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", read)
    replace_file(Path(key), None)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: certificates.fetch(), range(8))) == [None] * 8
    assert len(caplog.records) == 1


def test_an_encrypted_key_is_refused_without_a_question(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    read = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    pem = read.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    Path(key).write_bytes(pem)
    with pytest.raises(ConfigError, match="BRAIN2_TLS"):
        GrpcServer(server_config(tls_cert=certificate, tls_key=key), [])


def test_wrong_tls_files_stop_the_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (cert, _), (_, key) = authority.issue("one"), authority.issue("two")
    for wrong in ({"tls_cert": cert, "tls_key": key}, {"tls_cert": "none", "tls_key": key}, {"tls_client_ca": cert}):
        with pytest.raises(ConfigError, match="BRAIN2_TLS"):
            GrpcServer(server_config(**wrong), [])
    with pytest.raises(ConfigError, match="BRAIN2_TLS_CA"):
        Channels(security=ClientSecurity(tls_ca=str(tmp_path / "none")))


async def test_probes_reach_health_alone_without_a_certificate(tmp_path: Path) -> None:

    authority = Authority(tmp_path)
    probe = f"unix:{tmp_path}/health"
    server = tls(authority.issue("server"), authority)
    async with serving(health_listen=probe, **server), grpc.aio.insecure_channel(probe) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        send: Any = channel.unary_unary("/brain2.node.v1.NodeService/GetNode")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await send(b"", timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


# ---------------------------------------------------------------------- what one caller may hold


class Waiting(Noting):
    """Calls that do not end until the test lets them."""

    def __init__(self) -> None:
        super().__init__(GRAPH, [], [])
        self.begun = asyncio.Semaphore(0)
        self.go = asyncio.Event()

    async def GetEdge(self, request: Any, context: Any) -> graph_pb2.GetEdgeResponse:
        self.begun.release()
        await self.go.wait()
        return graph_pb2.GetEdgeResponse()

    async def ListEdges(self, request: Any, context: Any) -> AsyncIterator[graph_pb2.ListEdgesResponse]:
        await self.GetEdge(request, context)
        yield graph_pb2.ListEdgesResponse()

    async def WatchEdges(self, request: Any, context: Any) -> AsyncIterator[graph_pb2.WatchEdgesResponse]:
        await self.GetEdge(request, context)
        yield graph_pb2.WatchEdgesResponse()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("GetEdge", "SERVER_BUSY"), ("ListEdges", "BULK_BUSY"), ("WatchEdges", "TOO_MANY_SUBSCRIPTIONS")],
)
async def test_a_caller_has_a_part_of_the_slots_over_all_its_connections(
    tmp_path: Path, name: str, reason: str
) -> None:
    method = next(method for method in METHODS if method.name == name)
    servicer = Waiting()
    limits = {"max_concurrent_rpcs": 4, "max_bulk_rpcs": 4, "max_subscriptions": 8}
    config = server_config(auth="preshared", auth_keys=write_keys(tmp_path / "keys.json", *KEYS), **limits)
    server = GrpcServer(config, [(GRAPH, servicer)], raw=RAW, fast_paths={"GetNeighbors": lambda _: None})
    target = f"127.0.0.1:{await server.start()}"
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    channels = [grpc.aio.insecure_channel(target, options=own) for _ in range(5)]
    doors = [Door(channel) for channel in channels]
    try:
        begun = [asyncio.create_task(door.answer(method, request_for(method, "ada"), ADA)) for door in doors[:2]]
        for _ in begun:
            await servicer.begun.acquire()
        code, error = await doors[2].answer(method, request_for(method, "ada"), ADA)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        refused = from_rpc_error(error)
        assert (refused.reason, bool(refused.retry_after)) == (reason, True)
        assert "a caller may have 2" in refused.message
        # Another user has its own part, and so has one who calls for many users.
        begun += [
            asyncio.create_task(doors[3].answer(method, request_for(method, "bob"), BOB)),
            asyncio.create_task(doors[4].answer(method, request_for(method, "ada"), PEER)),
        ]
        for _ in range(2):
            await servicer.begun.acquire()
        servicer.go.set()
        assert [code for code, _ in await asyncio.gather(*begun)] == [grpc.StatusCode.OK] * 4
        assert (await doors[2].answer(method, request_for(method, "ada"), ADA))[0] is grpc.StatusCode.OK
    finally:
        servicer.go.set()
        for channel in channels:
            await channel.close()
        await server.stop(0)


async def test_who_calls_for_many_users_is_not_limited_as_one_caller(tmp_path: Path) -> None:
    method = next(method for method in METHODS if method.name == "GetEdge")
    servicer = Waiting()
    config = server_config(auth="preshared", auth_keys=write_keys(tmp_path / "keys.json", *KEYS), max_concurrent_rpcs=4)
    server = GrpcServer(config, [(GRAPH, servicer)], raw=RAW, fast_paths={"GetNeighbors": lambda _: None})
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        door = Door(channel)
        calls = [
            asyncio.create_task(door.answer(method, request_for(method, user), PEER)) for user in ("ada", "bob", "eve")
        ]
        for _ in calls:
            await servicer.begun.acquire()
        servicer.go.set()
        assert {code for code, _ in await asyncio.gather(*calls)} == {grpc.StatusCode.OK}
    await server.stop(0)


# ---------------------------------------------------------------------- what a server refuses to start with


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1", "dns:///x:1", "ipv4:1.2.3.4:5"]
)
def test_without_authentication_no_other_machine_gets_in(listen: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="BRAIN2_INSECURE=1"):
        GrpcServer(server_config(listen=listen), [])
    with caplog.at_level(logging.WARNING):
        check_exposure(server_config(listen=listen, insecure=True), listen)
    assert "everybody" in caplog.text


async def test_tokens_are_not_taken_without_tls_from_other_machines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listen = "10.0.0.1:1"
    keys = write_keys(tmp_path / "keys.json", *KEYS)
    with pytest.raises(ConfigError, match=r"BRAIN2_TLS_CERT.*BRAIN2_INSECURE=1"):
        GrpcServer(server_config(listen=listen, auth="preshared", auth_keys=keys), [])
    with caplog.at_level(logging.WARNING):
        check_exposure(server_config(listen=listen, auth="preshared", insecure=True), listen)
    assert "without encryption" in caplog.text
    certificate, key = Authority(tmp_path).issue("server")
    check_exposure(server_config(listen=listen, auth="preshared", tls_cert=certificate, tls_key=key), listen)
    check_exposure(server_config(listen="unix:/x", auth="preshared"), "unix:/x")


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:1", "unix:/x", "ipv4:127.0.0.1:1"]
)
def test_addresses_of_this_machine_need_no_authentication(listen: str) -> None:
    assert is_local(listen)
    check_exposure(server_config(listen=listen), listen)


@pytest.mark.parametrize(
    "changed",
    [{"auth": "preshared"}, {"auth": "oidc"}, {"auth": "preshared", "auth_keys": "/none"}, {"user_rate": 1.0}],
)
def test_an_incomplete_config_stops_the_start(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"BRAIN2_AUTH_KEYS|BRAIN2_OIDC_ISSUER|BRAIN2_USER_RATE"):
        GrpcServer(server_config(**changed), [])


# ---------------------------------------------------------------------- the audit log


async def test_writes_and_denials_are_audited_without_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    create = next(method for method in METHODS if method.name == "CreateNode")
    export = next(method for method in METHODS if method.name == "ExportUser")
    node = node_pb2.NewNode(node_id="n1", title="CANARY-title", content="CANARY-content", tags=["CANARY-tag"])
    token = ISSUED.token("ada", "read write")
    with caplog.at_level(logging.DEBUG):
        async with opened(tmp_path, ISSUED) as door:
            await door.call(create, node_pb2.CreateNodeRequest(user_id="ada", node=node), token)
            await door.call(export, request_for(export, "ada"), token)
            await door.call(GET_NODE, request_for(GET_NODE, "ada"), token)
            await door.call(create, node_pb2.CreateNodeRequest(user_id="bob", node=node), token)
            await door.call(GET_NODE, request_for(GET_NODE, "ada"), "CANARY-token")
    lines = [vars(record) for record in caplog.records if record.name == "brain2.audit"]
    assert [
        (line["event"], line["rpc"].split("/")[2], line["caller"], line["user_id"], line["code"]) for line in lines
    ] == [
        ("call", "CreateNode", "ada", "ada", "OK"),
        ("call", "ExportUser", "ada", "ada", "OK"),
        ("denied", "CreateNode", "ada", "bob", "PERMISSION_DENIED"),
        ("denied", "GetNode", "", "", "UNAUTHENTICATED"),
    ]
    assert lines[0]["node_id"] == "n1"
    text = json.dumps([vars(record) for record in caplog.records], default=str)
    assert "CANARY" not in text
    assert token not in text
