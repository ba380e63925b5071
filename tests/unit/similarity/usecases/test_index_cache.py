"""Indexes in memory: fresh at each query, bounded, and right without the log too."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from services.similarity_service.model.engine.codec import Packed
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import LogEntry
from services.similarity_service.usecases.index_cache import IndexCache
from tests.support.clock import ManualClock, run_ready
from tests.support.similarity_fakes import FakeLog, FakeRecords, note

U = "u"


def ids(index: UserIndex) -> list[str]:
    return sorted(index.ids())


class World:
    """Two processes over one store and one log."""

    def __init__(self, max_bytes: int = 1 << 30) -> None:
        self.clock = ManualClock()
        self.records = FakeRecords()
        self.log = FakeLog()
        self.one, self.two = (IndexCache(self.records, self.log, self.clock, max_bytes=max_bytes) for _ in range(2))

    async def write(self, cache: IndexCache, node_id: str, text: str = "some text", *, user: str = U) -> None:
        old = await self.records.get(user, node_id)
        new = old.written(note(node_id, node_id, text, version=max(old.version, old.state_version) + 1))
        assert new is not None
        await self.keep(cache, node_id, old, new, user)

    async def hide(self, cache: IndexCache, node_id: str) -> None:
        await self.change(cache, node_id, visible=False)

    async def change(self, cache: IndexCache, node_id: str, *, visible: bool) -> None:
        old = await self.records.get(U, node_id)
        new = old.with_visibility(old.state_version + 1, visible=visible)
        assert new is not None
        await self.keep(cache, node_id, old, new, U)

    async def keep(self, cache: IndexCache, node_id: str, old: Stored, new: Stored, user: str) -> None:
        new = replace(new, revision=old.revision + 1)
        assert await self.records.put(user, node_id, old, new)
        await cache.publish(user, [(node_id, new)])


@pytest.fixture
def world() -> World:
    return World()


async def test_loaded_from_the_records(world: World) -> None:
    for n in range(7):
        await world.write(world.one, f"n{n}")
    assert await world.two.query(U, ids) == [f"n{n}" for n in range(7)]


async def test_what_another_process_wrote_is_there_at_the_next_query(world: World) -> None:
    await world.write(world.one, "a")
    assert await world.two.query(U, ids) == ["a"]
    await world.write(world.one, "b")
    assert await world.two.query(U, ids) == ["a", "b"]
    await world.hide(world.one, "a")
    assert await world.two.query(U, ids) == ["b"]
    await world.write(world.one, "b", "another text")
    assert await world.two.query(U, lambda index: index.stamp("b")) == (0, 2)
    assert (world.one.loads, world.two.loads) == (0, 1)


async def test_its_own_writes_are_not_read_again(world: World) -> None:
    await world.one.query(U, ids)
    world.records.reads.clear()
    await world.write(world.one, "a")
    assert await world.one.query(U, ids) == ["a"]
    assert world.records.reads == []


async def test_a_gap_in_the_log_means_loading_again(world: World) -> None:
    await world.write(world.one, "a")
    await world.two.query(U, ids)
    await world.write(world.one, "b")
    world.log.lose(U)
    assert await world.two.query(U, ids) == ["a", "b"]
    assert world.two.loads == 2


@pytest.mark.parametrize("hidden", [True, False])
async def test_a_change_whose_writer_is_slow_to_append_it_hides_no_newer_one(world: World, hidden: bool) -> None:
    await world.write(world.one, "a", "first")
    if hidden:
        await world.hide(world.one, "a")
    assert await world.two.query(U, ids) == ([] if hidden else ["a"])
    older = await world.records.get(U, "a")
    if hidden:
        await world.change(world.one, "a", visible=True)
    await world.write(world.one, "a", "second")
    await world.one.republish(U, "a", older)  # read before the newer ones were written
    stored = await world.records.get(U, "a")
    assert stored.visible
    assert await world.two.query(U, lambda index: index.stamp("a")) == stored.stamp


@pytest.mark.parametrize("visible", [True, False])
async def test_a_change_that_the_log_is_slow_to_confirm_replaces_no_newer_one(world: World, visible: bool) -> None:
    await world.write(world.one, "a")
    if visible:
        await world.hide(world.one, "a")
    await world.one.query(U, ids)
    append, confirm = world.log.append, asyncio.Event()

    async def slow(user_id: str, changes: Sequence[LogEntry]) -> None:
        await append(user_id, changes)
        await confirm.wait()

    world.log.append = slow  # type: ignore[method-assign]
    older = asyncio.create_task(world.change(world.one, "a", visible=visible))
    await run_ready()
    world.log.append = append  # type: ignore[method-assign]
    await world.change(world.one, "a", visible=not visible)
    await world.one.query(U, ids)
    confirm.set()
    await older
    assert await world.one.query(U, ids) == ([] if visible else ["a"])


async def test_a_restore_whose_entry_comes_after_that_of_a_later_deletion_shows_nothing(world: World) -> None:
    await world.write(world.one, "a")
    await world.hide(world.one, "a")
    assert await world.one.query(U, ids) == []
    world.log.hold = asyncio.Event()
    older = asyncio.create_task(world.change(world.one, "a", visible=True))
    await run_ready()
    held, world.log.hold = world.log.hold, None
    await world.hide(world.two, "a")
    assert await world.one.query(U, ids) == []
    held.set()
    await older
    assert await world.one.query(U, ids) == []


async def test_without_the_log_records_are_compared_now_and_then(world: World) -> None:
    await world.write(world.one, "a")
    await world.two.query(U, ids)
    world.log.down = True
    await world.write(world.one, "b")
    await world.hide(world.one, "a")
    assert await world.one.query(U, ids) == ["b"]  # its own writes at once
    assert await world.two.query(U, ids) == ["a"]
    await world.clock.advance(60)
    assert await world.two.query(U, ids) == ["b"]
    # The log is back: what couldn't be said is said, and questions are exact again.
    world.log.down = False
    await world.one.publish_pending()
    await world.clock.advance(60)
    await world.two.query(U, ids)
    await world.write(world.one, "c")
    assert await world.two.query(U, ids) == ["b", "c"]


async def test_a_call_that_ends_while_it_appends_takes_no_change_of_others_with_it(world: World) -> None:
    await world.two.query(U, ids)
    world.log.down = True
    await world.write(world.one, "a")
    world.log.down = False
    world.log.hold = asyncio.Event()
    ended = asyncio.create_task(world.write(world.one, "b"))
    await run_ready()
    ended.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended
    world.log.hold = None
    await world.one.publish_pending()
    assert await world.two.query(U, ids) == ["a", "b"]


async def test_after_very_many_changes_without_the_log_the_index_is_loaded_again(world: World) -> None:
    await world.write(world.one, "first")
    await world.two.query(U, ids)
    world.log.down = True
    names = [f"n{n:04}" for n in range(1_200)]
    for name in names:
        await world.write(world.one, name)
    world.log.down = False
    before = world.log.number
    await world.one.publish_pending()
    assert world.log.number - before <= 1_000, "what is appended at one time has a bound"
    assert await world.two.query(U, ids) == ["first", *names]
    assert world.two.loads == 2
    assert await world.one.query(U, ids) == ["first", *names]


async def test_loaded_without_the_log(world: World) -> None:
    await world.write(world.one, "a")
    world.log.down = True
    assert await world.two.query(U, ids) == ["a"]
    world.log.down = False
    await world.clock.advance(60)
    await world.two.query(U, ids)
    await world.write(world.one, "b")
    assert await world.two.query(U, ids) == ["a", "b"]


async def test_a_log_that_came_back_without_its_last_entries(world: World) -> None:
    await world.write(world.one, "a")
    await world.two.query(U, ids)
    await world.write(world.one, "b")
    world.log.entries[U].pop()  # lost in the crash of the server
    assert await world.two.query(U, ids) == ["a"]
    world.two.mark_all_stale()  # as every process does when its connection breaks
    assert await world.two.query(U, ids) == ["a", "b"]
    await world.write(world.one, "c")
    assert await world.two.query(U, ids) == ["a", "b", "c"]


async def test_one_load_for_many_who_ask(world: World) -> None:
    await world.write(world.one, "a")
    answers = await asyncio.gather(*(world.two.query(U, ids) for _ in range(20)))
    assert answers == [["a"]] * 20
    assert world.two.loads == 1


async def test_writes_during_a_load_are_not_lost(world: World) -> None:
    for n in range(9):
        await world.write(world.one, f"n{n}")
    asking = asyncio.create_task(world.two.query(U, ids))
    for n in range(9):
        await asyncio.sleep(0)
        await world.write(world.one, f"m{n}")
    await asking
    assert len(await world.two.query(U, ids)) == 18


async def test_memory_is_bounded_and_the_least_recently_asked_goes() -> None:
    probe = World()
    await probe.write(probe.one, "a")
    await probe.one.query(U, ids)
    world = World(max_bytes=int(probe.one.nbytes * 2.5))
    for user in ("x", "y", "x", "z"):
        await world.write(world.one, "a", user=user)
        assert await world.one.query(user, ids) == ["a"]
    assert world.one.users == ["x", "z"]
    assert world.one.nbytes <= probe.one.nbytes * 2.5
    assert await world.one.query("y", ids) == ["a"]


async def test_few_indexes_are_loaded_at_the_same_time(world: World) -> None:
    users = [f"user{n}" for n in range(20)]
    for user in users:
        await world.write(world.one, "a", user=user)
    now, most = 0, 0
    read = world.records.all

    async def counted(user_id: str) -> AsyncIterator[Sequence[Packed]]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        async for page in read(user_id):
            yield page
        now -= 1

    world.records.all = counted  # type: ignore[method-assign]
    assert await asyncio.gather(*(world.two.query(user, ids) for user in users)) == [["a"]] * len(users)
    assert 1 < most <= 4


async def test_users_do_not_meet(world: World) -> None:
    await world.write(world.one, "a", user="x")
    await world.write(world.one, "b", user="y")
    assert await world.two.query("x", ids) == ["a"]
    assert await world.two.query("y", ids) == ["b"]


async def test_everything_is_loaded_again_when_told(world: World) -> None:
    await world.write(world.one, "a")
    await world.two.query(U, ids)
    await world.one.invalidate_everywhere(U)
    assert await world.two.query(U, ids) == ["a"]
    assert world.two.loads == 2


async def test_a_failed_load_is_tried_again(world: World) -> None:
    class Broken(FakeRecords):
        pass

    await world.write(world.one, "a")
    good, world.two._records = world.two._records, Broken()
    world.two._records.all = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        await world.two.query(U, ids)
    world.two._records = good
    assert await world.two.query(U, ids) == ["a"]


async def test_many_removed_notes_make_room() -> None:
    world = World()
    for n in range(1500):
        await world.write(world.one, f"n{n}", "x")
    await world.one.query(U, ids)
    for n in range(1100):
        await world.hide(world.one, f"n{n}")
    await world.one.query(U, ids)
    await world.one.query(U, ids)
    assert await world.one.query(U, lambda index: index.size) == 400
