"""A Redis Cluster gets or loses a master, and two processes find out one after the other: no list is stale meanwhile.

The master of the user's keys stays, so every command of both processes succeeds. The second process writes before it
has found out.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protos.graph.v1 import graph_pb2
from services.graph_service.adapters.instance import instance_name
from services.graph_service.model.edge import NewEdge, edge_key
from services.graph_service.model.neighbors import NeighborQuery, NeighborsRequest
from services.graph_service.ports import VisibilityRecord
from shared.errors import OutOfRange
from shared.redis import Redis
from tests.support import valkey
from tests.support.graph_world import Died, Gate, Process, World
from tests.support.scripted_redis import At
from tests.support.stores import Stores
from tests.support.waiting import until, within

BORN = 7


@pytest.fixture
async def world(stores: Stores) -> AsyncIterator[World]:
    async with World(stores.environment("graph")) as found:
        yield found


async def neighbors(process: Process, user: str, note: str = "a") -> list[str]:
    """As Redis or DynamoDB has them: the process's memory is emptied before."""
    process.notice()
    request = NeighborsRequest(NeighborQuery(user, note, 50))
    answer = await process.components.get_neighbors.get_neighbors(request)
    return sorted(n.node_id for n in graph_pb2.GetNeighborsResponse.FromString(answer).neighbors)


async def link(process: Process, user: str, other: str) -> Any:
    return await process.components.servicer.edges.create_edge(user, NewEdge("a", other))


async def divided(world: World) -> tuple[Process, Process]:
    """There is a new master; the first process knows of it, the second one does not."""
    world.masters.append("second")
    ahead, behind = world.processes
    await ahead.components.recovery.step()
    assert ahead.lists.space not in ("", behind.lists.space)
    return ahead, behind


async def united(world: World) -> None:
    for process in world.processes:
        await process.components.recovery.step()
    assert len({process.lists.space for process in world.processes}) == 1


async def test_a_list_that_is_cached_before_a_write_by_a_process_that_is_behind(world: World, user: str) -> None:
    ahead, behind = await divided(world)
    assert await neighbors(ahead, user) == []
    await link(behind, user, "b")
    assert await neighbors(ahead, user) == ["b"]
    await united(world)
    assert [await neighbors(process, user) for process in world.processes] == [["b"], ["b"]]


async def test_a_write_of_a_process_that_is_ahead(world: World, user: str) -> None:
    ahead, behind = await divided(world)
    assert await neighbors(behind, user) == []
    await link(ahead, user, "b")
    assert await neighbors(behind, user) == ["b"]


async def test_a_fill_that_ends_after_the_write(world: World, user: str) -> None:
    ahead, behind = await divided(world)
    assert await neighbors(ahead, user, "c") == []  # the hidden set is cached
    gate = ahead.hand.fill_gate = Gate(armed=True)
    filling = asyncio.ensure_future(neighbors(ahead, user))
    async with within(20):
        await gate.reached.wait()
    await link(behind, user, "b")
    gate.open()
    await filling
    assert await neighbors(ahead, user) == ["b"]


async def test_a_fill_between_the_begin_and_the_commit_of_a_process_that_dies(world: World, user: str) -> None:
    ahead, behind = await divided(world)
    gate = behind.hand.commit_gate = Gate(armed=True)
    behind.hand.fate = "dies"
    writing = asyncio.ensure_future(link(behind, user, "b"))
    async with within(20):
        await gate.reached.wait()
    assert await neighbors(ahead, user) == []
    gate.open()
    with pytest.raises(Died):
        await writing
    assert await neighbors(ahead, user) == ["b"]


async def test_a_master_that_comes_and_goes(world: World, user: str) -> None:
    """The space of before is back, and what was written meanwhile is not in its lists."""
    await link(world.processes[0], user, "b")
    assert [await neighbors(process, user) for process in world.processes] == [["b"], ["b"]]
    await divided(world)
    await united(world)
    await link(world.processes[1], user, "c")
    world.masters.pop()
    await united(world)
    assert [await neighbors(process, user) for process in world.processes] == [["b", "c"], ["b", "c"]]


