"""What the console passes on of a caller, and what it answers when a service does not know the token."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import httpx2
import pytest
from mcp.client.client import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette

from clients.console import connect
from clients.console.config import ConfigError, load
from clients.console.errors import CallError
from clients.console.methods import CONTEXTS, methods
from clients.console.targets import Targets
from protos.node.v1 import node_pb2
from tests.support.console import console_of

GET = "/brain2.node.v1.NodeService/GetNode"
EXPORT = "/brain2.cleanup.v1.CleanupService/ExportUser"
SETTINGS = "/brain2.node.v1.NodeService/GetUserSettings"
ISSUER = "https://issuer.example"


class StandIn(grpc.GenericRpcHandler):
    """Answers every unary call of one token, or of everybody; keeps the metadata of the calls by their path."""

    def __init__(self, *, everybody: bool = False) -> None:
        self.everybody = everybody
        self.seen: dict[str, dict[str, str]] = {}
        self.requests: dict[str, bytes] = {}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            self.seen[details.method] = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
            self.requests[details.method] = request
            if not self.everybody and self.seen[details.method].get("authorization") != "Bearer good":
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is not valid")
            return node_pb2.GetNodeResponse(node=node_pb2.Node(node_id="a", title="A")).SerializeToString()

        handler: Callable[..., Awaitable[bytes]] = answer
        return grpc.unary_unary_rpc_method_handler(handler)


@contextlib.asynccontextmanager
async def _stand_in(*, everybody: bool = False) -> AsyncIterator[tuple[StandIn, dict[str, str]]]:
    server = grpc.aio.server()
    handler = StandIn(everybody=everybody)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield handler, dict.fromkeys(("node", "graph", "similarity", "cleanup"), f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


async def test_token_trace_and_request_id_are_passed_on() -> None:
    async with _stand_in() as (service, addresses), console_of(addresses) as console:
        headers = {
            "authorization": "Bearer good",
            "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
            "x-request-id": "mine",
            "cookie": "secret=1",
        }
        async with httpx2.AsyncClient(base_url=console.url) as http:
            answer = await http.post(GET, json={"userId": "ada", "nodeId": "a"}, headers=headers)
            assert (answer.status_code, answer.json()["node"]["title"]) == (200, "A")
            assert answer.headers["x-request-id"] == "mine"
            seen = service.seen[GET]
            assert {name: seen[name] for name in ("authorization", "traceparent", "x-request-id")} == {
                name: headers[name] for name in ("authorization", "traceparent", "x-request-id")
            }
            assert "cookie" not in seen
            answer = await http.post(GET, json={"userId": "ada", "nodeId": "a"})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert len(answer.headers["x-request-id"]) == 32


async def test_mcp_is_an_oauth_resource_server() -> None:
    async with (
        _stand_in() as (service, addresses),
        console_of(addresses, "--authorization-server", ISSUER) as console,
        httpx2.AsyncClient(base_url=console.url) as http,
    ):
        metadata = f"{console.url}/.well-known/oauth-protected-resource/mcp"
        for headers in ({}, {"authorization": "Bearer bad"}):
            answer = await http.post("/mcp", json={}, headers=headers)
            assert answer.status_code == 401
            assert f'resource_metadata="{metadata}"' in answer.headers["www-authenticate"]
        document = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert document["resource"] == f"{console.url}/mcp"
        assert document["authorization_servers"] == [ISSUER]

        authorized = httpx2.AsyncClient(headers={"authorization": "Bearer good"})
        async with (
            authorized,
            McpClient(streamable_http_client(f"{console.url}/mcp", http_client=authorized)) as client,
        ):
            result = await client.call_tool("fetch", {"id": "a"})
        assert result.structured_content["title"] == "A"
        assert service.seen[GET]["authorization"] == "Bearer good"
        # Whose notes these are is what the token says: the services take an empty user_id so.
        assert node_pb2.GetNodeRequest.FromString(service.requests[GET]).user_id == ""


async def test_a_console_that_others_can_reach_serves_no_service_without_authentication() -> None:
    read, good = methods()[GET], [("authorization", "Bearer good")]
    async with _stand_in() as (_, closed), _stand_in(everybody=True) as (_, open_):
        async with Targets(closed, only_authenticated=True) as targets:
            assert await targets.unary(read, b"", good, 10.0)
        for addresses, reason in (
            (open_, "SERVICE_WITHOUT_AUTHENTICATION"),
            (dict.fromkeys(CONTEXTS, "127.0.0.1:1"), "SERVICE_NOT_REACHED"),
        ):
            async with Targets(addresses, only_authenticated=True) as targets:
                with pytest.raises(CallError) as refused:
                    await targets.unary(read, b"", good, 10.0)
                assert reason in str(refused.value.json())
                with pytest.raises(CallError):
                    await anext(targets.stream(methods()[EXPORT], b"", good, 10.0))
        async with Targets(open_) as targets:
            assert await targets.unary(read, b"", (), 10.0)


def test_who_can_reach_a_console_follows_from_its_address() -> None:
    tls = ["--tls-certificate", "c.pem", "--tls-key", "k.pem"]
    assert not load([], {}).reachable
    assert not load(["--listen", "[::1]:1"], {}).reachable
    assert load(["--listen", "0.0.0.0:1", *tls], {}).reachable
    assert not load(["--listen", "0.0.0.0:1", *tls], {"BRAIN2_INSECURE": "1"}).reachable


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "192.0.2.1:50080", "example.com:80"])
async def test_an_open_address_needs_tls_or_an_explicit_wish(listen: str) -> None:
    from clients.console.config import ConfigError, load

    with pytest.raises(ConfigError, match="loopback"):
        load(["--listen", listen], {})
    assert load(["--listen", listen], {"BRAIN2_INSECURE": "1"}).port > 0
    assert load(["--listen", listen, "--tls-certificate", "c.pem", "--tls-key", "k.pem"], {}).url.startswith("https")
    with pytest.raises(ConfigError, match="both"):
        load(["--listen", listen, "--tls-certificate", "c.pem"], {})


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "BODY_SECONDS", 0.05)
    sent: list[Any] = []
    begun = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Any:
        if (first := next(begun, None)) is not None:
            return first
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    app = Starlette(routes=connect.Connect(Targets(dict.fromkeys(CONTEXTS, "127.0.0.1:1"))).routes())
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": GET, "headers": headers, "query_string": b"", "app": app}
    await asyncio.wait_for(app(scope, receive, send), 10)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["details"][0]["debug"]["reason"] == "REQUEST_TOO_SLOW"


async def test_a_service_that_the_console_does_not_reach_is_refused_at_once() -> None:
    async with _stand_in() as (service, addresses), console_of({**addresses, "cleanup": "none"}) as console:
        async with httpx2.AsyncClient(base_url=console.url, headers={"authorization": "Bearer good"}) as http:
            answers = [
                await http.post("/brain2.cleanup.v1.CleanupService/GetDeletion", json={"userId": "ada", "nodeId": "a"}),
                await http.post("/brain2.cleanup.v1.CleanupService/ExportUser", json={"userId": "ada"}),
                await http.get("/export", params={"user": "ada"}),
            ]
            for answer in answers:
                assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
                assert answer.json()["details"][0]["debug"]["reason"] == "SERVICE_NOT_REACHED"
            answer = await http.post(GET, json={"userId": "ada", "nodeId": "a"})
            assert answer.status_code == 200
        assert set(service.seen) == {GET}


@pytest.mark.parametrize("context", ["node", "graph", "similarity"])
def test_the_other_services_are_needed(context: str) -> None:
    with pytest.raises(ConfigError, match=f"needs the {context} service"):
        load([f"--{context}=none"], {})
