"""The replay of erasures: after a restore of the table, whoever was erased after that time is erased again."""

import pytest

from services.cleanup_service.model.erasure import user_digest
from services.cleanup_service.usecases.replay_erasures import ErasureReplay
from tests.support.cleanup_world import FakeErasureLedger, FakeErasures, World


def replay_of(world: World) -> ErasureReplay:
    async def run_what_is_due(seconds: float) -> None:
        """Stands in for the running service: what is due is carried out while the replay waits."""
        for erasure_id in [one.erasure_id for one in world.erasures.values() if not one.done]:
            world.clock.ms = max(world.clock.ms, world.erasures[erasure_id].queue_time_ms)
            await world.eraser(quiet_ms=10).run_erasure(erasure_id)

    return ErasureReplay(
        store=FakeErasures(world), ledger=FakeErasureLedger(world), clock=world.clock, sleep=run_what_is_due
    )


async def erase(world: World, user: str) -> str:
    erasure_id = (await world.eraser().erase_user(user)).erasure_id
    while not world.erasures[erasure_id].done:
        await replay_of(world).sleep(0)
    return erasure_id


def restore(world: World, *erasure_ids: str) -> None:
    """The table as it was before these erasures: it knows nothing of them, and their users are back."""
    for erasure_id in erasure_ids:
        user = next(record.user_id for record in world.ledger if record.erasure_id == erasure_id)
        world.erasures.pop(erasure_id, None)
        world.add_note("old", user)


@pytest.fixture
def world() -> World:
    found = World()
    found.add_note("old", "u")
    found.add_note("old", "v")
    return found


async def test_nothing_is_missing_when_the_table_was_never_restored(world: World) -> None:
    await erase(world, "u")
    world.add_note("new", "u")  # the same user came back and writes again
    known, missing = await replay_of(world).missing()
    assert (known, missing) == (1, [])
    assert [record async for record in replay_of(world).replay(missing)] == []
    assert ("u", "new") in world.notes


async def test_a_user_who_came_back_by_a_restore_is_erased_again_and_others_stay(world: World) -> None:
    erasure_id = await erase(world, "u")
    restore(world, erasure_id)
    known, missing = await replay_of(world).missing()
    assert (known, [record.erasure_id for record in missing]) == (1, [erasure_id])
    assert [record.erasure_id async for record in replay_of(world).replay(missing)] == [erasure_id]
    assert sorted(world.notes) == [("v", "old")]
    # The receipt is that of the same erasure.
    receipt = world.erasures[erasure_id]
    assert (receipt.done, receipt.user_digest) == (True, user_digest(erasure_id, "u"))
    assert (await replay_of(world).missing())[1] == []


async def test_several_erasures_of_one_user_are_all_known_afterwards(world: World) -> None:
    first = await erase(world, "u")
    world.clock.ms += 1
    second = await erase(world, "u")
    restore(world, first, second)
    _, missing = await replay_of(world).missing()
    assert [record.erasure_id for record in missing] == [first, second]
    assert [record.erasure_id async for record in replay_of(world).replay(missing)] == [first, second]
    assert (await replay_of(world).missing())[1] == []
    assert sorted(world.notes) == [("v", "old")]


async def test_it_waits_for_another_erasure_of_the_user_that_is_in_progress(world: World) -> None:
    lost = await erase(world, "u")
    restore(world, lost)
    running = (await world.eraser().erase_user("u")).erasure_id
    _, missing = await replay_of(world).missing()
    assert [record.erasure_id for record in missing] == [lost]
    assert [record.erasure_id async for record in replay_of(world).replay(missing)] == [lost]
    assert world.erasures[running].done
    assert world.erasures[lost].done
