"""Notes with many edges: paged in Redis, repaired entry by entry under writes, right without Redis as well."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as redis_py

from protos.graph.v1 import graph_pb2
from services.graph_service.adapters.list_cache import RedisLists
from services.graph_service.ports import CacheState, Lease
from tests.support import graph_service
from tests.support.graph_nodes import FakeNodes
from tests.support.graph_service import GraphService
from tests.support.stores import Stores

DEGREE = 120


@pytest.fixture(scope="module")
async def small(stores: Stores, nodes: FakeNodes) -> AsyncIterator[GraphService]:
    """A service for which a note is a hub from 33 edges on, and that keeps nothing in memory."""
    async with graph_service.running(stores, nodes, BRAIN2_HUB_DEGREE="32", BRAIN2_L1_BYTES="0") as found:
        yield found


@pytest.fixture(scope="module")
async def other(stores: Stores, nodes: FakeNodes) -> AsyncIterator[GraphService]:
    async with graph_service.running(stores, nodes, BRAIN2_HUB_DEGREE="32") as found:
        yield found


async def build(service: GraphService, user: str) -> dict[str, float]:
    """The weights of the hub's neighbours; many are alike."""
    rng = random.Random(user)
    weights = {f"n{i:03}": rng.choice((0.25, 0.5, 0.5, 0.75, 1.0)) for i in range(DEGREE)}
    news = [graph_pb2.NewEdge(source_id="hub", target_id=n, weight=w) for n, w in weights.items()]
    await service.batch(user, news)
    return weights


def ordered(weights: dict[str, float]) -> list[str]:
    return sorted(weights, key=lambda note: (-weights[note], note))


async def walk(service: GraphService, user: str, **fields: Any) -> list[str]:
    ids: list[str] = []
    token = ""
    while True:
        page = await service.page(user, "hub", page_token=token, **fields)
        ids += [n.node_id for n in page.neighbors]
        token = page.next_page_token
        if not token:
            return ids


async def test_the_list_is_kept_as_a_hub(small: GraphService, stores: Stores, user: str) -> None:
    await build(small, user)
    await small.page(user, "hub")
    async with redis_py.Redis.from_url(stores.redis_url) as redis:
        states = {key.decode().rpartition(":")[2]: key async for key in redis.scan_iter(match=f"g:{{{user}}}:a:*")}
        assert await redis.getrange(states["hub"], 0, 0) == b"H"
        by_weight = states["hub"].replace(b":a:", b":w:")
        assert await redis.zcard(by_weight) == DEGREE
        await redis.zremrangebyrank(by_weight, 0, 0)
        assert (await small.page(user, "hub")).total_degree == DEGREE, "lists that disagree are thrown away"


async def test_warming_fills_hubs_as_well(small: GraphService, stores: Stores, user: str) -> None:
    await build(small, user)
    answer = await small.stub.WarmCache(graph_pb2.WarmCacheRequest(user_id=user))
    assert answer.warmed == DEGREE + 1
    async with redis_py.Redis.from_url(stores.redis_url) as redis:
        assert await redis.getrange(f"g:{{{user}}}:a:hub", 0, 0) == b"H"


async def test_pages_filters_and_degree(small: GraphService, other: GraphService, user: str) -> None:
    weights = await build(small, user)
    for service in (small, other):
        assert await walk(service, user, page_size=17) == ordered(weights)
        assert (await service.page(user, "hub", page_size=1)).total_degree == DEGREE
        heavy = [note for note in ordered(weights) if weights[note] >= 0.75]
        assert await walk(service, user, page_size=10, min_weight=0.75) == heavy
        newest = await walk(service, user, page_size=50, order=graph_pb2.NEIGHBOR_ORDER_TIME)
        assert sorted(newest) == sorted(weights)
        answer = await service.stub.BatchGetNeighbors(
            graph_pb2.BatchGetNeighborsRequest(user_id=user, node_ids=["hub", "n001"], limit=5)
        )
        assert [n.node_id for n in answer.results[0].neighbors] == ordered(weights)[:5]
        assert answer.results[0].total_degree == DEGREE


