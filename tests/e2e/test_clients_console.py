"""The console on the running stack: RPCs as JSON, errors with details, three forms of streams, no foreign page."""

import asyncio
import base64
import functools
import json
import shutil
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator

from clients.console.methods import methods
from deploy.local.stack import Stack
from deploy.local.stores import ROOT
from protos.node.v1 import node_pb2
from tests.support.client import Client
from tests.support.console import Console, console_of
from tests.support.waiting import until, within

NODE = "/brain2.node.v1.NodeService/"
GRAPH = "/brain2.graph.v1.GraphService/"


@pytest.fixture
async def http(console: Console) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=console.url, timeout=100.0) as found:
        yield found


async def _call(http: httpx2.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _two_linked_notes(http: httpx2.AsyncClient, user: str) -> None:
    for node_id in ("a", "b"):
        await _call(http, NODE + "CreateNode", userId=user, node={"nodeId": node_id, "title": node_id})
    await _call(http, GRAPH + "CreateEdge", userId=user, edge={"sourceId": "a", "targetId": "b"})


async def test_a_note_is_written_and_its_links_are_read(http: httpx2.AsyncClient, user: str) -> None:
    await _two_linked_notes(http, user)
    answer = await _call(http, GRAPH + "GetNeighbors", userId=user, nodeId="a", withTitles=True)
    assert [neighbor["title"] for neighbor in answer["neighbors"]] == ["b"]
    # As people write it, too: the names of the .proto, and a GET of a read.
    answer = await _call(http, NODE + "GetNode", user_id=user, node_id="a")
    got = await http.get(NODE + "GetNode", params={"message": json.dumps({"userId": user, "nodeId": "a"})})
    assert got.json() == answer
    message = base64.urlsafe_b64encode(json.dumps({"userId": user, "nodeId": "a"}).encode()).decode().rstrip("=")
    assert (await http.get(NODE + "GetNode", params={"message": message, "base64": "1"})).json() == answer
    garbled = await http.get(NODE + "GetNode", params={"message": f"{message}!", "base64": "1"})
    assert (garbled.status_code, garbled.json()["message"]) == (400, "message is not base64")
    assert (await http.get(NODE + "DeleteNode")).status_code == 405
    in_protobuf = await http.post(
        NODE + "GetNode",
        content=node_pb2.GetNodeRequest(user_id=user, node_id="a").SerializeToString(),
        headers={"content-type": "application/proto"},
    )
    assert node_pb2.GetNodeResponse.FromString(in_protobuf.content).node.title == "a"


async def test_a_write_is_done_once_for_each_request_id(http: httpx2.AsyncClient, user: str) -> None:
    body = {"userId": user, "node": {"title": "Once"}, "requestId": "one"}
    first, second = [await _call(http, NODE + "CreateNode", **body) for _ in range(2)]
    assert first["node"]["nodeId"] == second["node"]["nodeId"]


async def test_errors_have_the_status_and_the_details_of_the_service(http: httpx2.AsyncClient, user: str) -> None:
    answer = await http.post(NODE + "GetNode", json={"userId": user, "nodeId": "nobody"})
    assert answer.status_code == 404
    error = answer.json()
    assert error["code"] == "not_found"
    [detail] = error["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    info = ErrorInfo.FromString(base64.b64decode(detail["value"] + "=="))
    assert info.reason == detail["debug"]["reason"] == "NODE_NOT_FOUND"

    answer = await http.post(NODE + "GetNode", json={"userId": user, "nodeId": "not an id"})
    assert answer.status_code == 400
    bad = next(each for each in answer.json()["details"] if each["type"] == "google.rpc.BadRequest")
    assert BadRequest.FromString(base64.b64decode(bad["value"] + "==")).field_violations[0].field == "node_id"

    for body in (b"{", b"[1]", b'{"nodeID_": 1}', b"\xff", b'{"userId": 5}', b"[" * 100_000):
        answer = await http.post(NODE + "GetNode", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), body[:20]
    answer = await http.post(NODE + "GetNode", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert (await http.post("/brain2.node.v1.NodeService/Nothing", json={})).status_code == 404


async def test_a_deadline_is_passed_on(http: httpx2.AsyncClient, user: str) -> None:
    headers = {"connect-timeout-ms": "1"}
    answer = await http.post(GRAPH + "GetGraphStats", json={"userId": user}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    answer = await http.post(NODE + "GetNode", json={}, headers={"connect-timeout-ms": "soon"})
    assert answer.status_code == 400


async def test_a_large_body_is_refused_and_a_large_note_is_not(http: httpx2.AsyncClient, user: str) -> None:
    text = "\u20ac" * (256 * 1024 // 3)
    await _call(http, NODE + "CreateNode", userId=user, node={"nodeId": "large", "content": text})
    assert (await _call(http, NODE + "GetNode", userId=user, nodeId="large"))["node"]["content"] == text
    answer = await http.post(NODE + "CreateNode", json={"userId": user, "node": {"content": "x" * (9 * 1024 * 1024)}})
    assert answer.status_code == 413


async def test_a_stream_has_three_forms(http: httpx2.AsyncClient, user: str) -> None:
    await _two_linked_notes(http, user)
    lines = await http.post(GRAPH + "ListEdges", json={"userId": user})
    assert lines.headers["content-type"] == "application/x-ndjson"
    [answer] = [json.loads(line) for line in lines.text.splitlines()]
    assert (answer["edges"][0]["sourceId"], answer["edges"][0]["targetId"]) == ("a", "b")

    accept = {"accept": "text/event-stream"}
    events = (await http.post(GRAPH + "ListEdges", json={"userId": user}, headers=accept)).text
    assert json.loads(events.split("data: ")[1].splitlines()[0]) == answer
    assert events.endswith("event: end\ndata: {}\n\n")
    wrong = (await http.post(GRAPH + "ListEdges", json={"userId": "!"}, headers=accept)).text
    assert json.loads(wrong.split("event: error\ndata: ")[1])["code"] == "invalid_argument"

    message = json.dumps({"userId": user}).encode()
    enveloped = await http.post(
        GRAPH + "ListEdges",
        content=struct.pack(">BI", 0, len(message)) + message,
        headers={"content-type": "application/connect+json"},
    )
    first, last = _envelopes(enveloped.content)
    assert (first[0], json.loads(first[1])) == (0, answer)
    assert (last[0], json.loads(last[1])) == (2, {})
    assert (await http.post(GRAPH + "ListEdges", content=b"\x00", headers={"content-type": "application/connect+json"})
            ).status_code == 400  # fmt: skip


def _envelopes(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        found.append((flags, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


async def test_a_subscription_answers_each_change_at_once(http: httpx2.AsyncClient, user: str) -> None:
    await _two_linked_notes(http, user)
    accept = {"accept": "text/event-stream"}
    async with http.stream("POST", GRAPH + "WatchEdges", json={"userId": user}, headers=accept) as stream:
        lines = stream.aiter_lines()
        async with within(20):
            async for line in lines:
                if line.startswith("data: "):  # the first message: the subscription has begun
                    break
            await _call(http, GRAPH + "DeleteEdge", userId=user, sourceId="a", targetId="b")
            async for line in lines:
                if line.startswith("data: ") and "kind" in (change := json.loads(line[6:])):
                    assert change["kind"] == "KIND_DELETED"
                    break


async def test_a_foreign_page_gets_nothing(http: httpx2.AsyncClient, user: str) -> None:
    body = {"userId": user, "node": {"nodeId": "planted", "title": "x"}}
    for headers in (
        {"host": "attacker.example"},
        {"host": "127.0.0.1"},
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        for path in (NODE + "CreateNode", "/mcp"):
            answer = await http.post(path, json=body, headers=headers)
            assert answer.status_code in (403, 421), headers
            assert "access-control-allow-origin" not in answer.headers
    answer = await http.post(NODE + "GetNode", json={"userId": user, "nodeId": "planted"})
    assert answer.status_code == 404
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    preflight = await http.options(NODE + "GetNode", headers={"origin": "http://attacker.example"})
    assert "access-control-allow-origin" not in preflight.headers
    own = {"origin": str(http.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert (
        await http.post(NODE + "GetNode", json={"userId": user, "nodeId": "planted"}, headers=own)
    ).status_code == 404


async def test_the_document_describes_what_is_answered(http: httpx2.AsyncClient, user: str) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == set(methods())
    await _two_linked_notes(http, user)
    answers = {
        NODE + "GetNode": {"userId": user, "nodeId": "a"},
        NODE + "ListNodes": {"userId": user},
        GRAPH + "GetNeighbors": {"userId": user, "nodeId": "a"},
        GRAPH + "GetGraphStats": {"userId": user},
        GRAPH + "GetEdge": {"userId": user, "sourceId": "a", "targetId": "b"},
    }
    for path, body in answers.items():
        operation = document["paths"][path]["post"]
        for schema, instance in (
            (operation["requestBody"]["content"]["application/json"]["schema"], body),
            (operation["responses"]["200"]["content"]["application/json"]["schema"], await _call(http, path, **body)),
        ):
            Draft202012Validator({**schema, "components": document["components"]}).validate(instance)


async def test_the_services_go_on_without_the_console(stack: Stack, client: Client, user: str) -> None:
    async with console_of(stack.addresses) as console, httpx2.AsyncClient(base_url=console.url) as http:
        await _two_linked_notes(http, user)
        await console.child.stop(0.0)
        assert await client.neighbor_ids("a") == {"b"}
        await client.node.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=node_pb2.NewNode(title="after")))


async def test_the_console_keeps_nothing(stack: Stack, user: str, tmp_path: Path) -> None:
    """Neither on the disk nor from one process to the next: another console answers the same at once."""
    answers = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        async with (
            console_of(stack.addresses, TMPDIR=str(folder), HOME=str(folder), PYTHONDONTWRITEBYTECODE="1") as console,
            httpx2.AsyncClient(base_url=console.url, timeout=100.0) as http,
        ):
            if name == "first":
                await _two_linked_notes(http, user)
            for format_ in ("markdown", "graphml", "jsonl"):
                assert (await http.get("/export", params={"user": user, "format": format_})).status_code == 200
            message = {"message": json.dumps({"userId": user, "nodeId": "a"})}
            answers.append((await http.get(NODE + "GetNode", params=message)).json())
            await until(functools.partial(_is_empty, folder), what=f"nothing in {folder}")
    assert answers[0] == answers[1]


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return (out + err).decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_writes_a_note_and_reads_its_links(console: Console, user: str) -> None:
    async def curl(path: str, **body: Any) -> Any:
        json_ = json.dumps({"userId": user, **body})
        return json.loads(await _output("curl", "-sS", "--json", json_, console.url + path))

    for node_id, title in (("tea", "Tea"), ("pot", "Pot")):
        await curl(NODE + "CreateNode", node={"nodeId": node_id, "title": title})
    await curl(GRAPH + "CreateEdge", edge={"sourceId": "tea", "targetId": "pot"})
    answer = await curl(GRAPH + "GetNeighbors", nodeId="tea", withTitles=True)
    assert [neighbor["title"] for neighbor in answer["neighbors"]] == ["Pot"]


async def test_a_client_of_connect_understands_all_of_it(console: Console, user: str) -> None:
    """buf speaks Connect's protocol: unary calls, their errors, and streams in envelopes."""

    async def call(path: str, **body: Any) -> str:
        buf = (str(ROOT / ".venv" / "bin" / "buf"), "curl", "--protocol", "connect", "--schema", str(ROOT))
        return await _output(*buf, "-d", json.dumps({"user_id": user, **body}), console.url + path)

    for node_id in ("a", "b"):
        created = json.loads(await call(NODE + "CreateNode", node={"node_id": node_id, "title": node_id}))
        assert created["node"]["title"] == node_id
    await call(GRAPH + "CreateEdge", edge={"source_id": "a", "target_id": "b"})
    listed = json.loads(await call(GRAPH + "ListEdges"))
    assert [(edge["sourceId"], edge["targetId"]) for edge in listed["edges"]] == [("a", "b")]
    missing = json.loads(await call(NODE + "GetNode", node_id="nobody"))
    assert missing["code"] == "not_found"
    assert missing["details"][0]["debug"]["reason"] == "NODE_NOT_FOUND"
    wrong = json.loads(await call(GRAPH + "ListEdges", min_weight=7))
    assert wrong["code"] == "invalid_argument"
