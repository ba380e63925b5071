"""A whole stack whose services authenticate each other, and users who look alike: nothing of one reaches another."""

import asyncio
import io
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.local.demo.client import Client
from deploy.local.stack import Stack
from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.config import ClientSecurity
from shared.errors import Brain2Error, PermissionDenied
from shared.grpc.client import Channels
from tests.support.stack import whole_stack
from tests.support.tokens import write_keys
from tests.support.waiting import until

# They differ in case, in a suffix, and in characters that separate the parts of keys elsewhere.
USERS = ("ada", "Ada", "ada1", "ada.1", "ada-1", "ada@x")
_SERVICE = "service-" * 5
SEED = 20260
STEPS = 60


def key_of(user: str) -> str:
    return f"key-of-{user}".ljust(40, "k")


def canary(user: str) -> str:
    """A word that stands in the notes of this user alone."""
    return "canary" + "".join(chr(ord("a") + (ord(letter) % 26)) for letter in user) + f"x{USERS.index(user)}x"


@dataclass
class Locked:
    """A stack with BRAIN2_AUTH=preshared, and the client of each user."""

    stack: Stack
    log: io.StringIO
    clients: dict[str, Client]


@pytest.fixture(scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    service = {"name": "service", "key": _SERVICE, "scopes": ["read", "write", "internal", "act_as"]}
    users = [
        {"name": f"user{number}", "key": key_of(user), "scopes": ["read", "write"], "user": user}
        for number, user in enumerate(USERS)
    ]
    (folder / "token").write_text(_SERVICE)
    settings = {
        "BRAIN2_AUTH": "preshared",
        "BRAIN2_AUTH_KEYS": write_keys(folder / "keys.json", service, *users),
        "BRAIN2_TOKEN_FILE": str(folder / "token"),
        "BRAIN2_CLEANUP_POLL_SECONDS": "0.2",
        "BRAIN2_LOG_LEVEL": "DEBUG",
    }
    async with AsyncExitStack() as stack:
        found, log = await stack.enter_async_context(whole_stack(folder, **settings))
        clients = {}
        for user in USERS:
            security = ClientSecurity(token=key_of(user))
            channels = await stack.enter_async_context(Channels(timeout=100.0, security=security))
            clients[user] = Client(channels, found.addresses, user)
        yield Locked(found, log, clients)


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
    assert await ada.neighbor_ids("tea") == set()
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
    assert not [user for user in USERS if key_of(user) in log]
    assert _SERVICE not in log
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


def test_the_canaries_differ() -> None:
    words = [canary(user) for user in USERS]
    assert len(set(words)) == len(USERS)
    assert not [(a, b) for a in words for b in words if a != b and a in b]
