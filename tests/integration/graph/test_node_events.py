"""The life of a note as graph hears of it: created, purged, created again under the same id."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protos import table
from protos.graph.v1 import graph_pb2
from services.graph_service.adapters.dynamo import DynamoEdgeStore
from services.graph_service.model.edge import NewEdge, edge_key
from services.graph_service.model.neighbors import NeighborQuery, NeighborsRequest
from services.graph_service.ports import CacheState, PackedList, Slice, VisibilityRecord
from services.graph_service.usecases.edges import EdgePatch
from shared.errors import FailedPrecondition, Unavailable
from shared.ids import SystemClock
from tests.support.graph_world import Gate, Process, World
from tests.support.stores import Stores
from tests.support.waiting import within


@pytest.fixture
async def world(stores: Stores) -> AsyncIterator[World]:
    async with World(stores.environment("graph")) as found:
        yield found


@pytest.fixture
def process(world: World) -> Process:
    return world.processes[0]


async def neighbors(process: Process, user: str, note: str) -> list[str]:
    request = NeighborsRequest(NeighborQuery(user, note, 50))
    answer = await process.components.get_neighbors.get_neighbors(request)
    return [n.node_id for n in graph_pb2.GetNeighborsResponse.FromString(answer).neighbors]


async def set_visibility(
    process: Process, user: str, note: str, version: int, *, visible: bool, incarnation: int = 0
) -> bool:
    use_case = process.components.servicer.set_node_visibility
    record = VisibilityRecord(note, version, hidden=not visible, incarnation=incarnation)
    return await use_case.set_node_visibility(user, record)


async def record(process: Process, user: str, note: str) -> VisibilityRecord | None:
    return await process.components.node_events.store.visibility(user, note)


async def test_purging_removes_late_edges_and_what_is_known_of_the_note(
    world: World, process: Process, user: str
) -> None:
    components = process.components
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    await set_visibility(process, user, "a", 2, visible=False, incarnation=7)
    assert await record(process, user, "a") == VisibilityRecord("a", 2, True, 7)
    world.directory.records["a"] = VisibilityRecord("a", 2, True, 7)  # the node service answers from its cache
    await components.node_events.node_purged(user, "a", 3, 7)
    assert await record(process, user, "a") is None
    assert await neighbors(process, user, "b") == []
    await components.node_events.node_purged(user, "a", 3, 7)  # the event comes twice


async def test_a_purge_of_an_earlier_life_leaves_the_later_one_alone(world: World, process: Process, user: str) -> None:
    components = process.components
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    world.directory.records["a"] = VisibilityRecord("a", 1, False, 9)
    await components.node_events.node_purged(user, "a", 3, 7)  # the event comes again, late: the note exists
    assert await neighbors(process, user, "b") == ["a"]
    await set_visibility(process, user, "a", 5, visible=True, incarnation=9)
    world.directory.gone.add("a")
    await components.node_events.node_purged(user, "a", 3, 7)  # deleted in its later life, but not purged
    assert await neighbors(process, user, "b") == ["a"]


async def test_a_purge_of_an_earlier_life_leaves_the_edges_of_a_deleted_note_that_can_be_restored(
    world: World, process: Process, user: str
) -> None:
    """The note was created again under its id, and its versions of now are lower than the purged one."""
    components = process.components
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    await set_visibility(process, user, "a", 2, visible=False, incarnation=9)
    world.directory.gone.add("a")
    world.directory.records["a"] = VisibilityRecord("a", 2, True, 9)
    await components.node_events.node_purged(user, "a", 5, 7)  # it comes late, or is replayed
    await set_visibility(process, user, "a", 3, visible=True, incarnation=9)
    assert await neighbors(process, user, "b") == ["a"]


async def test_detaching_ends_only_when_no_edge_is_left(world: World, process: Process, user: str) -> None:
    """Somebody changes an edge between the read and the transaction that deletes it."""
    components, other = process.components, world.processes[1].components
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    await components.servicer.edges.create_edge(user, NewEdge("a", "c"))
    process.hand.commit_gate = gate = Gate(armed=True)
    detaching = asyncio.create_task(components.servicer.detach_node.detach_node(user, "a", 0, 0))
    async with within(5):
        await gate.reached.wait()
    await other.servicer.edges.update_edge(user, edge_key("a", "b"), EdgePatch(weight=0.5))
    gate.open()
    removed, done = await detaching
    assert sorted(edge.key.b for edge in removed) == ["b", "c"]
    assert done
    assert await other.servicer.list_suppressed_edges.store.edges_at(user, "a", after=None, limit=9) == ([], None)


async def test_the_record_of_a_restore_outlives_every_event_of_the_deletion(
    world: World, process: Process, user: str
) -> None:
    """A queue keeps an event for 14 days."""
    await set_visibility(process, user, "a", 2, visible=False, incarnation=7)
    await set_visibility(process, user, "a", 3, visible=True, incarnation=7)
    store: Any = process.components.node_events.store
    item = await store._table.get(table.hidden_key(user, "a"))
    assert item["expires_at"] - SystemClock().now_ms() // 1000 > 14 * 86_400 - 60


async def test_a_record_without_an_incarnation_gives_way_to_a_later_version(process: Process, user: str) -> None:
    await set_visibility(process, user, "a", 2, visible=False)
    assert not await set_visibility(process, user, "a", 2, visible=True, incarnation=7), "not a later version"
    assert await set_visibility(process, user, "a", 3, visible=True, incarnation=7)
    assert await record(process, user, "a") == VisibilityRecord("a", 3, False, 7)


async def test_a_note_that_is_created_again_is_visible(process: Process, user: str) -> None:
    components = process.components
    await set_visibility(process, user, "a", 8, visible=False, incarnation=7)
    with pytest.raises(FailedPrecondition):
        await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    await components.node_events.node_created(user, "a", "Title", 9)  # its purge hasn't been heard of yet
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    assert await neighbors(process, user, "b") == ["a"]
    assert not await set_visibility(process, user, "a", 8, visible=False, incarnation=7), (
        "an event of the earlier incarnation"
    )
    assert await set_visibility(process, user, "a", 2, visible=False, incarnation=9)
    assert await neighbors(process, user, "b") == []


async def test_being_created_is_no_news_to_a_note_that_was_deleted_since(process: Process, user: str) -> None:
    await set_visibility(process, user, "a", 2, visible=False, incarnation=7)
    await process.components.node_events.node_created(user, "a", "Title", 7)
    assert await process.components.lookup.hidden(user) == {"a"}


async def test_an_update_proves_that_a_note_lives_when_its_restore_was_never_heard_of(
    world: World, process: Process, user: str
) -> None:
    components = process.components
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    await set_visibility(process, user, "a", 2, visible=False, incarnation=7)
    assert await neighbors(process, user, "b") == []
    await components.node_events.node_updated(user, "a", 1, 7)  # from before the deletion, and late
    await components.node_events.node_updated(user, "a", 9, 6)  # of an earlier life
    assert await neighbors(process, user, "b") == []
    await components.node_events.node_updated(user, "a", 4, 7)
    assert await neighbors(process, user, "b") == ["a"]


@pytest.mark.parametrize("wrong", [3, 1_000, 10**15])
async def test_a_stored_version_that_the_note_never_had_is_corrected_by_its_owner(
    world: World, process: Process, user: str, wrong: int
) -> None:
    await set_visibility(process, user, "a", wrong, visible=True, incarnation=7)
    assert not await set_visibility(process, user, "a", 2, visible=False, incarnation=7), "the owner doesn't know it"
    world.directory.records["a"] = VisibilityRecord("a", 2, True, 7)
    assert await set_visibility(process, user, "a", 2, visible=False, incarnation=7)
    assert await record(process, user, "a") == VisibilityRecord("a", 2, True, 7)


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notes whose lists are read from DynamoDB."""
    read: list[str] = []
    original = DynamoEdgeStore.neighbors

    async def neighbors(store: DynamoEdgeStore, user_id: str, node_id: str, **how: Any) -> Slice:
        read.append(node_id)
        return await original(store, user_id, node_id, **how)

    monkeypatch.setattr(DynamoEdgeStore, "neighbors", neighbors)
    return read


