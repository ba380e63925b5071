"""RestoreNode, over a store in memory."""

from dataclasses import replace

import pytest

from services.node_service.model import Cascade, Draft, NodeEventType
from services.node_service.ports import NodeWrite
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.restore_node import restore_node
from shared.errors import FailedPrecondition
from shared.idempotent import IdempotentRequest
from tests.support.node_fakes import World

REQUEST = IdempotentRequest("u", "req-1", "body-a")


@pytest.fixture
async def world() -> World:
    world = World()
    await create_node(world.notes, "u", Draft(node_id="n", title="T", content="C"), None)
    return world


async def test_a_request_that_had_nothing_to_do_does_nothing_when_repeated_later(world: World) -> None:
    first = await delete_node(world.notes, "u", "n", "", Cascade.EDGES, None)
    assert await delete_node(world.notes, "u", "n", "", Cascade.EDGES, REQUEST) == first
    back = await restore_node(world.notes, "u", "n", None)
    assert await restore_node(world.notes, "u", "n", IdempotentRequest("u", "req-2", "body")) == back
    assert await delete_node(world.notes, "u", "n", "", Cascade.EDGES, REQUEST) == first
    assert world.node == back
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    assert await restore_node(world.notes, "u", "n", IdempotentRequest("u", "req-2", "body")) == back
    assert world.node.deleted


async def test_a_restore_brings_back_the_note_as_it_was(world: World) -> None:
    before = world.node
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    after = await restore_node(world.notes, "u", "n", REQUEST)
    assert after == replace(before, version=3) == world.node
    assert world.store.events[-1].event_type is NodeEventType.RESTORED
    assert world.visibility.calls[-1] == ("n", 3, False)
    assert await restore_node(world.notes, "u", "n", None) == after
    assert await restore_node(world.notes, "u", "n", REQUEST) == after
    assert world.node.version == 3


async def test_a_fence_that_comes_between_read_and_write_of_the_restore_wins(world: World) -> None:
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)

    def fence(write: NodeWrite) -> None:
        world.store.before_commit = lambda write: None
        world.store.notes["u", "n"] = replace(world.node, fenced=True)

    world.store.before_commit = fence
    with pytest.raises(FailedPrecondition) as caught:
        await restore_node(world.notes, "u", "n", None)
    assert caught.value.reason == "PURGE_STARTED"
    assert world.node.deleted
