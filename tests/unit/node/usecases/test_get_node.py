"""GetNode, over a store in memory."""

import pytest

from services.node_service.model import Cascade, Draft, Node, View
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.get_node import get_node
from shared.errors import NotFound
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


async def test_one_note(world: World) -> None:
    node = await get_node(world.notes, "u", "a", View.FULL, False, {})
    assert isinstance(node, Node)
    assert node.content == "C"
    with pytest.raises(NotFound) as caught:
        await get_node(world.notes, "u", "x", View.FULL, True, {})
    assert caught.value.reason == "NODE_NOT_FOUND"
    with pytest.raises(NotFound) as caught:
        await get_node(world.notes, "other", "a", View.FULL, True, {})
    assert caught.value.reason == "NODE_NOT_FOUND"


async def test_a_deleted_note_is_shown_only_on_request(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        await get_node(world.notes, "u", "d", View.FULL, False, {})
    assert caught.value.reason == "NODE_DELETED"
    assert (await get_node(world.notes, "u", "d", View.FULL, True, {})).deleted


@pytest.mark.parametrize("view", [View.TITLE, View.SUMMARY])
async def test_a_view_without_the_content_does_not_read_it(world: World, view: View) -> None:
    node = await get_node(world.notes, "u", "a", view, False, {})
    assert not isinstance(node, Node)
    assert node.excerpt == "C"
