"""Redis lost, slow, flushed, restarted: no wrong answer, no failed write, and stale lists never come back."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis_py

from protos.graph.v1 import graph_pb2
from shared.dynamo import Table
from tests.support import graph_service, valkey
from tests.support.graph_nodes import FakeNodes
from tests.support.graph_service import GraphService
from tests.support.stores import Stores
from tests.support.valkey import Valkey
from tests.support.waiting import until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Valkey]:
    async with valkey.running(tmp_path / "valkey") as found:
        yield found


@pytest.fixture
async def pair(stores: Stores, nodes: FakeNodes, server: Valkey) -> AsyncIterator[tuple[GraphService, GraphService]]:
    async with contextlib.AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(graph_service.running(stores, nodes, REDIS_URL=server.url))
            for _ in range(2)
        ]
        yield first, second


@contextlib.asynccontextmanager
async def redis_of(server: Valkey) -> AsyncIterator[Any]:
    async with redis_py.Redis(port=server.port) as redis:
        yield redis


async def cached(server: Valkey, user: str) -> list[bytes]:
    """What Redis holds as lists of this user, by state."""
    async with redis_of(server) as redis:
        return [(await redis.get(key))[:1] async for key in redis.scan_iter(match=f"g:{{{user}}}:a:*")]


async def journal_entries(stores: Stores, user: str) -> int:
    async with stores.client("dynamodb") as client:
        table = Table(client, stores.environment("graph")["BRAIN2_TABLE"])
        pages = [await table.query(f"GRAPH#JOURNAL#{shard}") for shard in range(4)]
    return sum(item["user"] == user for page in pages for item in page.items)


async def used_again(service: GraphService, server: Valkey, user: str) -> None:
    async def stored() -> bool:
        await service.page(user, "probe")
        return b"V" in await cached(server, user)

    await until(stored, what="Redis in use")


async def test_everything_works_without_redis(
    pair: tuple[GraphService, GraphService], server: Valkey, user: str
) -> None:
    first, second = pair
    await first.create(user, "a", "b")
    assert await second.neighbors(user, "a") == ["b"]
    await server.kill()
    for i in range(5):
        token = (await first.create(user, "a", f"n{i}")).consistency_token
        assert len(await second.neighbors(user, "a", consistency_token=token)) == i + 2
        assert len(await first.neighbors(user, "a")) == i + 2
    await first.hide(user, "b", 2)
    assert "b" not in await second.neighbors(user, "a")
    assert (await first.delete(user, "a", "n0")).deleted
    answer = await second.stub.BatchGetNeighbors(graph_pb2.BatchGetNeighborsRequest(user_id=user, node_ids=["a", "n1"]))
    assert [r.total_degree for r in answer.results] == [4, 1]


async def test_lists_from_before_an_outage_do_not_come_back(
    pair: tuple[GraphService, GraphService], server: Valkey, stores: Stores, user: str
) -> None:
    """Redis keeps its memory but can't be reached, while a write goes on: the journal tells it afterwards."""
    first, second = pair
    await first.create(user, "a", "b")
    assert await second.neighbors(user, "a") == ["b"]
    server.freeze()
    token = (await first.create(user, "a", "c")).consistency_token
    assert await first.neighbors(user, "a", consistency_token=token) == ["b", "c"]
    assert await second.neighbors(user, "a", consistency_token=token) == ["b", "c"]
    server.thaw()

    async def both() -> bool:
        return [await s.neighbors(user, "a") for s in pair] == [["b", "c"], ["b", "c"]]

    await until(both, seconds=10, what="both services at the truth")

    async def empty() -> bool:
        return await journal_entries(stores, user) == 0

    await until(empty, seconds=10, what="the journal replayed")
    await used_again(first, server, user)
    assert await first.neighbors(user, "a") == ["b", "c"]
    assert await second.neighbors(user, "a") == ["b", "c"]


async def test_a_restarted_redis_begins_anew(
    pair: tuple[GraphService, GraphService], server: Valkey, user: str
) -> None:
    first, second = pair
    await first.create(user, "a", "b")
    token = (await first.create(user, "a", "c")).consistency_token
    assert await second.neighbors(user, "a") == ["b", "c"]
    await server.kill()
    await server.start()
    # What a snapshot from before would bring back, under the name of the instance that died.
    assert await second.neighbors(user, "a", consistency_token=token) == ["b", "c"]
    await used_again(second, server, user)
    late = (await first.delete(user, "a", "b")).consistency_token
    assert await second.neighbors(user, "a", consistency_token=late) == ["c"]


async def test_a_flush_in_the_middle_changes_no_answer(
    pair: tuple[GraphService, GraphService], server: Valkey, user: str
) -> None:
    first, second = pair
    async with redis_of(server) as redis:
        for i in range(20):
            token = (await first.create(user, "a", f"n{i:02}")).consistency_token
            if i % 3 == 0:
                await redis.flushall()
            assert len(await second.neighbors(user, "a", consistency_token=token)) == i + 1
            if i % 5 == 0:
                await redis.flushall()
            assert len(await first.neighbors(user, "a")) == i + 1


async def test_another_instances_lists_are_not_believed(
    pair: tuple[GraphService, GraphService], server: Valkey, user: str
) -> None:
    """A promoted replica that missed an invalidation holds an old list under the old instance's name."""
    first, _ = pair
    await first.create(user, "a", "b")
    assert await first.neighbors(user, "a") == ["b"]
    async with redis_of(server) as redis:
        kept = {key: await redis.dump(key) async for key in redis.scan_iter(match="g:*:a:*")}
    assert kept
    await server.kill()
    await first.create(user, "a", "c")
    await server.start()
    async with redis_of(server) as redis:
        for key, value in kept.items():
            await redis.restore(key, 0, value)
    await used_again(first, server, user)
    assert await first.neighbors(user, "a") == ["b", "c"]


async def test_a_cluster_serves(tmp_path: Path, stores: Stores, nodes: FakeNodes, user: str) -> None:
    """Three masters: all keys of a user share a slot, and every process hears every invalidation."""
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(valkey.cluster(tmp_path / "cluster"))
        env = {"REDIS_URL": servers[0].url, "BRAIN2_REDIS_CLUSTER": "1", "BRAIN2_HUB_DEGREE": "16"}
        first, second = [await stack.enter_async_context(graph_service.running(stores, nodes, **env)) for _ in range(2)]
        for suffix in "xyz":
            who = user + suffix
            news = [graph_pb2.NewEdge(source_id="hub", target_id=f"n{i:02}") for i in range(40)]
            token = (await first.batch(who, news)).consistency_token
            assert (await second.page(who, "hub", consistency_token=token)).total_degree == 40
            assert await second.neighbors(who, "n01") == ["hub"]
            await first.delete(who, "hub", "n01")

            async def gone(who: str = who) -> bool:
                return await second.neighbors(who, "n01") == []

            await until(gone, seconds=3)
            assert (await first.page(who, "hub")).total_degree == 39