async def test_writes_are_seen_at_once(small: GraphService, other: GraphService, user: str) -> None:
    weights = await build(small, user)
    await walk(other, user, page_size=50)
    rng = random.Random(user)
    for step in range(60):
        writer, reader = rng.sample((small, other), 2)
        note = f"n{rng.randrange(DEGREE + 20):03}"
        if note in weights and rng.random() < 0.5:
            token = (await writer.delete(user, "hub", note)).consistency_token
            del weights[note]
        elif note in weights:
            weights[note] = rng.choice((0.1, 0.6, 0.9))
            request = graph_pb2.UpdateEdgeRequest(user_id=user, source_id="hub", target_id=note, weight=weights[note])
            token = (await writer.stub.UpdateEdge(request)).consistency_token
        else:
            weights[note] = rng.choice((0.1, 0.6, 0.9))
            token = (await writer.create(user, "hub", note, weight=weights[note])).consistency_token
        page = await reader.page(user, "hub", page_size=20, consistency_token=token)
        assert [n.node_id for n in page.neighbors] == ordered(weights)[:20], step
        assert page.total_degree == len(weights)
    assert await walk(small, user, page_size=33) == ordered(weights)


async def test_readers_and_writers_at_once_end_in_the_truth(
    small: GraphService, other: GraphService, user: str
) -> None:
    weights = await build(small, user)
    rng = random.Random(user)
    added = {f"x{i:03}": rng.choice((0.3, 0.8)) for i in range(60)}
    removed = rng.sample(sorted(weights), 30)

    async def write() -> None:
        for note, weight in added.items():
            await rng.choice((small, other)).create(user, "hub", note, weight=weight)

    async def erase() -> None:
        for note in removed:
            await rng.choice((small, other)).delete(user, "hub", note)

    async def read(service: GraphService) -> None:
        for _ in range(40):
            await service.page(user, "hub", page_size=30)

    await asyncio.gather(write(), erase(), read(small), read(other))
    expected = {note: weight for note, weight in (weights | added).items() if note not in removed}
    assert await walk(small, user, page_size=40) == ordered(expected)
    assert (await small.page(user, "hub")).total_degree == len(expected)


async def test_hidden_neighbours_and_the_cap_of_automatic_edges(small: GraphService, user: str) -> None:
    weights = await build(small, user)
    gone = ordered(weights)[3:8]
    for note in gone:
        await small.hide(user, note, 2)
    visible = [note for note in ordered(weights) if note not in gone]
    assert await walk(small, user, page_size=19) == visible
    assert (await small.page(user, "hub")).total_degree == DEGREE - 5
    meta = graph_pb2.EdgeMetadata(auto_generated=True)
    news = [graph_pb2.NewEdge(source_id="hub", target_id=f"auto{i:03}", metadata=meta) for i in range(60)]
    answer = await small.batch(user, news)
    assert [r.reason for r in answer.results].count("AUTO_EDGE_CAP") == 10
    again = await small.batch(user, [graph_pb2.NewEdge(source_id="hub", target_id="late", metadata=meta)])
    assert again.results[0].reason == "AUTO_EDGE_CAP"
    await small.create(user, "hub", "linked", type="about")
    beside = [graph_pb2.NewEdge(source_id="linked", target_id="hub", metadata=meta)]
    assert (await small.batch(user, beside)).results[0].reason == "ALREADY_LINKED"


@pytest.fixture
def fills(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notes whose lists are filled as those of hubs."""
    begun: list[str] = []
    original = RedisLists.hub_lease

    async def hub_lease(lists: RedisLists, user_id: str, node_id: str) -> Lease | CacheState:
        begun.append(node_id)
        return await original(lists, user_id, node_id)

    monkeypatch.setattr(RedisLists, "hub_lease", hub_lease)
    return begun


async def test_a_hub_that_shrinks_is_a_list_again(small: GraphService, user: str, fills: list[str]) -> None:
    weights = await build(small, user)
    assert await walk(small, user) == ordered(weights)
    fills.clear()
    for degree in range(DEGREE - 1, 9, -1):
        await small.delete(user, "hub", ordered(weights)[degree])
        page = await small.page(user, "hub", page_size=1)
        assert page.total_degree == degree
    assert await small.neighbors(user, "hub") == ordered(weights)[:10]
    assert len(fills) <= 1, "the fill that finds too few edges is not repeated"
