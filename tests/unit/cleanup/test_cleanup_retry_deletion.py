"""RetryDeletion: failed sagas, and deletions whose event was lost."""

import pytest

from services.cleanup_service.model.saga import Restore, State
from services.cleanup_service.usecases.node_events import on_node_deleted, on_node_restored
from services.cleanup_service.usecases.retry_deletion import retry_deletion
from shared.errors import FailedPrecondition, NotFound
from tests.support.cleanup_world import World


async def test_a_retry_needs_a_failure_or_a_note_whose_event_was_lost() -> None:
    world = World()
    world.add_note("n")
    deletion = world.delete("n", retention=9000)
    saga = await retry_deletion(world.deletions(), "u", "n")
    assert (saga.state, saga.version, saga.due_ms) == (State.PENDING, deletion.version, deletion.purge_ms)
    with pytest.raises(FailedPrecondition) as refused:
        await retry_deletion(world.deletions(), "u", "n")
    assert refused.value.reason == "NOT_FAILED"
    with pytest.raises(NotFound):
        await retry_deletion(world.deletions(), "u", "nobody")


async def test_a_retry_makes_up_for_the_lost_event_of_a_second_deletion() -> None:
    world = World()
    world.add_note("n")
    await on_node_deleted(world.deletions(), world.delete("n", retention=9000))
    version = world.restore("n")
    assert version
    await on_node_restored(world.deletions(), Restore("u", "n", version))
    with pytest.raises(FailedPrecondition):  # called off, and the note lives
        await retry_deletion(world.deletions(), "u", "n")
    second = world.delete("n", retention=9000)  # its event is lost
    saga = await retry_deletion(world.deletions(), "u", "n")
    assert (saga.state, saga.version, saga.due_ms) == (State.PENDING, second.version, second.purge_ms)