async def test_the_journal_replayed_by_a_process_that_is_behind(world: World, user: str) -> None:
    ahead, behind = await divided(world)
    assert await neighbors(ahead, user) == []
    ahead.hand.cut = True
    await link(ahead, user, "b")
    entries = await ahead.components.recovery._store.journal_entries()
    assert user in {entry.invalidation.user_id for entry in entries}
    world.masters.pop()  # as a process behind sees them
    await behind.components.recovery.step()
    world.masters.append("second")
    ahead.hand.cut = False
    await ahead.components.recovery.step()
    assert await neighbors(ahead, user) == ["b"]


async def test_an_announcement_of_a_process_that_is_behind(world: World, user: str) -> None:
    await link(world.processes[0], user, "b")
    ahead, behind = await divided(world)
    assert await neighbors(ahead, user) == ["b"]
    announce = behind.components.servicer.announce_node_visibility
    assert await announce.announce(user, VisibilityRecord("b", 2, hidden=True, incarnation=BORN), "one")
    assert await neighbors(ahead, user) == []
    await announce.withdraw(user, "b", "one")
    assert await neighbors(ahead, user) == ["b"]


async def test_the_lists_of_a_hub(world: World, user: str) -> None:
    """More than two edges make a hub here."""
    others = ["b", "c", "d", "e"]
    for other in others:
        await link(world.processes[0], user, other)
    assert await neighbors(world.processes[0], user) == others
    ahead, behind = await divided(world)
    for process in (ahead, behind, ahead):
        assert await neighbors(process, user) == others
        assert await process.lists.hub_page(user, "a", by_time=False, after=None, limit=9, ceiling=None) is not None
    await link(behind, user, "f")
    assert [await neighbors(process, user) for process in world.processes] == [[*others, "f"]] * 2
    for other in others:
        await ahead.components.servicer.edges.delete_edge(user, edge_key("a", other, "related"))
        assert other not in await neighbors(behind, user)
    await united(world)
    assert [await neighbors(process, user) for process in world.processes] == [["f"], ["f"]]


async def test_a_watcher_hears_of_a_write_by_a_process_that_is_behind(world: World, user: str) -> None:
    ahead, behind = await divided(world)

    def watch(process: Process, token: str = "") -> Any:
        return contextlib.aclosing(process.components.servicer.watch_edges.watch_edges(user, token))

    async with watch(ahead) as stream, watch(behind) as other, within(20):
        await anext(stream)
        _, token = await anext(other)
        await link(behind, user, "b")
        ahead.deliver()
        data, _ = await anext(stream)
        assert data is not None
    async with watch(ahead, token) as stream:
        with pytest.raises(OutOfRange):
            await anext(stream)


async def test_each_takeover_makes_a_new_space_even_when_the_first_master_serves_again(tmp_path: Path) -> None:
    """It runs all the while, but what it holds is what its successor had."""
    quick = {"cluster_node_timeout": "500", "repl_diskless_sync_delay": "0"}
    async with (
        valkey.cluster(tmp_path, masters=3, replicas=1, options=quick) as servers,
        Redis(At(servers[1].url, redis_cluster=True)) as redis,
    ):
        names = [await instance_name(redis)()]
        for heir in (servers[3], servers[0]):
            async with Redis(At(heir.url)) as one:

                async def linked(one: Redis = one) -> bool:
                    return b"master_link_status:up" in await one.call("INFO", "replication")

                await until(linked, what="a replica that is up to date")
                await one.call("CLUSTER", "FAILOVER")

            async def taken_over(port: int = heir.port) -> bool:
                masters = await redis.every_instance("CLUSTER", "SLOTS")
                return port in {owner[2][1] for owner in masters[0]}

            await until(taken_over, what="the takeover")
            names.append(await instance_name(redis)())
        assert len(set(names)) == 3
