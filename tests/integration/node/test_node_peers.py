"""SetNodeVisibility at a deletion: over real channels, to peers that answer, hang or are away."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.config import ServerConfig
from shared.errors import Unavailable, Unimplemented
from shared.grpc.server import GrpcServer
from tests.support.node_service import NodeService, running
from tests.support.stores import Stores
from tests.support.waiting import until

GRAPH = graph_pb2.DESCRIPTOR.services_by_name["GraphService"]
SIMILARITY = similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"]


class Peer:
    """Stands for a service of which only two methods are ever called.

    calls: what was set. shown: what its readers see of announced changes, by announcement_id. earlier: it is of an
    earlier release, which announces nothing.
    """

    def __init__(self, service: ServiceDescriptor) -> None:
        self.service = service
        self.calls: list[tuple[str, int, bool]] = []
        self.shown: dict[str, tuple[str, int, bool]] = {}
        self.announced: list[tuple[str, int, bool]] = []
        self.hangs = self.fails = self.earlier = False
        self.answer: asyncio.Event | None = None
        self.done: list[str] = []
        for method in service.methods:
            if method.name not in ("SetNodeVisibility", "AnnounceNodeVisibility"):
                setattr(self, method.name, self._unexpected)

    async def SetNodeVisibility(self, request: Any, context: Any) -> bytes:
        self.calls.append((request.node_id, request.version, request.visible))
        await self._work(request)
        return b""

    async def AnnounceNodeVisibility(self, request: Any, context: Any) -> bytes:
        if self.earlier:
            raise Unimplemented("no such method")
        change = request.node_id, request.version, request.visible
        if request.withdraw:
            assert self.shown.pop(request.announcement_id) == change
        else:
            self.announced.append(change)
            await self._work(request)
            self.shown[request.announcement_id] = change
        response = graph_pb2.AnnounceNodeVisibilityResponse(announced=not request.withdraw)
        return response.SerializeToString()

    async def _work(self, request: Any) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.answer is not None:
            await self.answer.wait()
        self.done.append(request.node_id)
        if self.fails:
            raise Unavailable("not now")

    async def _unexpected(self, request: Any, context: Any) -> bytes:
        raise AssertionError("the node service never calls this")


class World:
    """A node service with its two peers."""

    def __init__(self, service: NodeService, graph: Peer, similarity: Peer, targets: tuple[str, str]) -> None:
        self.service = service
        self.targets = targets
        self.graph = graph
        self.similarity = similarity
        self.peers = (graph, similarity)


@pytest.fixture
async def world(stores: Stores) -> AsyncIterator[World]:
    peers = Peer(GRAPH), Peer(SIMILARITY)
    settings = ServerConfig(listen="127.0.0.1:0")
    servers = [GrpcServer(settings, [pair]) for pair in zip((GRAPH, SIMILARITY), peers, strict=True)]
    ports = [await server.start() for server in servers]
    try:
        async with running(
            stores,
            BRAIN2_GRAPH_TARGET=f"127.0.0.1:{ports[0]}",
            BRAIN2_SIMILARITY_TARGET=f"127.0.0.1:{ports[1]}",
            # Wide, so that a busy machine doesn't decide the test.
            BRAIN2_VISIBILITY_MS="1000",
        ) as service:
            yield World(service, *peers, (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"))
    finally:
        for server in servers:
            await server.stop(0)


async def test_a_delete_and_a_restore_call_both(world: World, user: str) -> None:
    await world.service.create(user)
    await world.service.update(user, title="X")
    assert world.graph.announced == world.similarity.announced == []
    await world.service.delete(user)
    assert [list(peer.shown.values()) for peer in world.peers] == [[("n", 3, False)]] * 2
    await world.service.restore(user)
    assert [peer.announced for peer in world.peers] == [[("n", 3, False), ("n", 4, True)]] * 2
    both = [("n", 3, False), ("n", 4, True)]
    await until(lambda: world.graph.calls == world.similarity.calls == both, what="both are confirmed")


async def test_a_deletion_that_was_not_written_is_withdrawn(world: World, user: str) -> None:
    """The request had been carried out before, so the transaction, which the cached note begins, is refused."""
    await world.service.create(user)
    first = await world.service.delete(user, request_id="once")
    await world.service.restore(user)
    await until(lambda: len(world.graph.calls) == len(world.similarity.calls) == 2, what="both are confirmed")
    for peer in world.peers:
        peer.shown.clear()
    assert await world.service.delete(user, request_id="once") == first
    assert [peer.announced[2:] for peer in world.peers] == [[("n", 4, False)]] * 2, "it was announced"
    assert [peer.shown for peer in world.peers] == [{}, {}]
    assert not (await world.service.get(user)).HasField("delete_time")


async def test_a_peer_of_an_earlier_release_stores_the_change_before_the_answer(world: World, user: str) -> None:
    await world.service.create(user)
    world.graph.earlier = True
    await world.service.delete(user)
    assert world.graph.calls == [("n", 2, False)]
    await world.service.restore(user)
    assert world.graph.calls == [("n", 2, False), ("n", 3, True)]
    assert world.graph.shown == {}


async def test_a_repeat_calls_them_again(world: World, user: str) -> None:
    await world.service.create(user)
    world.graph.fails = True
    await world.service.delete(user)
    world.graph.fails = False
    await world.service.delete(user)
    await until(lambda: world.similarity.calls == [("n", 2, False)] * 2, what="the second call")
    # The calls are idempotent, so one that fails is also retried by itself.
    assert len(world.graph.announced) > 1
    assert set(world.graph.calls) == {("n", 2, False)}


async def test_a_peer_that_hangs_costs_the_budget_once_not_twice(stores: Stores, world: World, user: str) -> None:
    await world.service.create(user)
    world.graph.hangs = world.similarity.hangs = True
    started = monotonic()
    await world.service.delete(user)
    # Both at once, so about one second, not two.
    assert 0.9 < monotonic() - started < 1.9
    assert (await world.service.get(user, show_deleted=True)).HasField("delete_time")


async def test_a_late_peer_gets_the_change_when_nobody_waits_any_more(stores: Stores, world: World, user: str) -> None:
    targets = {"BRAIN2_GRAPH_TARGET": world.targets[0], "BRAIN2_SIMILARITY_TARGET": world.targets[1]}
    async with running(stores, **targets, BRAIN2_VISIBILITY_MS="1") as service:
        await service.create(user)
        world.graph.answer = asyncio.Event()
        await service.delete(user)
        assert world.graph.done == []
        await until(lambda: world.graph.announced, what="the call")
        world.graph.answer.set()
        await until(lambda: world.graph.calls == [("n", 2, False)], what="the confirmation")


async def test_a_peer_that_is_gone_costs_nothing(stores: Stores, user: str) -> None:
    async with running(
        stores,
        BRAIN2_GRAPH_TARGET="127.0.0.1:1",
        BRAIN2_SIMILARITY_TARGET="127.0.0.1:1",
        BRAIN2_VISIBILITY_MS="1000",
    ) as service:
        for at in range(8):
            await service.create(user, f"n{at}")
            assert (await service.delete(user, f"n{at}")).version == 2
            assert (await service.restore(user, f"n{at}")).node.version == 3


async def test_a_purge_calls_neither(world: World, user: str) -> None:
    await world.service.create(user)
    await world.service.delete(user)
    await until(lambda: world.graph.calls, what="the confirmation")
    calls = len(world.graph.calls)
    for fence in (True, False):
        await world.service.stub.PurgeNode(node_pb2.PurgeNodeRequest(user_id=user, node_id="n", version=2, fence=fence))
    assert len(world.graph.calls) == calls
