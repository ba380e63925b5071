"""Pending relinks outlive their process: leases are stored once a burst, renewed, released and taken over."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.similarity_service.ports import PendingRelink, Related
from services.similarity_service.usecases import relink_leases
from shared.errors import DataLoss, Unavailable
from tests.support.similarity_world import U, World, burst, links_of


async def test_another_relinks_what_a_dead_process_heard() -> None:
    texts = burst(40)
    world = World(2)
    for text in texts:
        await world.processes[0].hear(text)
    first_pass = world.graph.pairs(U)
    world.processes.pop(0)
    (heir,) = world.processes
    await heir.relinker.renew_and_take_over()
    assert heir.relinker.users == []  # the lease runs
    await world.clock.advance(61)
    await heir.relinker.renew_and_take_over()
    await world.relink()
    assert world.graph.pairs(U) == await links_of(texts) != first_pass
    await world.clock.advance(30)
    await heir.relinker.relink_if_quiet(U)
    assert world.pending_relinks.items == {}
    assert heir.relinker.users == []


async def test_a_heir_may_die_too() -> None:
    texts = burst(40)
    world = World()
    for text in texts:
        await world.processes[0].hear(text)
    heir = world.crash(0)
    await world.clock.advance(61)
    await heir.relinker.renew_and_take_over()
    heir = world.crash(0)
    await world.clock.advance(61)
    await heir.relinker.renew_and_take_over()
    await world.relink()
    assert world.graph.pairs(U) == await links_of(texts)


async def test_a_heir_relinks_the_last_of_a_long_trickle_only() -> None:
    world = World()
    process = world.processes[0]
    for text in burst(100):
        await process.hear(text)
        await world.clock.advance(10)
        await process.relinker.relink_if_quiet(U)
        await process.relinker.renew_and_take_over()
    assert process.relinker.users == [U]  # it never came to rest
    heir = world.crash(0)
    await world.clock.advance(61)
    await heir.relinker.renew_and_take_over()
    # Notes of the last minute (clocks differ), of the time in which notes are relinked again, and since the renewal.
    assert 1 <= heir.relinker.pending <= 13


async def test_a_burst_is_one_write() -> None:
    world = World()
    await asyncio.gather(*(world.processes[0].hear(text) for text in burst(60)))
    assert world.pending_relinks.writes == 1
    await world.processes[0].relinker.renew_and_take_over()
    assert world.pending_relinks.writes == 1
    await world.clock.advance(31)
    await world.processes[0].relinker.renew_and_take_over()
    assert world.pending_relinks.writes == 2


async def test_who_is_alive_keeps_what_it_has() -> None:
    world = World(2)
    one, two = world.processes
    await one.hear(burst(1)[0])
    for _ in range(10):
        await world.clock.advance(31)
        await one.relinker.renew_and_take_over()
        await two.relinker.renew_and_take_over()
    assert two.relinker.users == []


async def test_only_one_takes_over() -> None:
    world = World(3)
    await world.processes[0].hear(burst(1)[0])
    await world.clock.advance(61)
    await asyncio.gather(*(process.relinker.renew_and_take_over() for process in world.processes[1:]))
    assert sorted(process.relinker.pending for process in world.processes[1:]) == [0, 1]
    assert sorted(process.relinker.users for process in world.processes[1:]) == [[], [U]], "the other has nothing to do"
    assert len(world.pending_relinks.items) == 1


async def test_an_owner_that_was_only_slow_adds_its_next_notes_to_the_entry_of_its_heir() -> None:
    texts = burst(40)
    world = World(2)
    slow, heir = world.processes
    for text in texts[:30]:
        await slow.hear(text)
    await world.clock.advance(61)
    await heir.relinker.renew_and_take_over()
    await slow.relinker.renew_and_take_over()
    assert [owner for _, owner in world.pending_relinks.items] == ["p1"]
    for text in texts[30:]:
        await slow.hear(text)
    (entry,) = world.pending_relinks.items.values()
    assert entry.owner == "p1"
    assert entry.added >= {text.node_id for text in texts[30:]}
    await world.relink()
    assert world.graph.pairs(U) == await links_of(texts)


async def test_a_renewal_after_an_erasure_writes_nothing() -> None:
    world = World()
    await world.processes[0].hear(burst(1)[0])
    world.pending_relinks.items.clear()
    await world.clock.advance(31)
    await world.processes[0].relinker.renew_and_take_over()
    assert world.pending_relinks.items == {}


async def test_an_event_is_not_acknowledged_before_its_note_is_marked() -> None:
    world = World()
    world.pending_relinks.down = True
    with pytest.raises(Unavailable):
        await world.processes[0].hear(burst(1)[0])
    world.pending_relinks.down = False
    await world.processes[0].hear(burst(1)[0])
    assert world.pending_relinks.items


async def test_news_during_the_release_is_marked_again() -> None:
    world = World()
    process = world.processes[0]
    first, second = burst(2)
    await process.hear(first)
    await world.relink()
    await world.clock.advance(30)
    await asyncio.gather(process.relinker.relink_if_quiet(U), process.hear(second))
    assert process.relinker.pending
    assert world.pending_relinks.items


async def test_a_process_that_ends_hands_over_at_once() -> None:
    world = World(2)
    one, two = world.processes
    await one.hear(burst(1)[0])
    await one.relinker.stop()
    await world.clock.advance(0.01)
    await two.relinker.renew_and_take_over()
    assert two.relinker.pending == 1


async def test_a_known_version_is_published_again_because_its_writer_may_have_died_before() -> None:
    world = World(3)
    one, two, three = world.processes
    first, second = burst(2)
    await one.hear(first)
    assert await three.cache.query(U, len) == 1
    world.log.down = True
    await one.index_node(U, [second])
    world.log.down = False
    assert await three.cache.query(U, len) == 1  # nothing was published
    await two.hear(second)
    assert await three.cache.query(U, len) == 2


def relinked_notes(world: World, monkeypatch: pytest.MonkeyPatch) -> "Counter[str]":
    """How often each note is relinked from now on."""
    found: Counter[str] = Counter()
    related = world.graph.related

    async def counting(user_id: str, node_ids: Sequence[str]) -> Mapping[str, Related]:
        found.update(node_ids)
        return await related(user_id, node_ids)

    monkeypatch.setattr(world.graph, "related", counting)
    return found


async def rest(world: World) -> None:
    """Relink until every process has nothing left to do."""
    await world.relink()
    await world.clock.advance(30)
    for process in world.processes:
        await process.relinker.relink_if_quiet(U)
    assert [process.relinker.users for process in world.processes] == [[]] * len(world.processes)
    assert world.pending_relinks.items == {}


async def test_of_two_processes_that_index_a_burst_one_relinks_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = burst(60)
    world = World(2)
    relinked = relinked_notes(world, monkeypatch)
    for number, text in enumerate(texts):
        await world.processes[number % 2].hear(text)
    assert [process.relinker.users for process in world.processes] == [[U], []]
    await rest(world)
    assert relinked == Counter(text.node_id for text in texts)
    assert world.graph.pairs(U) == await links_of(texts)


async def test_two_processes_that_begin_at_the_same_time_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = burst(60)
    world = World(2)
    relinked = relinked_notes(world, monkeypatch)
    one, two = world.processes
    now = world.clock.now_ms()
    for process, text in zip(world.processes, texts[:2], strict=True):
        await process.index_node(U, [text])
    await asyncio.gather(
        one.relinker.schedule(U, [texts[0].node_id], now), two.relinker.schedule(U, [texts[1].node_id], now)
    )
    assert len(world.pending_relinks.items) == 2
    for process in world.processes:
        await process.relinker.relink_if_quiet(U)
    assert len(world.pending_relinks.items) == 1
    for number, text in enumerate(texts[2:]):
        await world.processes[number % 2].hear(text)
    assert len(world.pending_relinks.items) == 1
    await rest(world)
    assert relinked == Counter(text.node_id for text in texts)
    assert world.graph.pairs(U) == await links_of(texts)


async def test_notes_that_another_process_added_outlive_the_owner_of_the_entry() -> None:
    texts = burst(40)
    world = World(2)
    await world.clock.advance(100)
    await world.processes[0].hear(texts[0])
    for text in texts[1:]:
        await world.processes[1].hear(text)
    world.processes.pop(0)
    await world.clock.advance(61)
    await world.processes[0].relinker.renew_and_take_over()
    await rest(world)
    assert world.graph.pairs(U) == await links_of(texts)


@pytest.mark.parametrize("collected", [False, True])
async def test_an_entry_covers_an_event_that_is_older_than_its_own(collected: bool) -> None:
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    await one.hear(first)
    before = world.clock.now_ms() - 5_000
    await two.index_node(U, [second])
    await two.relinker.schedule(U, [second.node_id], before)
    if collected:
        await world.clock.advance(31)
        await one.relinker.renew_and_take_over()
        assert one.relinker.pending == 2
    (entry,) = world.pending_relinks.items.values()
    assert entry.since_ms == before


async def test_notes_that_are_added_during_the_release_are_relinked(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = burst(2)
    world = World(2)
    one, two = world.processes
    await one.hear(first)
    await world.relink()
    remove = world.pending_relinks.remove

    async def too_late(user_id: str, owner: str) -> bool:
        monkeypatch.setattr(world.pending_relinks, "remove", remove)
        await two.hear(second)
        return await remove(user_id, owner)

    monkeypatch.setattr(world.pending_relinks, "remove", too_late)
    relinked = relinked_notes(world, monkeypatch)
    await world.clock.advance(30)
    await one.relinker.relink_if_quiet(U)
    assert one.relinker.pending
    assert two.relinker.users == []
    await rest(world)
    assert relinked[second.node_id] == 1


async def test_a_deletion_that_another_process_heard_gives_its_places_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(2)
    one, two = world.processes
    for text in burst(20):
        await one.hear(text)
    await world.relink()
    relinked = relinked_notes(world, monkeypatch)
    await two.set_visibility(U, "n003", 2, visible=False)
    await two.relinker.schedule_after_removal(U, world.clock.now_ms())
    assert two.relinker.users == []
    await rest(world)
    assert len(relinked) == 19 + 1


async def test_an_entry_of_an_earlier_release_gets_no_notes() -> None:
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    await one.hear(first)
    world.pending_relinks.items[U, "p0"] = replace(world.pending_relinks.items[U, "p0"], open=False)
    await two.hear(second)
    assert two.relinker.users == [U]
    assert {owner for _, owner in world.pending_relinks.items} == {"p0", "p1"}


async def test_an_entry_with_many_added_notes_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relink_leases, "_MOST_ADDED", 3)
    texts = burst(20)
    world = World(2)
    one, two = world.processes
    await one.hear(texts[0])
    for text in texts[1:]:
        await two.hear(text)
    assert len(world.pending_relinks.items[U, "p0"].added) <= 3
    assert two.relinker.pending >= 16
    await rest(world)
    assert world.graph.pairs(U) == await links_of(texts)


async def test_a_process_that_ends_hands_over_what_others_have_added() -> None:
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    await one.hear(first)
    await two.hear(second)
    await one.relinker.stop()
    await world.clock.advance(0.01)
    await two.relinker.renew_and_take_over()
    assert two.relinker.pending == 2


async def test_while_another_process_adds_notes_they_are_not_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = burst(30)
    world = World(2)
    one, two = world.processes
    relinked = relinked_notes(world, monkeypatch)
    await one.hear(texts[0])
    await one.relinker.relink_if_quiet(U)
    for start in range(1, 30, 10):
        for text in texts[start : start + 10]:
            await two.hear(text)
        await one.relinker.relink_if_quiet(U)
        await world.clock.advance(1.1)
        assert not await one.relinker.relink_if_quiet(U), "a batch of the other may have taken so long"
    await rest(world)
    assert relinked == Counter(text.node_id for text in texts)


async def test_in_a_long_burst_the_owner_collects_what_others_add() -> None:
    world = World(2)
    one, two = world.processes
    texts = burst(30)
    await one.hear(texts[0])
    most = 0
    for text in texts[1:]:
        await two.hear(text)
        await world.clock.advance(0.9)
        assert not await one.relinker.relink_if_quiet(U)
        most = max(most, len(world.pending_relinks.items[U, "p0"].added))
    assert 1 < most < 25
    assert one.relinker.pending > 20


async def test_an_entry_that_is_taken_over_while_its_owner_looks_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    await one.hear(first)
    await two.hear(second)  # it adds its note to the entry
    of_user = world.pending_relinks.of_user

    async def and_then_it_is_gone(user_id: str) -> Sequence[PendingRelink]:
        found = await of_user(user_id)
        world.pending_relinks.items.clear()
        return found

    monkeypatch.setattr(world.pending_relinks, "of_user", and_then_it_is_gone)
    await world.relink()
    assert world.graph.pairs(U) == await links_of([first, second])


def lose_answer(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The next such write is done, and its answer gets lost."""
    write = getattr(world.pending_relinks, name)

    async def lost(*args: Any) -> None:
        monkeypatch.setattr(world.pending_relinks, name, write)
        await write(*args)
        raise Unavailable("the answer got lost")

    monkeypatch.setattr(world.pending_relinks, name, lost)


