"""BatchGetNodes, over a store in memory."""

import pytest

from services.node_service.model import Cascade, Draft, Node, View
from services.node_service.usecases.batch_get_nodes import batch_get_nodes
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from shared.errors import InvalidArgument, ResourceExhausted
from tests.support.node_fakes import World


async def add(world: World, node_id: str, create_ms: int, content: str = "C") -> None:
    await create_node(world.notes, "u", Draft(node_id=node_id, content=content, create_ms=create_ms), None)


@pytest.fixture
async def world() -> World:
    """The notes a, b, c of "u" (created at 1, 2, 3) and d, which is deleted."""
    world = World()
    for at, node_id in enumerate("abcd", 1):
        await add(world, node_id, at)
    await delete_node(world.notes, "u", "d", "", Cascade.EDGES, None)
    return world


async def test_many_notes_in_the_order_asked_for_each_once(world: World) -> None:
    nodes, missing = await batch_get_nodes(world.notes, "u", ["c", "x", "a", "d", "c"], View.FULL, False, {})
    assert [node.node_id for node in nodes] == ["c", "a"]
    assert missing == ["x", "d"]
    nodes, missing = await batch_get_nodes(world.notes, "u", ["c", "d"], View.TITLE, True, {})
    assert ([node.node_id for node in nodes], missing) == (["c", "d"], [])


async def test_a_summary_of_many_has_no_contents(world: World) -> None:
    [node], _ = await batch_get_nodes(world.notes, "u", ["a"], View.SUMMARY, False, {})
    assert not isinstance(node, Node)


async def test_many_notes_have_limits(world: World) -> None:
    for ids in ([], ["x"] * 1001, ["ok", "#"]):
        with pytest.raises(InvalidArgument):
            await batch_get_nodes(world.notes, "u", ids, View.FULL, False, {})
    await add(world, "big", 9, "y" * 600)
    await add(world, "big2", 9, "y" * 600)
    with pytest.raises(ResourceExhausted) as caught:
        await batch_get_nodes(world.notes, "u", ["big", "big2"], View.FULL, False, {})
    assert caught.value.reason == "RESPONSE_TOO_LARGE"
    assert len((await batch_get_nodes(world.notes, "u", ["big", "big2"], View.SUMMARY, False, {}))[0]) == 2
