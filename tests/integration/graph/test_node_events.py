"""The life of a note as graph hears of it: created, purged, created again under the same id."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from protos.graph.v1 import graph_pb2
from services.graph_service.model.edge import NewEdge
from services.graph_service.model.neighbors import NeighborQuery, NeighborsRequest
from services.graph_service.ports import VisibilityRecord
from shared.errors import FailedPrecondition
from tests.support.graph_world import Process, World
from tests.support.stores import Stores


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


async def set_visibility(process: Process, user: str, note: str, version: int, **fields: Any) -> bool:
    use_case = process.components.servicer.set_node_visibility
    return await use_case.set_node_visibility(user, note, version, **fields)


async def record(process: Process, user: str, note: str) -> VisibilityRecord | None:
    return await process.components.node_events.store.visibility(user, note)


async def test_purging_removes_late_edges_and_what_is_known_of_the_note(
    world: World, process: Process, user: str
) -> None:
    components = process.components
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    await set_visibility(process, user, "a", 2, visible=False, incarnation=7)
    assert await record(process, user, "a") == VisibilityRecord("a", 2, True, 7)
    world.directory.gone.add("a")
    await components.node_events.node_purged(user, "a", 3)
    assert await record(process, user, "a") is None
    assert await neighbors(process, user, "b") == []
    await components.node_events.node_purged(user, "a", 3)  # the event comes twice


async def test_a_purge_of_an_earlier_life_leaves_the_later_one_alone(world: World, process: Process, user: str) -> None:
    components = process.components
    await components.servicer.edges.create_edge(user, NewEdge("a", "b"))
    await components.node_events.node_purged(user, "a", 3)  # the event comes again, late: the note exists
    assert await neighbors(process, user, "b") == ["a"]
    await set_visibility(process, user, "a", 5, visible=True, incarnation=9)
    world.directory.gone.add("a")
    await components.node_events.node_purged(user, "a", 3)  # deleted in its later life, but not purged
    assert await neighbors(process, user, "b") == ["a"]


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