async def begin_together(world: World) -> tuple[int, int]:
    """Two processes write an entry, each for a note. Returns which of them is chosen, and which is not."""
    now = world.clock.now_ms()
    for process, text in zip(world.processes, burst(2), strict=False):
        await process.index_node(U, [text])
    await asyncio.gather(
        *(process.relinker.schedule(U, [f"n00{n}"], now) for n, process in enumerate(world.processes[:2]))
    )
    chosen = min(world.pending_relinks.items.values(), key=relink_leases._draw)
    return (0, 1) if chosen.owner == "p0" else (1, 0)


async def test_a_note_is_not_lost_with_the_answer_to_its_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    await one.hear(first)
    await two.hear(second)
    relinked = relinked_notes(world, monkeypatch)
    lose_answer(world, monkeypatch, "remove_added")
    with pytest.raises(Unavailable):
        await one.relinker.relink_if_quiet(U)
    assert one.relinker.pending == 1
    await world.clock.advance(1.1)
    await one.relinker.relink_if_quiet(U)
    assert one.relinker.pending == 2
    await rest(world)
    assert relinked == {first.node_id: 1, second.node_id: 1}


async def test_a_note_is_covered_after_a_removal_whose_answer_got_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    (process,) = world.processes
    first, second = burst(2)
    await process.hear(first)
    await world.relink()
    await world.clock.advance(21)
    lose_answer(world, monkeypatch, "remove")
    with pytest.raises(Unavailable):
        await process.relinker.relink_if_quiet(U)
    assert world.pending_relinks.items == {}
    await process.hear(second)
    assert list(world.pending_relinks.items) == [(U, "p0")]
    await rest(world)