async def test_the_known_empty_list_of_a_new_note_is_in_the_caches_of_all_processes(
    world: World, user: str, queries: list[str]
) -> None:
    first, second = world.processes
    await first.components.node_events.warm(user, ["a", "b"])
    assert sorted(queries) == ["a", "b"]
    for process in (first, second):
        assert await neighbors(process, user, "a") == await neighbors(process, user, "b") == []
    assert len(queries) == 2


async def test_a_link_that_is_made_while_the_list_of_a_new_note_is_warmed_is_not_lost(
    world: World, user: str, queries: list[str]
) -> None:
    first, second = world.processes
    await first.components.lookup.hidden(user)  # a list, too, whose fill the gate would stop
    gate = first.hand.fill_gate = Gate()
    gate.armed = True
    warming = asyncio.ensure_future(first.components.node_events.warm(user, ["a"]))
    async with within(10):
        await gate.reached.wait()  # it has read the empty list, and has not stored it
    first.hand.fill_gate = None
    await second.components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    first.deliver()
    gate.open()
    await warming
    assert await neighbors(first, user, "a") == await neighbors(second, user, "a") == ["b"]


async def test_the_event_of_a_note_that_has_links_already_warms_the_list_as_it_is(
    world: World, user: str, queries: list[str]
) -> None:
    first, second = world.processes
    await second.components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    first.deliver()
    await first.components.node_events.warm(user, ["a"])
    queries.clear()
    assert await neighbors(first, user, "a") == await neighbors(second, user, "a") == ["b"]
    assert queries == []


async def test_warming_reads_nothing_without_redis_and_never_fails(
    world: World, process: Process, user: str, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process.lists.disable()
    await process.components.node_events.warm(user, ["a"])
    assert queries == []
    await process.components.recovery.step()

    async def unavailable(*_: Any, **__: Any) -> Slice:
        raise Unavailable("away")

    monkeypatch.setattr(DynamoEdgeStore, "neighbors", unavailable)
    await process.components.node_events.warm(user, ["a"])
    [state] = await process.lists.read(user, ["a"])
    assert not isinstance(state, PackedList)
    assert state in (CacheState.MISSING, CacheState.FILLING)
