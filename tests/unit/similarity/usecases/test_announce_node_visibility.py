"""Changes of visibility are announced before they are stored, and every process has them from then on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.stored import Stored
from services.similarity_service.usecases.announce_node_visibility import AnnounceNodeVisibility
from services.similarity_service.usecases.extract_keywords import ExtractKeywords
from services.similarity_service.usecases.index_cache import ANNOUNCED_SECONDS, IndexCache
from services.similarity_service.usecases.list_nodes_by_keyword import ListNodesByKeyword
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.wait_for_index import WaitForIndex
from shared import revisions
from shared.errors import NotFound, Unavailable
from tests.support.clock import ManualClock
from tests.support.similarity_fakes import FakeLog, FakeRecords, FakeUserSettings, note
from tests.support.waiting import within

U = "u"
# The incarnation of the note "a", whose text has version 1.
BORN = 7


def ids(index: UserIndex) -> list[str]:
    return sorted(index.ids())


class Purged:
    """The node service knows nothing of the note any more, so what is stored stays."""

    async def state(self, user_id: str, node_id: str, seen: object) -> None:
        return None


class World:
    """The process that is called, another one, and one that loads its index anew at each query."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.records = FakeRecords()
        self.log = FakeLog(clock=self.clock)
        self.one, self.two = self.cache(), self.cache()
        changes = RecordChanges(self.records, self.one)
        nodes: Any = Purged()
        self.set_visibility = SetNodeVisibility(self.records, changes, self.one, nodes, self.clock)
        self.announcements = AnnounceNodeVisibility(self.one, self.clock)

    def cache(self) -> IndexCache:
        return IndexCache(self.records, self.log, self.clock, max_bytes=1 << 30)

    async def write(self, node_id: str, version: int = 1) -> None:
        changes = RecordChanges(self.records, self.two)
        text = note(node_id, node_id, f"some text {version}", version=version, incarnation=BORN)
        await changes.change(U, node_id, lambda old: old.written(text))

    async def announce(self, version: int, visible: bool, announcement_id: str = "x") -> bool:
        return await self.announcements.announce(
            U, "a", version, visible=visible, incarnation=BORN, announcement_id=announcement_id
        )

    async def withdraw(self, version: int, announcement_id: str = "x") -> None:
        await self.announcements.withdraw(U, "a", version, announcement_id)

    async def set(self, version: int, visible: bool, **how: Any) -> bool:
        return await self.set_visibility(U, "a", version, visible=visible, incarnation=BORN, **how)

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
    assert await world.announce(2, False)
    assert await world.state() == (True, 1)
    assert await world.shown() == [["b"]] * 3
    with pytest.raises(NotFound):
        await ExtractKeywords(world.two)(U, "a", "", "", 3)
    assert await world.set(2, False)
    assert await world.state() == (False, 2)
    assert await world.shown() == [["b"]] * 3


async def test_a_read_of_ones_own_write_waits_for_no_note_whose_deletion_is_announced(world: World) -> None:
    for key, stored in world.records.items.items():
        assert stored.note is not None
        keyword = (list(stored.note.terms).index("text"), 255)
        world.records.items[key] = replace(stored, note=replace(stored.note, salient=(keyword,)))
    wait = WaitForIndex(world.two, world.clock, lambda: None)
    written = revisions.encode({"a": (BORN, 1)})
    assert await world.announce(2, False)
    async with within(10):
        assert await wait(U, written) == {"a": (BORN, 1)}
    found = ListNodesByKeyword(world.records, world.two, UserSettingsCache(FakeUserSettings(), world.clock))
    assert await found(U, "text", 10, "", ["a", "b"]) == ([("b", 1.0)], "")


async def test_wiki_links_follow_a_deletion_when_it_is_stored(world: World) -> None:
    """Edges are stored by them, and the deletion may be refused."""

    async def linking() -> list[bool]:
        caches = world.one, world.two, world.cache()
        return [await cache.query_links(U, lambda links: "a" in links) for cache in caches]

    assert await world.announce(2, False)
    assert await world.shown() == [["b"]] * 3
    assert await linking() == [True] * 3
    assert await world.set(2, False)
    assert await linking() == [False] * 3


async def test_a_restore_is_seen_everywhere_before_it_is_stored(world: World) -> None:
    assert await world.set(2, False)
    assert await world.shown() == [["b"]] * 3
    assert await world.announce(3, True)
    assert await world.state() == (False, 2)
    assert await world.shown() == [["a", "b"]] * 3
    assert await ExtractKeywords(world.two)(U, "a", "", "", 3)
    assert await world.set(3, True)
    assert await world.state() == (True, 3)
    assert await world.shown() == [["a", "b"]] * 3


