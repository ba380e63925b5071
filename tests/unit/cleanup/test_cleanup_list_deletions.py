"""ListDeletions: pages of one user and of all users."""

import pytest

from services.cleanup_service.model.saga import Restore, Saga, State
from services.cleanup_service.ports import ALWAYS, END_OF_TIME_MS, TimeRange
from services.cleanup_service.usecases.list_deletions import list_deletions_in_state, list_deletions_of_user
from services.cleanup_service.usecases.node_events import on_node_deleted, on_node_restored
from tests.support.cleanup_world import World


async def test_lists_of_a_user_are_paged_in_the_order_of_the_deletes() -> None:
    world = World()
    for node_id in ("c", "a", "e", "b", "d"):
        world.add_note(node_id)
        world.clock.ms += 10
        await on_node_deleted(world.deletions(), world.delete(node_id, retention=1000))
    version = world.restore("e")
    assert version
    await on_node_restored(world.deletions(), Restore("u", "e", version))
    assert await pages(world, "u", None, 2) == ["c", "a", "e", "b", "d"]
    assert await pages(world, "u", State.PENDING, 2) == ["c", "a", "b", "d"]
    assert await pages(world, "u", State.CANCELLED, 1) == ["e"]
    assert await pages(world, "v", None, 2) == []


async def test_lists_of_everybody_go_by_state_across_the_shards() -> None:
    world = World()
    expected = []
    for number in range(40):
        user = f"u{number % 7}"
        world.add_note(f"n{number}", user)
        world.clock.ms += 1
        await on_node_deleted(world.deletions(), world.delete(f"n{number}", user, retention=1000))
        expected.append(f"n{number}")
    assert await pages(world, "", State.PENDING, 7) == expected
    assert await pages(world, "", State.DONE, 7) == []


@pytest.mark.parametrize("limit", [1, 2, 7, 50])
@pytest.mark.parametrize("user", ["u", ""])
async def test_lists_hold_what_was_deleted_in_a_range_of_times(user: str, limit: int) -> None:
    world = World()
    times = []
    for number in range(20):
        world.add_note(f"n{number:02d}")
        world.clock.ms += 10
        # The queue of a state is in the order of the ends of the retentions, which is another one.
        await on_node_deleted(world.deletions(), world.delete(f"n{number:02d}", retention=1000 - number * 50))
        times.append(world.clock.ms)

    async def names(start: int, end: int) -> list[str]:
        return sorted(await pages(world, user, State.PENDING, limit, TimeRange(start, end)))

    assert await names(times[5], times[8]) == ["n05", "n06", "n07"], "the start is in the range, the end is not"
    assert await names(times[5] + 1, times[8] + 1) == ["n06", "n07", "n08"]
    assert await names(0, times[1]) == ["n00"]
    assert await names(times[19], END_OF_TIME_MS) == ["n19"]
    assert await names(times[8], times[8]) == await names(times[8], times[5]) == []


async def pages(world: World, user: str, state: State | None, limit: int, times: TimeRange = ALWAYS) -> list[str]:
    found: list[Saga] = []
    position = ""
    while True:
        deletions = world.deletions()
        if user or state is None:
            page = await list_deletions_of_user(deletions, user, state, position, limit, times)
        else:
            page = await list_deletions_in_state(deletions, state, position, limit, times)
        assert len(page.sagas) <= limit
        found += page.sagas
        position = page.position
        if not position:
            return [saga.node_id for saga in found]
