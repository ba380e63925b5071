"""QueueDeletion: due now, made up for, or refused."""

import pytest

from services.cleanup_service.model.saga import State
from services.cleanup_service.usecases.get_deletion import get_deletion
from services.cleanup_service.usecases.node_events import on_node_deleted
from services.cleanup_service.usecases.queue_deletion import queue_deletion
from shared.errors import FailedPrecondition, NotFound
from tests.support.cleanup_world import World


async def test_queueing_makes_a_deletion_due_and_twice_is_once() -> None:
    world = World()
    world.add_note("n")
    await on_node_deleted(world.deletions(), world.delete("n", retention=9000))
    first = await queue_deletion(world.deletions(), "u", "n")
    assert first.due_ms == world.clock.now_ms()
    assert await queue_deletion(world.deletions(), "u", "n") == first
    assert world.offered == [("u", "n")]


async def test_queueing_makes_up_for_a_lost_event() -> None:
    world = World()
    world.add_note("n")
    world.delete("n", retention=9000)
    saga = await queue_deletion(world.deletions(), "u", "n")
    assert (saga.state, saga.version, saga.due_ms) == (State.PENDING, 2, world.clock.now_ms())


async def test_queueing_refuses_what_is_live_or_unknown() -> None:
    world = World()
    world.add_note("n")
    with pytest.raises(FailedPrecondition, match="live") as refused:
        await queue_deletion(world.deletions(), "u", "n")
    assert refused.value.reason == "NOT_DELETED"
    with pytest.raises(NotFound):
        await queue_deletion(world.deletions(), "u", "nobody")
    with pytest.raises(NotFound):
        await get_deletion(world.deletions(), "u", "n")


async def test_queueing_what_is_done_answers_it() -> None:
    world = World()
    world.add_note("n")
    await queue_deletion(world.deletions(), "u", world.delete("n").node_id)
    await world.runner().run_deletion("u", "n")
    assert (await queue_deletion(world.deletions(), "u", "n")).state is State.DONE
