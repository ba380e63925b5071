"""DeleteNode, over a store in memory."""

import pytest

from services.node_service.model import Cascade, Draft, NodeEventType, etag_of
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.restore_node import restore_node
from shared.errors import Aborted, NotFound
from shared.idempotent import IdempotentRequest
from tests.support.node_fakes import World

REQUEST = IdempotentRequest("u", "req-1", "body-a")


@pytest.fixture
async def world() -> World:
    world = World()
    await create_node(world.notes, "u", Draft(node_id="n", title="T", content="C"), None)
    return world


async def test_a_delete_hides_and_says_until_when(world: World) -> None:
    world.clock.ms += 500
    answer = await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    assert (answer.version, answer.delete_ms, answer.purge_ms) == (2, world.clock.ms, world.clock.ms + 60_000)
    assert (world.node.content, world.node.deleted, world.node.cascade) == ("C", True, Cascade.ORPHANS)
    assert world.node.update_ms == world.clock.ms - 500
    assert world.store.events[-1].event_type is NodeEventType.DELETED
    assert world.visibility.calls == [("n", 2, True)]


async def test_a_second_delete_answers_the_same_and_writes_nothing(world: World) -> None:
    first = await delete_node(world.notes, "u", "n", "", Cascade.EDGES, None)
    world.clock.ms += 500
    assert await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None) == first
    assert [event.event_type for event in world.store.events] == [NodeEventType.CREATED, NodeEventType.DELETED]
    assert world.visibility.calls == [("n", 2, True)] * 2


async def test_etags_of_a_delete(world: World) -> None:
    first, second, never = (etag_of(world.node.incarnation, version) for version in (1, 2, 7))
    with pytest.raises(Aborted) as caught:
        await delete_node(world.notes, "u", "n", never, Cascade.ORPHANS, None)
    assert caught.value.reason == "ETAG_MISMATCH"
    await delete_node(world.notes, "u", "n", first, Cascade.ORPHANS, None)
    await delete_node(world.notes, "u", "n", first, Cascade.ORPHANS, None)  # the retry of one whose answer was lost
    await delete_node(world.notes, "u", "n", second, Cascade.ORPHANS, None)
    with pytest.raises(Aborted):
        await delete_node(world.notes, "u", "n", never, Cascade.ORPHANS, None)
    assert world.node.version == 2


async def test_what_is_not_there_can_not_be_deleted_or_restored(world: World) -> None:
    with pytest.raises(NotFound):
        await delete_node(world.notes, "u", "unknown", "", Cascade.EDGES, None)
    with pytest.raises(NotFound):
        await restore_node(world.notes, "u", "unknown", None)
    with pytest.raises(NotFound):
        await delete_node(world.notes, "other", "n", "", Cascade.EDGES, None)


async def test_a_repeated_delete_is_answered_as_the_first_even_after_a_restore(world: World) -> None:
    first = await delete_node(world.notes, "u", "n", etag_of(world.node.incarnation, 1), Cascade.EDGES, REQUEST)
    await restore_node(world.notes, "u", "n", None)
    assert await delete_node(world.notes, "u", "n", etag_of(world.node.incarnation, 1), Cascade.EDGES, REQUEST) == first
    assert not world.node.deleted
