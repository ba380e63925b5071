"""SetNodeVisibility answers before the record is written, and every process has the change from then on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.stored import Stored
from services.similarity_service.usecases.extract_keywords import ExtractKeywords
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from shared.errors import NotFound, Unavailable
from tests.support.clock import ManualClock
from tests.support.similarity_fakes import FakeLog, FakeRecords, note

U = "u"
# The incarnation of the note "a", whose text has version 1.
BORN = 7


def ids(index: UserIndex) -> list[str]:
    return sorted(index.ids())


class SlowRecords(FakeRecords):
    """go: whether changes of visibility may be written. dead: then they fail instead."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.dead = False

    async def set_visibility(self, *args: Any) -> Stored | None:
        await self.go.wait()
        if self.dead:
            raise Unavailable("the process has died")
        return await super().set_visibility(*args)


class World:
    """The process that is called, another one, and one that loads its index anew at each query."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.records = SlowRecords()
        self.log = FakeLog()
        self.one, self.two = self.cache(), self.cache()
        changes = RecordChanges(self.records, self.one)
        nodes: Any = None  # nobody asks the owner here
        self.set_visibility = SetNodeVisibility(self.records, changes, self.one, nodes, self.clock)

    def cache(self) -> IndexCache:
        return IndexCache(self.records, self.log, self.clock, max_bytes=1 << 30)

    async def write(self, node_id: str, version: int = 1) -> None:
        changes = RecordChanges(self.records, self.two)
        text = note(node_id, node_id, f"some text {version}", version=version, incarnation=BORN)
        await changes.change(U, node_id, lambda old: old.written(text))

    async def set(self, version: int, visible: bool, **how: Any) -> bool:
        return await self.set_visibility(U, "a", version, visible, BORN, **how)

    async def shown(self) -> list[list[str]]:
        return [await cache.query(U, ids) for cache in (self.one, self.two, self.cache())]

    async def state(self) -> tuple[bool, int]:
        stored = await self.records.get(U, "a")
        return stored.visible, stored.state_version


@pytest.fixture
async def world() -> World:
    world = World()
    await world.write("a")
    await world.write("b")
    assert await world.shown() == [["a", "b"]] * 3
    return world


async def test_a_deletion_is_seen_everywhere_before_it_is_stored(world: World) -> None:
    assert await world.set(2, False, early=True)
    assert await world.state() == (True, 1)
    assert await world.shown() == [["b"]] * 3
    with pytest.raises(NotFound):
        await ExtractKeywords(world.two)(U, "a", "", "", 3)
    world.records.go.set()
    await world.set_visibility.drain()
    assert await world.state() == (False, 2)
    assert await world.shown() == [["b"]] * 3


async def test_a_restore_is_seen_everywhere_before_it_is_stored(world: World) -> None:
    world.records.go.set()
    assert await world.set(2, False)
    assert await world.shown() == [["b"]] * 3
    world.records.go.clear()
    assert await world.set(3, True, early=True)
    assert await world.state() == (False, 2)
    assert await world.shown() == [["a", "b"]] * 3
    assert await ExtractKeywords(world.two)(U, "a", "", "", 3)
    world.records.go.set()
    await world.set_visibility.drain()
    assert await world.state() == (True, 3)
    assert await world.shown() == [["a", "b"]] * 3


@pytest.mark.parametrize("order", [(2, 3, 4), (4, 3, 2), (3, 4, 2)])
async def test_the_latest_version_counts_in_any_order(world: World, order: Sequence[int]) -> None:
    """Deleted (2), restored (3), deleted (4)."""
    for called, version in enumerate(order, 1):
        assert await world.set(version, version == 3, early=True)
        hidden = max(order[:called]) != 3
        assert await world.shown() == [["b"] if hidden else ["a", "b"]] * 3
    world.records.go.set()
    await world.set_visibility.drain()
    assert await world.state() == (False, 4)
    assert await world.shown() == [["b"]] * 3


async def test_a_late_change_loses_against_what_is_stored(world: World) -> None:
    world.records.go.set()
    await world.set(2, False)
    await world.set(3, True)
    world.records.go.clear()
    assert await world.set(2, False, early=True)
    assert await world.shown() == [["a", "b"]] * 3
    world.records.go.set()
    await world.set_visibility.drain()
    assert await world.state() == (True, 3)
    assert await world.shown() == [["a", "b"]] * 3


async def test_a_late_text_does_not_show_a_note_that_is_about_to_be_stored_as_hidden(world: World) -> None:
    assert await world.set(3, False, early=True)
    assert await world.shown() == [["b"]] * 3
    await world.write("a", version=2)  # its event comes late, and is published after the pending visibility
    assert await world.shown() == [["b"]] * 3


async def test_a_pending_visibility_and_a_late_text_that_are_read_together(world: World) -> None:
    assert await world.set(3, False, early=True)
    await world.write("a", version=2)
    assert await world.shown() == [["b"]] * 3


async def test_a_process_that_died_before_it_stored_leaves_the_change_to_the_event(world: World) -> None:
    world.records.dead = True
    assert await world.set(2, False, early=True)
    world.records.go.set()
    await world.set_visibility.drain()
    assert await world.state() == (True, 1)
    assert await world.shown() == [["b"]] * 3
    world.records.dead = False
    assert await world.set(2, False, probably_known=True)  # the event
    assert await world.state() == (False, 2)
    await world.clock.advance(60)
    assert await world.shown() == [["b"]] * 3


async def test_a_pending_visibility_that_nobody_stores_is_void_after_a_while(world: World) -> None:
    world.records.dead = True
    assert await world.set(2, False, early=True)
    assert await world.shown() == [["b"]] * 3
    await world.clock.advance(31)
    await world.write("a", version=2)
    assert (await world.shown())[:2] == [["a", "b"]] * 2


async def test_a_load_that_began_before_the_call_has_it(world: World) -> None:
    reading, go = asyncio.Event(), asyncio.Event()

    class Slow(IndexCache):
        async def _apply_pending(self, *args: Any) -> None:
            reading.set()
            await go.wait()
            await super()._apply_pending(*args)

    slow = Slow(world.records, world.log, world.clock, max_bytes=1 << 30)
    query = asyncio.create_task(slow.query(U, ids))
    await reading.wait()
    assert await world.set(2, False, early=True)
    go.set()
    await query  # it began before the call
    assert await slow.query(U, ids) == ["b"]


async def test_a_comparison_with_the_records_keeps_what_is_pending(world: World) -> None:
    assert await world.set(2, False, early=True)
    for cache in (world.one, world.two):
        cache.mark_all_stale()  # the connection broke: pending visibilities are read again
    assert await world.shown() == [["b"]] * 3


async def test_without_the_log_the_answer_waits_until_it_is_stored(world: World) -> None:
    world.log.down = True
    call = asyncio.create_task(world.set(2, False, early=True))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not call.done()
    world.records.go.set()
    assert await call
    assert await world.state() == (False, 2)
    assert await world.one.query(U, ids) == ["b"]


async def test_a_call_without_an_incarnation_waits_until_it_is_stored(world: World) -> None:
    world.records.go.set()
    assert await world.set_visibility(U, "a", 2, False, None, early=True)
    assert await world.state() == (False, 2)
