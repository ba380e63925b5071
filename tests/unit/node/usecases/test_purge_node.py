"""PurgeNode, over a store in memory: fence, then purge."""

from dataclasses import replace

import pytest

from services.node_service.model import Cascade, Draft, NodeEventType
from services.node_service.ports import NodeWrite
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.purge_node import fence_node, purge_node
from services.node_service.usecases.restore_node import restore_node
from shared.errors import Aborted, FailedPrecondition, InvalidArgument
from tests.support.node_fakes import World


@pytest.fixture
async def world() -> World:
    world = World()
    await create_node(world.notes, "u", Draft(node_id="n", title="T", content="C"), None)
    return world


async def test_a_fence_forbids_the_restore(world: World) -> None:
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    fenced = await fence_node(world.notes, "u", "n", 2)
    assert fenced is not None
    assert (fenced.version, fenced.content, fenced.cascade) == (2, "C", Cascade.ORPHANS)
    assert await fence_node(world.notes, "u", "n", 2) == fenced
    with pytest.raises(FailedPrecondition) as caught:
        await restore_node(world.notes, "u", "n", None)
    assert caught.value.reason == "PURGE_STARTED"
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)  # still answers


async def test_a_restore_that_comes_between_read_and_write_of_the_fence_wins(world: World) -> None:
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)

    def restore(write: NodeWrite) -> None:
        world.store.before_commit = lambda write: None
        world.store.notes["u", "n"] = replace(world.node, version=3, delete_ms=None, purge_ms=None)

    world.store.before_commit = restore
    with pytest.raises(Aborted) as caught:
        await fence_node(world.notes, "u", "n", 2)
    assert caught.value.reason == "VERSION_MISMATCH"
    assert not world.node.fenced


async def test_a_purge_needs_the_fence_and_the_version(world: World) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await fence_node(world.notes, "u", "n", 1)
    assert caught.value.reason == "NOT_DELETED"
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    with pytest.raises(Aborted):
        await fence_node(world.notes, "u", "n", 1)
    with pytest.raises(FailedPrecondition) as caught:
        await purge_node(world.notes, "u", "n", 2)
    assert caught.value.reason == "NOT_FENCED"
    with pytest.raises(InvalidArgument):
        await purge_node(world.notes, "u", "n", 0)


async def test_a_purge_leaves_nothing_and_says_so_once(world: World) -> None:
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    await fence_node(world.notes, "u", "n", 2)
    assert await purge_node(world.notes, "u", "n", 2) is True
    assert await purge_node(world.notes, "u", "n", 2) is False
    assert await fence_node(world.notes, "u", "n", 2) is None
    assert world.store.notes == {}
    purged = [event for event in world.store.events if event.event_type is NodeEventType.PURGED]
    assert [(event.node.version, event.time_ms) for event in purged] == [(3, world.clock.ms)]


async def test_a_late_purge_spares_a_note_created_anew(world: World) -> None:
    await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    await fence_node(world.notes, "u", "n", 2)
    await purge_node(world.notes, "u", "n", 2)
    world.clock.ms += 1
    anew = await create_node(world.notes, "u", Draft(node_id="n", title="anew"), None)
    assert await purge_node(world.notes, "u", "n", 2) is False
    assert await fence_node(world.notes, "u", "n", 2) is None
    assert world.node == anew
    events = [(event.node.incarnation, event.node.version) for event in world.store.events]
    assert events == sorted(set(events))