async def test_a_note_is_covered_after_a_hand_over_whose_answer_got_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    chosen, other = await begin_together(world)
    lose_answer(world, monkeypatch, "hand_over")
    with pytest.raises(Unavailable):
        await world.processes[other].relinker.relink_if_quiet(U)
    assert list(world.pending_relinks.items) == [(U, f"p{chosen}")]
    third = burst(3)[2]
    await world.processes[other].hear(third)
    owners = [owner for _, owner in world.pending_relinks.items]
    added = world.pending_relinks.items[U, f"p{chosen}"].added
    assert f"p{other}" in owners or third.node_id in added
    await rest(world)


@pytest.mark.parametrize("has_entry", [False, True])
async def test_notes_are_not_lost_with_the_answer_to_a_takeover(
    monkeypatch: pytest.MonkeyPatch, has_entry: bool
) -> None:
    """Nor when the heir dies, too, after it has renewed its entry."""
    world = World(2)
    _, heir = world.processes
    texts = burst(40)
    await world.clock.advance(200)
    for text in texts:
        await world.processes[0].hear(text)
    await world.clock.advance(61)
    if has_entry:
        await heir.index_node(U, [texts[0]])
        await heir.relinker.schedule(U, [texts[0].node_id], world.clock.now_ms())
    lose_answer(world, monkeypatch, "take")
    await heir.relinker.renew_and_take_over()
    assert [owner for _, owner in world.pending_relinks.items] == ["p1"]
    assert heir.relinker.pending == 40
    await world.clock.advance(31)
    await heir.relinker.renew_and_take_over()
    world.processes = [heir]
    heir = world.crash(0)
    await world.clock.advance(61)
    await heir.relinker.renew_and_take_over()
    assert heir.relinker.pending == 40
    await rest(world)


