"""A whole stack whose services authenticate each other, and users who look alike: nothing of one reaches another."""

import asyncio
import io
import random
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import mcp_types
import pytest
from mcp.client.client import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from clients.python.brain2 import Brain2
from clients.python.brain2 import Brain2Error as ClientError
from deploy.local import export, importer
from deploy.local.stack import SERVICES, Stack
from deploy.local.stores import ROOT
from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.cleanup_service.adapters import command, export_command
from services.node_service.adapters import replay_command
from shared.config import ClientSecurity
from shared.errors import Brain2Error, NotFound, PermissionDenied
from shared.grpc.client import Channels
from tests.support.client import Client
from tests.support.console import Console, console_of
from tests.support.stack import stack_of, stack_options
from tests.support.tokens import AUDIENCE, ISSUER, Issuer, write_keys
from tests.support.waiting import until

# They differ in case, in a suffix, and in characters that separate the parts of keys elsewhere.
USERS = ("ada", "Ada", "ada1", "ada.1", "ada-1", "ada@x")
SEED = 20260
STEPS = 60


def canary(user: str) -> str:
    """A word that stands in the notes of this user alone."""
    return "canary" + "".join(chr(ord("a") + (ord(letter) % 26)) for letter in user) + f"x{USERS.index(user)}x"


class Keys:
    """Preshared keys of everybody."""

    mode = "preshared"

    def __init__(self, folder: Path) -> None:
        entries = [
            {"name": name.replace("@", "-at-"), "key": self.token(name), "scopes": sorted(scopes)}
            | ({"user": user} if user else {})
            for name, (user, scopes) in CALLERS.items()
        ]
        self.env = {"BRAIN2_AUTH": self.mode, "BRAIN2_AUTH_KEYS": write_keys(folder / "keys.json", *entries)}

    def token(self, name: str) -> str:
        return f"key-of-{name}-".ljust(40, "k")


class Tokens:
    """Tokens of an issuer."""

    mode = "oidc"

    def __init__(self, folder: Path) -> None:
        self.issuer = Issuer()
        (folder / "jwks.json").write_bytes(self.issuer.jwks())
        self.env = {
            "BRAIN2_AUTH": self.mode,
            "BRAIN2_OIDC_ISSUER": ISSUER,
            "BRAIN2_OIDC_AUDIENCE": AUDIENCE,
            "BRAIN2_OIDC_JWKS": str(folder / "jwks.json"),
            "BRAIN2_OIDC_LEEWAY_SECONDS": "0",
        }

    def token(self, name: str, **claims: Any) -> str:
        user, scopes = CALLERS[name]
        return self.issuer.token(user or name, " ".join(scopes), **{"exp": int(time.time()) + 3600} | claims)