async def test_a_call_that_hides_a_hidden_note_again_costs_one_read_and_no_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that its condition refuses costs as many units as the record has."""
    calls: Counter[str] = Counter()
    for name in ("get", "set_visibility"):
        method = getattr(world.records, name)

        def counted(*args: Any, _name: str = name, _method: Any = method, **named: Any) -> Any:
            calls[_name] += 1
            return _method(*args, **named)

        monkeypatch.setattr(world.records, name, counted)

    async def called(version: int, visible: bool) -> tuple[bool, Counter[str]]:
        calls.clear()
        return await world.set_visibility.checked(U, "a", version, visible=visible, incarnation=BORN), Counter(calls)

    assert await called(2, False) == (True, {"set_visibility": 1})
    assert await called(2, False) == (False, {"get": 1})
    assert await called(3, True) == (True, {"set_visibility": 1})
    assert await world.announce(4, False)
    assert await world.shown() == [["b"]] * 3
    assert await called(4, False) == (True, {"set_visibility": 1}), "what is only announced is written without a read"


@pytest.mark.parametrize("seen", [True, False])
async def test_what_is_withdrawn_is_seen_as_before(world: World, seen: bool) -> None:
    assert await world.announce(2, False)
    if seen:
        assert await world.shown() == [["b"]] * 3
    await world.withdraw(2)
    assert await world.shown() == [["a", "b"]] * 3
    await world.clock.advance(ANNOUNCED_SECONDS + 1)
    assert await world.shown() == [["a", "b"]] * 3
    assert await world.set(2, False)
    assert await world.announce(3, True)
    if seen:
        assert await world.shown() == [["a", "b"]] * 3
    await world.withdraw(3)
    assert await world.shown() == [["b"]] * 3


async def test_a_withdrawal_ends_no_other_announcement(world: World) -> None:
    """Two processes of the node service delete the note at the same time. One loses and withdraws."""
    assert await world.announce(2, False, "winner")
    assert await world.announce(2, False, "loser")
    await world.withdraw(2, "loser")
    assert await world.shown() == [["b"]] * 3
    assert await world.announce(3, True, "restore")
    assert await world.shown() == [["a", "b"]] * 3
    await world.withdraw(3, "restore")
    assert await world.shown() == [["b"]] * 3, "the deletion is still announced"


@pytest.mark.parametrize("order", [(2, 3, 4), (4, 3, 2), (3, 4, 2)])
async def test_the_latest_version_counts_in_any_order(world: World, order: Sequence[int]) -> None:
    """Deleted (2), restored (3), deleted (4)."""
    for called, version in enumerate(order, 1):
        assert await world.announce(version, version == 3, f"x{version}")
        hidden = max(order[:called]) != 3
        assert await world.shown() == [["b"] if hidden else ["a", "b"]] * 3
    for version in order:
        await world.set(version, version == 3)
        assert await world.shown() == [["b"]] * 3
    assert await world.state() == (False, 4)


async def test_an_announcement_loses_against_what_is_stored(world: World) -> None:
    await world.set(2, False)
    await world.set(3, True)
    for version in (2, 3):
        assert await world.announce(version, False, f"x{version}")
        assert await world.shown() == [["a", "b"]] * 3


async def test_a_late_text_does_not_show_a_note_whose_deletion_is_announced(world: World) -> None:
    assert await world.announce(3, False)
    assert await world.shown() == [["b"]] * 3
    await world.write("a", version=2)  # its event comes late
    assert await world.shown() == [["b"]] * 3


async def test_an_announcement_and_a_late_text_that_are_read_together(world: World) -> None:
    assert await world.announce(3, False)
    await world.write("a", version=2)
    assert await world.shown() == [["b"]] * 3


@pytest.mark.parametrize("stale", [False, True])
async def test_an_update_that_came_first_shows_the_note(world: World, stale: bool) -> None:
    """A deletion was announced over a version that had been replaced, and its process died."""
    assert await world.announce(2, False)
    assert await world.shown() == [["b"]] * 3
    await world.write("a", version=2)
    if stale:
        for cache in (world.one, world.two):
            cache.mark_all_stale()
    assert await world.shown() == [["a", "b"]] * 3


async def test_the_event_stores_what_nobody_has_confirmed(world: World) -> None:
    """The node service died after its transaction."""
    assert await world.announce(2, False)
    assert await world.shown() == [["b"]] * 3
    assert await world.set(2, False, probably_known=True)
    assert await world.state() == (False, 2)
    await world.clock.advance(ANNOUNCED_SECONDS + 1)
    assert await world.shown() == [["b"]] * 3


@pytest.mark.parametrize("deleted", [False, True])
async def test_an_announcement_that_nobody_ends_is_void_in_every_process(world: World, deleted: bool) -> None:
    """The node service died before its transaction. Nothing else happens to the note."""
    if deleted:
        assert await world.set(2, False)
    before = await world.shown()
    assert await world.announce(3, deleted)
    assert await world.shown() != before
    await world.clock.advance(ANNOUNCED_SECONDS - 1)
    assert await world.shown() != before
    await world.clock.advance(2)
    assert await world.shown() == before


@pytest.mark.parametrize("stale", [False, True])
async def test_an_announcement_that_is_read_late_ends_at_the_same_time(world: World, stale: bool) -> None:
    """Nobody has asked the other process since the announcement, or it has lost its connection to the log."""
    assert await world.announce(2, False)
    await world.clock.advance(ANNOUNCED_SECONDS - 1)
    assert await world.one.query(U, ids) == ["b"]
    if stale:
        world.two.mark_all_stale()
    assert await world.two.query(U, ids) == ["b"]
    await world.clock.advance(2)
    assert await world.shown() == [["a", "b"]] * 3


async def test_an_announcement_that_ended_before_it_was_read_changes_nothing(world: World) -> None:
    assert await world.announce(2, False)
    await world.clock.advance(ANNOUNCED_SECONDS + 1)
    world.one.mark_all_stale()
    assert await world.shown() == [["a", "b"]] * 3


async def test_an_announcement_that_ends_while_a_record_is_read_ends_in_the_index_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await world.announce(2, False)
    assert await world.shown() == [["b"]] * 3
    get_many = world.records.get_many

    async def slow(user_id: str, node_ids: Sequence[str]) -> Mapping[str, Stored]:
        await world.clock.advance(ANNOUNCED_SECONDS + 1)
        return await get_many(user_id, node_ids)

    monkeypatch.setattr(world.records, "get_many", slow)
    assert (await world.two.records(U, ["a"]))["a"].visible
    monkeypatch.undo()
    assert await world.shown() == [["a", "b"]] * 3


async def test_an_announcement_that_ends_during_a_comparison_that_fails_ends_in_the_index_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await world.announce(2, False)
    assert await world.shown() == [["b"]] * 3
    await world.clock.advance(ANNOUNCED_SECONDS + 1)
    stamps = world.records.stamps

    async def broken(user_id: str) -> AsyncIterator[Sequence[tuple[str, Stored]]]:
        async for page in stamps(user_id):
            yield page
        raise Unavailable("the table is away")

    monkeypatch.setattr(world.records, "stamps", broken)
    world.log.down = True
    with pytest.raises(Unavailable):
        await world.two.query(U, ids)
    world.log.down = False
    assert await world.shown() == [["a", "b"]] * 3


async def test_a_load_that_began_before_the_call_has_it(world: World) -> None:
    reading, go = asyncio.Event(), asyncio.Event()

    class Slow(IndexCache):
        async def _apply_announcements(self, *args: Any) -> None:
            reading.set()
            await go.wait()
            await super()._apply_announcements(*args)

    slow = Slow(world.records, world.log, world.clock, max_bytes=1 << 30)
    query = asyncio.create_task(slow.query(U, ids))
    await reading.wait()
    assert await world.announce(2, False)
    go.set()
    await query  # it began before the call
    assert await slow.query(U, ids) == ["b"]


async def test_a_comparison_with_the_records_keeps_what_is_announced(world: World) -> None:
    assert await world.announce(2, False)
    for cache in (world.one, world.two):
        cache.mark_all_stale()  # the connection broke: announcements are read again
    assert await world.shown() == [["b"]] * 3


async def test_without_the_log_nothing_is_announced(world: World) -> None:
    world.log.down = True
    assert not await world.announce(2, False)
    await world.withdraw(2)
    world.log.down = False
    assert await world.shown() == [["a", "b"]] * 3


async def test_a_version_that_is_not_likely_is_not_announced(world: World) -> None:
    born = world.clock.now_ms()
    assert not await world.announcements.announce(U, "a", 1_000, visible=False, incarnation=born, announcement_id="x")
    assert await world.shown() == [["a", "b"]] * 3