async def test_an_entry_is_kept_by_its_owner_after_a_write_whose_answer_got_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others may have added notes to it."""
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    lose_answer(world, monkeypatch, "put")
    with pytest.raises(Unavailable):
        await one.hear(first)
    await two.hear(second)
    assert two.relinker.users == []
    relinked = relinked_notes(world, monkeypatch)
    await world.relink()
    assert relinked == {first.node_id: 1, second.node_id: 1}
    assert world.pending_relinks.items[U, "p0"].added == frozenset()


async def test_a_process_whose_renewal_failed_takes_its_own_entry_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    (process,) = world.processes
    await process.hear(burst(1)[0])
    await world.clock.advance(61)
    renew = world.pending_relinks.renew

    async def fails(mine: PendingRelink) -> bool:
        monkeypatch.setattr(world.pending_relinks, "renew", renew)
        raise Unavailable("the store is down")

    monkeypatch.setattr(world.pending_relinks, "renew", fails)
    await process.relinker.renew_and_take_over()
    (entry,) = world.pending_relinks.items.values()
    assert entry.until_ms > world.clock.now_ms()


async def test_the_user_of_an_own_entry_may_be_erased_while_it_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    (process,) = world.processes
    world.pending_relinks.items[U, "p0"] = PendingRelink(U, "p0", 1, 2)

    async def erased(user_id: str, ms: int) -> Sequence[str]:
        world.pending_relinks.items.clear()
        return ()

    monkeypatch.setattr(world.records, "written_since", erased)
    await process.relinker.renew_and_take_over()
    assert world.pending_relinks.items == {}
    assert process.relinker.users == []


async def test_what_was_added_to_an_entry_is_taken_over_with_it() -> None:
    """Also an older note, at the other end of a link of a new one."""
    world = World(2)
    one, two = world.processes
    await one.hear(burst(1)[0])
    await world.clock.advance(200)
    await one.relinker.renew_and_take_over()
    await two.relinker.schedule(U, ["old"], world.clock.now_ms())
    await world.clock.advance(61)
    await two.relinker.renew_and_take_over()
    assert two.relinker.pending == 2


async def test_an_entry_that_can_not_be_taken_over_does_not_keep_another_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(2)
    _, heir = world.processes
    world.pending_relinks.items["broken", "dead"] = PendingRelink("broken", "dead", 1, 2)
    await world.processes[0].hear(burst(1)[0])
    written_since = world.records.written_since

    async def broken(user_id: str, ms: int) -> Sequence[str]:
        if user_id == "broken":
            raise DataLoss("a record can't be decoded")
        return await written_since(user_id, ms)

    monkeypatch.setattr(world.records, "written_since", broken)
    await world.clock.advance(61)
    await heir.relinker.renew_and_take_over()
    assert heir.relinker.users == [U]


async def test_a_deletion_that_is_added_during_the_release_leaves_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    one, two = world.processes
    await one.hear(burst(1)[0])
    await world.relink()
    remove = world.pending_relinks.remove

    async def too_late(user_id: str, owner: str) -> bool:
        monkeypatch.setattr(world.pending_relinks, "remove", remove)
        await two.relinker.schedule_after_removal(U, world.clock.now_ms())
        return await remove(user_id, owner)

    monkeypatch.setattr(world.pending_relinks, "remove", too_late)
    await world.clock.advance(30)
    await one.relinker.relink_if_quiet(U)
    assert one.relinker.users == [U]
    await rest(world)


async def test_a_note_goes_to_another_process_while_this_one_relinks_all_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry was taken over when it was slow, and it has nothing else to do for the user."""
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    await one.hear(first)
    await rest(world)
    await one.relinker.schedule_after_removal(U, world.clock.now_ms())
    await world.clock.advance(61)
    await two.relinker.renew_and_take_over()
    await one.relinker.renew_and_take_over()
    await one.relinker.relink_if_quiet(U)
    await world.clock.advance(1.1)
    assert await one.relinker.relink_if_quiet(U)
    related = world.graph.related

    async def and_then_a_note_comes(user_id: str, node_ids: Sequence[str]) -> Mapping[str, Related]:
        monkeypatch.setattr(world.graph, "related", related)
        await one.hear(second)
        return await related(user_id, node_ids)

    await world.clock.advance(21)
    monkeypatch.setattr(world.graph, "related", and_then_a_note_comes)
    await one.relinker.relink_if_quiet(U)
    assert world.graph.related == related, "it relinked all notes"
    assert one.relinker.users == []
    await rest(world)


