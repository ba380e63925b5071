"""What a process has yet to settle outlives it: marked once a burst, renewed, released, taken over."""

import asyncio

import pytest

from shared.errors import Unavailable
from tests.support.similarity_world import U, World, burst, links_of


async def test_another_settles_what_a_dead_process_heard() -> None:
    texts = burst(40)
    world = World(2)
    for text in texts:
        await world.processes[0].hear(text)
    first_pass = world.graph.pairs(U)
    world.processes.pop(0)
    (heir,) = world.processes
    await heir.linking.keep_once()
    assert heir.linking.users == []  # the lease runs
    await world.clock.advance(61)
    await heir.linking.keep_once()
    await world.settle()
    assert world.graph.pairs(U) == await links_of(texts) != first_pass
    await world.clock.advance(30)
    await heir.linking.settle_if_quiet(U)
    assert world.unsettled.items == {}
    assert heir.linking.users == []


async def test_a_heir_may_die_too() -> None:
    texts = burst(40)
    world = World()
    for text in texts:
        await world.processes[0].hear(text)
    heir = world.crash(0)
    await world.clock.advance(61)
    await heir.linking.keep_once()
    heir = world.crash(0)
    await world.clock.advance(61)
    await heir.linking.keep_once()
    await world.settle()
    assert world.graph.pairs(U) == await links_of(texts)


async def test_a_heir_settles_the_last_of_a_long_trickle_only() -> None:
    world = World()
    process = world.processes[0]
    for text in burst(100):
        await process.hear(text)
        await world.clock.advance(10)
        await process.linking.settle_if_quiet(U)
        await process.linking.keep_once()
    assert process.linking.users == [U]  # it never came to rest
    heir = world.crash(0)
    await world.clock.advance(61)
    await heir.linking.keep_once()
    # Those of the last minute (clocks differ), of the time in which notes are settled again, and since the renewal.
    assert 1 <= heir.linking.pending <= 13


async def test_a_burst_is_one_write() -> None:
    world = World()
    await asyncio.gather(*(world.processes[0].hear(text) for text in burst(60)))
    assert world.unsettled.writes == 1
    await world.processes[0].linking.keep_once()
    assert world.unsettled.writes == 1
    await world.clock.advance(31)
    await world.processes[0].linking.keep_once()
    assert world.unsettled.writes == 2


async def test_who_is_alive_keeps_what_it_has() -> None:
    world = World(2)
    one, two = world.processes
    await one.hear(burst(1)[0])
    for _ in range(10):
        await world.clock.advance(31)
        await one.linking.keep_once()
        await two.linking.keep_once()
    assert two.linking.users == []


async def test_only_one_takes_over() -> None:
    world = World(3)
    await world.processes[0].hear(burst(1)[0])
    await world.clock.advance(61)
    await asyncio.gather(*(process.linking.keep_once() for process in world.processes[1:]))
    assert sorted(process.linking.pending for process in world.processes[1:]) == [0, 1]
    assert len(world.unsettled.items) == 1


async def test_who_was_only_slow_settles_too_and_marks_what_comes_after() -> None:
    texts = burst(40)
    world = World(2)
    slow, heir = world.processes
    for text in texts[:30]:
        await slow.hear(text)
    await world.clock.advance(61)
    await heir.linking.keep_once()
    await slow.linking.keep_once()
    assert [owner for _, owner in world.unsettled.items] == ["p1"]
    for text in texts[30:]:
        await slow.hear(text)
    assert {owner for _, owner in world.unsettled.items} == {"p0", "p1"}
    assert world.unsettled.items[U, "p0"].since_ms == world.clock.now_ms()  # what came before is the heir's
    await world.settle()
    assert world.graph.pairs(U) == await links_of(texts)


async def test_a_renewal_after_an_erasure_writes_nothing() -> None:
    world = World()
    await world.processes[0].hear(burst(1)[0])
    world.unsettled.items.clear()
    await world.clock.advance(31)
    await world.processes[0].linking.keep_once()
    assert world.unsettled.items == {}


async def test_an_event_is_not_acknowledged_before_its_note_is_marked() -> None:
    world = World()
    world.unsettled.down = True
    with pytest.raises(Unavailable):
        await world.processes[0].hear(burst(1)[0])
    world.unsettled.down = False
    await world.processes[0].hear(burst(1)[0])
    assert world.unsettled.items


async def test_news_during_the_release_is_marked_again() -> None:
    world = World()
    process = world.processes[0]
    first, second = burst(2)
    await process.hear(first)
    await world.settle()
    await world.clock.advance(30)
    await asyncio.gather(process.linking.settle_if_quiet(U), process.hear(second))
    assert process.linking.pending
    assert world.unsettled.items


async def test_a_process_that_ends_hands_over_at_once() -> None:
    world = World(2)
    one, two = world.processes
    await one.hear(burst(1)[0])
    await one.linking.hand_over()
    await world.clock.advance(0.01)
    await two.linking.keep_once()
    assert two.linking.pending == 1


async def test_old_news_is_told_again_for_its_writer_may_have_died_before_it_told() -> None:
    world = World(3)
    one, two, three = world.processes
    first, second = burst(2)
    await one.hear(first)
    assert await three.library.ask(U, len) == 1
    world.log.down = True
    await one.indexing.write(U, second)
    world.log.down = False
    assert await three.library.ask(U, len) == 1  # nobody told
    await two.hear(second)
    assert await three.library.ask(U, len) == 2