def documented_scopes() -> dict[str, list[str]]:
    """What each service needs, as docs/operations.md has it."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (node|graph|similarity|cleanup) \| [^|]* \| ([^|]*) \|$", text, re.MULTILINE)
    return {context: scopes.split(", ") for context, scopes in rows}


# Name -> the user ("" for one who has none) and the scopes.
CALLERS: dict[str, tuple[str, list[str]]] = {
    **{user: (user, ["read", "write"]) for user in USERS},
    **{f"service-{context}": ("", scopes) for context, scopes in documented_scopes().items()},
    "reader": ("ada", ["read"]),
    "operator": ("", ["read", "admin", "act_as"]),
}


@dataclass
class Locked:
    """A stack with authentication, and the client of each user."""

    stack: Stack
    log: io.StringIO
    clients: dict[str, Client]
    callers: Keys | Tokens
    channels: AsyncExitStack

    def token(self, name: str) -> str:
        return self.callers.token(name)

    async def client(self, name: str, user: str = "") -> Client:
        """A client that sends the token of this caller; user: whom its requests name."""
        return await self.with_token(self.token(name), user)

    async def with_token(self, token: str, user: str = "") -> Client:
        security = ClientSecurity(token=token)
        channels = await self.channels.enter_async_context(Channels(timeout=100.0, security=security))
        return Client(channels, self.stack.addresses, user)


@pytest.fixture(scope="module", params=[Keys, Tokens], ids=["preshared", "oidc"])
async def locked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    callers = request.param(folder)
    for context in SERVICES:
        (folder / f"token-{context}").write_text(callers.token(f"service-{context}"))
    env = callers.env | {"BRAIN2_CLEANUP_POLL_SECONDS": "0.2", "BRAIN2_LOG_LEVEL": "DEBUG"}

    def command(context: str) -> list[str]:
        # Each service has a token of its own, with the scopes that the documentation gives it.
        own = f"BRAIN2_TOKEN_FILE={folder}/token-{context}"
        return ["env", own, sys.executable, "-m", f"services.{context}_service"]

    options = stack_options(folder, extra_env=env, command=command)
    async with AsyncExitStack() as stack:
        found, log = await stack.enter_async_context(stack_of(options))
        locked = Locked(found, log, {}, callers, stack)
        for user in USERS:
            locked.clients[user] = await locked.client(user, user)
        yield locked


async def test_services_reach_each_other_and_strangers_reach_none(locked: Locked) -> None:
    ada = locked.clients["ada"]
    texts = {
        "tea": "Green tea from Uji, steeped in a clay teapot",
        "pot": "A clay teapot keeps green tea warm, from Tokoname",
    }
    for node_id, text in texts.items():
        node = node_pb2.NewNode(node_id=node_id, title=node_id, content=text)
        await ada.node.CreateNode(node_pb2.CreateNodeRequest(node=node))
    # By events to similarity, which reads from node and writes to graph, with the token of the services.
    await until(lambda: _is_linked(ada), what="the automatic link")
    # Node tells graph and similarity at once; cleanup purges through all three.
    await ada.node.DeleteNode(node_pb2.DeleteNodeRequest(node_id="pot"))
    await until(lambda: _has_no_neighbor(ada), what="the note that is hidden")
    await ada.cleanup.QueueDeletion(cleanup_pb2.QueueDeletionRequest(node_id="pot"))
    await until(lambda: _is_purged(ada), what="the purge")

    async with Channels() as strangers:
        for name, address in locked.stack.addresses.items():
            stranger = Client(strangers, locked.stack.addresses, "ada")
            with pytest.raises(Brain2Error) as refused:
                await stranger.node.ListNodes(node_pb2.ListNodesRequest(user_id="ada"))
            assert refused.value.reason == "TOKEN_MISSING", (name, address)


async def _is_linked(client: Client) -> bool:
    answer = await client.graph.GetNeighbors(graph_pb2.GetNeighborsRequest(node_id="tea"))
    return [each.node_id for each in answer.neighbors] == ["pot"]


async def _has_no_neighbor(client: Client) -> bool:
    return not await client.neighbor_ids("tea")


async def _is_purged(client: Client) -> bool:
    answer = await client.cleanup.GetDeletion(cleanup_pb2.GetDeletionRequest(node_id="pot"))
    return bool(answer.deletion.state == cleanup_pb2.DELETION_STATE_DONE)


async def test_users_who_look_alike_stay_apart(locked: Locked) -> None:
    """Random histories of six users over the same node ids; then every answer, error and log line is searched."""
    rng = random.Random(SEED)
    heard: dict[str, list[str]] = {user: [] for user in USERS}

    async def call(user: str, stub: Any, name: str, request: Any) -> None:
        try:
            answer = getattr(stub, name)(request)
            if hasattr(answer, "__aiter__"):
                heard[user] += [str(each) async for each in answer]
            else:
                heard[user].append(str(await answer))
        except Brain2Error as error:
            heard[user].append(f"{error!r} {error.metadata} {error.violations}")

    async def history(user: str) -> None:
        client, word = locked.clients[user], canary(user)
        for _ in range(STEPS):
            node_id, other = (f"n{rng.randrange(5)}" for _ in range(2))
            # With its own name, with another's, or with none.
            named = rng.choice([user, user, rng.choice(USERS), ""])
            new = node_pb2.NewNode(node_id=node_id, title=f"Tea {word}", content=f"Green tea {word}", tags=[word])
            edge = graph_pb2.NewEdge(source_id=node_id, target_id=other, type="related")
            await call(
                user,
                *rng.choice(
                    [
                        (client.node, "CreateNode", node_pb2.CreateNodeRequest(user_id=named, node=new)),
                        (client.node, "GetNode", node_pb2.GetNodeRequest(user_id=named, node_id=node_id)),
                        (
                            client.node,
                            "UpdateNode",
                            node_pb2.UpdateNodeRequest(user_id=named, node_id=node_id, node=new),
                        ),
                        (client.node, "DeleteNode", node_pb2.DeleteNodeRequest(user_id=named, node_id=node_id)),
                        (client.node, "RestoreNode", node_pb2.RestoreNodeRequest(user_id=named, node_id=node_id)),
                        (client.node, "ListNodes", node_pb2.ListNodesRequest(user_id=named)),
                        (client.graph, "CreateEdge", graph_pb2.CreateEdgeRequest(user_id=named, edge=edge)),
                        (
                            client.graph,
                            "GetNeighbors",
                            graph_pb2.GetNeighborsRequest(user_id=named, node_id=node_id, with_titles=True),
                        ),
                        (client.graph, "GetNeighbors", graph_pb2.GetNeighborsRequest(node_id=node_id)),
                        (
                            client.similarity,
                            "SearchNodes",
                            similarity_pb2.SearchNodesRequest(user_id=named, query="tea"),
                        ),
                        (client.similarity, "ListKeywords", similarity_pb2.ListKeywordsRequest(user_id=named)),
                        (client.cleanup, "ExportUser", cleanup_pb2.ExportUserRequest(user_id=named)),
                        (client.cleanup, "ListDeletions", cleanup_pb2.ListDeletionsRequest(user_id=named)),
                    ]
                ),
            )

    await asyncio.gather(*map(history, USERS))
    for user in USERS:
        text = "\n".join(heard[user])
        assert canary(user) in text, "the history of this user shows nothing"
        assert "USER_NOT_ALLOWED" in text
        assert not [other for other in USERS if other != user and canary(other) in text], user
    log = locked.log.getvalue()
    assert not [user for user in USERS if canary(user) in log], "content in the log"
    tokens = re.compile("|".join((r"key-of-", r"eyJ[\w-]+\.[\w-]+\.")))
    assert not tokens.search(log), "a token in the log"
    assert "audit" in log, "the log was not read"


async def test_ids_of_a_user_are_no_keys_to_another(locked: Locked) -> None:
    ada, other = locked.clients["ada"], locked.clients["Ada"]
    with pytest.raises(PermissionDenied):
        await other.node.GetNode(node_pb2.GetNodeRequest(user_id="ada", node_id="tea"))
    with pytest.raises(PermissionDenied):
        await ada.node.PurgeNode(node_pb2.PurgeNodeRequest(user_id="ada", node_id="tea", version=1))
    with pytest.raises(PermissionDenied):
        await ada.cleanup.EraseUser(cleanup_pb2.EraseUserRequest(user_id="ada", confirm_user_id="ada"))
    assert (await ada.node.GetNode(node_pb2.GetNodeRequest(node_id="tea"))).node.user_id == "ada"


async def test_a_rename_has_the_rights_of_its_caller_and_no_more(locked: Locked) -> None:
    ada, other, reader = locked.clients["ada1"], locked.clients["Ada"], await locked.client("reader", "ada")
    for node_id, title, text in (("plan", "Plan", ""), ("diary", "Diary", "I follow the [[Plan]] today")):
        node = node_pb2.NewNode(node_id=node_id, title=title, content=text)
        await ada.node.CreateNode(node_pb2.CreateNodeRequest(node=node))
    request = graph_pb2.GetEdgeRequest(source_id="diary", target_id="plan", type="links_to")
    await until(lambda: _answers(ada.graph.GetEdge(request)), what="the link in the text")

    rename = similarity_pb2.RenameNodeRequest
    for client, user, reason in ((other, "ada1", "USER_NOT_ALLOWED"), (reader, "", "SCOPE_MISSING")):
        with pytest.raises(PermissionDenied) as refused:
            await client.similarity.RenameNode(rename(user_id=user, node_id="plan", title="Mine", rewrite_links=True))
        assert refused.value.reason == reason
    # The similarity service writes with its own token, for the caller's user alone.
    with pytest.raises(NotFound):
        await other.similarity.RenameNode(rename(node_id="plan", title="Mine", rewrite_links=True))
    answer = await ada.similarity.RenameNode(rename(node_id="plan", title="Schedule", rewrite_links=True))
    assert (answer.done, answer.rewritten, len(answer.failures)) == (True, 1, 0)
    node = (await ada.node.GetNode(node_pb2.GetNodeRequest(node_id="diary"))).node
    assert node.content == "I follow the [[Schedule]] today"


async def _answers(call: Any) -> bool:
    try:
        await call
    except NotFound:
        return False
    return True


async def test_operators_reach_every_service_through_the_others(locked: Locked) -> None:
    eve = locked.clients["ada.1"]
    for node_id in ("e1", "e2"):
        node = node_pb2.NewNode(node_id=node_id, title="Tea", content="Green tea from Uji in a clay teapot")
        await eve.node.CreateNode(node_pb2.CreateNodeRequest(node=node))
    await eve.node.DeleteNode(node_pb2.DeleteNodeRequest(node_id="e2"))
    operator = await locked.client("operator")
    replay = operator.node.ReplayEvents(node_pb2.ReplayEventsRequest(user_id="ada.1"))
    assert [answer.finished async for answer in replay][-1]
    reindex = operator.similarity.ReindexUser(similarity_pb2.ReindexUserRequest(user_id="ada.1", relink=True))
    assert [answer.finished async for answer in reindex][-1]
    reconcile = operator.cleanup.ReconcileUser(cleanup_pb2.ReconcileUserRequest(user_id="ada.1"))
    report = [answer.report async for answer in reconcile if answer.HasField("report")][-1]
    assert dict(report.found) == dict(report.repaired)
    erase = cleanup_pb2.EraseUserRequest(user_id="ada.1", confirm_user_id="ada.1")
    erasure = (await operator.cleanup.EraseUser(erase)).erasure
    get = cleanup_pb2.GetErasureRequest(erasure_id=erasure.erasure_id)

    async def removed() -> bool:
        found = (await operator.cleanup.GetErasure(get)).erasure
        listed = await eve.node.ListNodes(node_pb2.ListNodesRequest())
        return bool(found.error == "" and not listed.nodes)

    await until(removed, what="the erasure")
    with pytest.raises(PermissionDenied):
        await locked.clients["ada"].cleanup.ReconcileUser(cleanup_pb2.ReconcileUserRequest()).__anext__()


# ---------------------------------------------------------------------- the ways in

NOTE = {"nodeId": "door", "title": "Door"}
CREATE, GET = "/brain2.node.v1.NodeService/CreateNode", "/brain2.node.v1.NodeService/GetNode"


def expired(locked: Locked) -> str:
    """A token of the past; with preshared keys, one that was withdrawn."""
    if isinstance(locked.callers, Tokens):
        return locked.callers.token("ada", exp=int(time.time()) - 60)
    return "withdrawn".ljust(40, "w")


def expired_reason(locked: Locked) -> str:
    return "TOKEN_EXPIRED" if isinstance(locked.callers, Tokens) else "TOKEN_INVALID"


@pytest.fixture(scope="module")
async def way_in(locked: Locked) -> AsyncIterator[Console]:
    """A console that has a mighty token in its own environment, which no request may borrow."""
    token = locked.token("operator")
    async with console_of(locked.stack.addresses, BRAIN2_TOKEN=token, BRAIN2_USER="ada") as found:
        yield found


async def test_http_has_the_rights_of_the_token(locked: Locked, way_in: Console) -> None:
    async with httpx2.AsyncClient(base_url=way_in.url, timeout=100.0) as http:

        async def call(path: str, token: str, **body: Any) -> tuple[int, str]:
            """The status and the reason of the error."""
            headers = {"authorization": f"Bearer {token}"} if token else {}
            answer = await http.post(path, json=body, headers=headers)
            details = answer.json().get("details", [])
            return answer.status_code, next((each["debug"]["reason"] for each in details if "debug" in each), "")

        assert await call(CREATE, locked.token("ada"), node=NOTE) == (200, "")
        assert await call(GET, locked.token("reader"), nodeId="door") == (200, "")
        assert await call(CREATE, locked.token("reader"), node=NOTE) == (403, "SCOPE_MISSING")
        assert await call(GET, locked.token("Ada"), userId="ada", nodeId="door") == (403, "USER_NOT_ALLOWED")
        assert await call(GET, locked.token("Ada"), nodeId="door") == (404, "NODE_NOT_FOUND")
        assert await call(GET, expired(locked), nodeId="door") == (401, expired_reason(locked))
        assert await call(GET, "", userId="ada", nodeId="door") == (401, "TOKEN_MISSING")


async def test_mcp_has_the_rights_of_the_token(locked: Locked, way_in: Console) -> None:
    async def tool(token: str, name: str, user: str = "", **arguments: Any) -> tuple[bool, str]:
        """Whether the tool failed, and its text."""
        headers = {"authorization": f"Bearer {token}"} | ({"x-brain2-user": user} if user else {})
        async with (
            httpx2.AsyncClient(headers=headers, timeout=100.0) as http,
            McpClient(streamable_http_client(f"{way_in.url}/mcp", http_client=http)) as client,
        ):
            result = await client.call_tool(name, arguments)
            assert isinstance(result, mcp_types.CallToolResult)
            return bool(result.is_error), "".join(getattr(each, "text", "") for each in result.content)

    assert (await tool(locked.token("ada"), "write_note", id="by-mcp", title="By MCP", text="tea"))[0] is False
    assert (await tool(locked.token("reader"), "read_note", id="by-mcp"))[0] is False
    for failed, text, reason in (
        (*await tool(locked.token("reader"), "write_note", title="No", text="tea"), "SCOPE_MISSING"),
        (*await tool(locked.token("Ada"), "read_note", user="ada", id="by-mcp"), "USER_NOT_ALLOWED"),
        (*await tool(locked.token("Ada"), "read_note", id="by-mcp"), "NODE_NOT_FOUND"),
    ):
        assert failed
        assert reason in text
    async with httpx2.AsyncClient(base_url=way_in.url, timeout=100.0) as http:
        for token in (expired(locked), "x" * 40, ""):
            headers = {"authorization": f"Bearer {token}"} if token else {}
            assert (await http.post("/mcp", json={}, headers=headers)).status_code == 401


async def test_the_python_client_has_the_rights_of_the_token(locked: Locked) -> None:
    addresses: dict[str, Any] = {name: address for name, address in locked.stack.addresses.items() if name != "node"}

    def client(token: str, user: str = "") -> Brain2:
        return Brain2(locked.stack.addresses["node"], token=token, user=user, timeout=100.0, **addresses)

    async with client(locked.token("ada1")) as ada:
        await ada.notes.create(title="By Python", node_id="by-python")
        assert (await ada.notes.get("by-python")).title == "By Python"
    for token, user, reason in (
        (locked.token("Ada"), "ada1", "USER_NOT_ALLOWED"),
        (locked.token("Ada"), "", "NODE_NOT_FOUND"),
        (expired(locked), "", expired_reason(locked)),
        ("", "ada1", "TOKEN_MISSING"),
    ):
        async with client(token, user) as stranger:
            with pytest.raises(ClientError) as refused:
                await stranger.notes.get("by-python")
            assert refused.value.reason == reason
    async with client(locked.token("reader")) as reader:
        with pytest.raises(ClientError) as refused:
            await reader.notes.create(title="No")
        assert refused.value.reason == "SCOPE_MISSING"


async def test_the_command_line_tools_send_the_token(
    locked: Locked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    at = locked.stack.addresses
    lines = tmp_path / "notes.jsonl"
    lines.write_text('{"id": "by-import", "title": "By import", "text": "tea"}\n')
    token = tmp_path / "token"
    monkeypatch.setenv("BRAIN2_TOKEN_FILE", str(token))
    into = ["--user", "ada-1", "--target", at["node"], "--graph-target", at["graph"]]
    into += ["--similarity-target", at["similarity"]]
    cleanup = ["--user", "ada-1", "--target", at["cleanup"]]
    tools: list[tuple[str, Any, list[str]]] = [
        ("ada-1", importer.main, [str(lines), *into]),
        ("ada-1", export.main, [*cleanup, "--to", str(tmp_path / "vault")]),
        ("ada-1", export_command.main, cleanup),
        ("operator", replay_command.main, ["--user", "ada-1", "--target", at["node"]]),
        ("operator", command.main, cleanup),
    ]
    for name, tool, arguments in tools:
        token.write_text(locked.token(name) + "\n")
        assert await asyncio.to_thread(tool, arguments) == 0, capfd.readouterr()
    assert (tmp_path / "vault" / "By import.md").exists()
    capfd.readouterr()
    for _, tool, arguments in tools:
        token.write_text(expired(locked))
        assert await asyncio.to_thread(tool, [each.replace("vault", "other") for each in arguments]) == 1
        shown = "".join(capfd.readouterr())
        assert expired_reason(locked) in shown or "UNAUTHENTICATED" in shown or "token" in shown, shown
        assert "Traceback" not in shown


def test_the_canaries_differ() -> None:
    words = [canary(user) for user in USERS]
    assert len(set(words)) == len(USERS)
    assert not [(a, b) for a in words for b in words if a != b and a in b]