async def test_a_note_that_is_collected_during_a_hand_over_is_handed_over_too() -> None:
    world = World(3)
    chosen, other = await begin_together(world)
    loser = world.processes[other]
    third = burst(3)[2]
    entry = world.pending_relinks.items[U, f"p{other}"]
    assert await world.pending_relinks.add(entry, entry.since_ms, {third.node_id}, world.clock.now_ms())
    await world.clock.advance(31)
    world.pending_relinks.items[U, f"p{chosen}"] = replace(
        world.pending_relinks.items[U, f"p{chosen}"], until_ms=world.clock.now_ms() + 60_000
    )
    await asyncio.gather(loser.relinker.renew_and_take_over(), loser.relinker.relink_if_quiet(U))
    assert loser.relinker.users == []
    (entry,) = world.pending_relinks.items.values()
    assert entry.owner == f"p{chosen}"
    assert entry.added >= {third.node_id}


async def test_a_process_that_stood_still_while_it_wrote_its_entry_does_not_rely_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another one has taken the entry over by then."""
    world = World(2)
    one, two = world.processes
    first, second = burst(2)
    put = world.pending_relinks.put

    async def for_a_minute(mine: PendingRelink) -> bool:
        monkeypatch.setattr(world.pending_relinks, "put", put)
        written = await put(mine)
        await world.clock.advance(61)
        await two.relinker.renew_and_take_over()
        return written

    monkeypatch.setattr(world.pending_relinks, "put", for_a_minute)
    await one.hear(first)
    await one.hear(second)
    assert set(world.pending_relinks.items) == {(U, "p0"), (U, "p1")}
    await rest(world)


async def test_an_entry_is_renewed_in_time_though_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    (process,) = world.processes
    put = world.pending_relinks.put

    async def and_the_clock_is_set_back(mine: PendingRelink) -> bool:
        world.clock.ms -= 3_600_000
        return await put(mine)

    monkeypatch.setattr(world.pending_relinks, "put", and_the_clock_is_set_back)
    await process.hear(burst(1)[0])
    await world.clock.advance(31)
    await process.relinker.renew_and_take_over()
    (entry,) = world.pending_relinks.items.values()
    assert entry.until_ms == world.clock.now_ms() + 60_000
