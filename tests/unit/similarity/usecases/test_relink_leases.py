"""Pending relinks outlive their process: leases are stored once a burst, renewed, released and taken over."""

import asyncio

import pytest

from shared.errors import Unavailable
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
    assert len(world.pending_relinks.items) == 1


async def test_an_owner_that_was_only_slow_relinks_too_and_takes_a_new_lease() -> None:
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
    assert {owner for _, owner in world.pending_relinks.items} == {"p0", "p1"}
    assert world.pending_relinks.items[U, "p0"].since_ms == world.clock.now_ms()  # what came before is the heir's
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
