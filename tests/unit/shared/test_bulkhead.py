"""The bulkhead: how many are inside, who waits, who is refused, and that no place is ever lost."""

import asyncio
import random

import pytest

from shared.errors import ResourceExhausted
from shared.resilience.bulkhead import Bulkhead
from tests.support.clock import settle


async def hold(bulkhead: Bulkhead, gate: asyncio.Event, order: list[int] | None = None, number: int = 0) -> None:
    async with bulkhead:
        if order is not None:
            order.append(number)
        await gate.wait()


async def test_beyond_limit_and_queue_the_next_is_refused_at_once() -> None:
    bulkhead, gate = Bulkhead(2, 1, retry_after=0.3), asyncio.Event()
    tasks = [asyncio.create_task(hold(bulkhead, gate)) for _ in range(3)]
    await settle()
    assert (bulkhead.inside, bulkhead.waiting) == (2, 1)
    with pytest.raises(ResourceExhausted) as refused:
        await hold(bulkhead, gate)
    assert (refused.value.reason, refused.value.retry_after) == ("OVERLOADED", 0.3)
    gate.set()
    await asyncio.gather(*tasks)
    assert (bulkhead.inside, bulkhead.waiting) == (0, 0)


async def test_those_who_wait_enter_in_the_order_in_which_they_came() -> None:
    bulkhead, gate, order = Bulkhead(1, 5), asyncio.Event(), list[int]()
    tasks = [asyncio.create_task(hold(bulkhead, gate, order, number)) for number in range(6)]
    await settle()
    gate.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4, 5]


async def test_whoever_is_cancelled_at_any_moment_leaves_its_place_to_the_others() -> None:
    rng = random.Random(7)
    for _ in range(300):
        bulkhead, most = Bulkhead(2, 10), 0

        async def work(bulkhead: Bulkhead = bulkhead, turns: int = 0) -> None:
            nonlocal most
            async with bulkhead:
                most = max(most, bulkhead.inside)
                await settle(turns)

        tasks = [asyncio.create_task(work(turns=rng.randrange(4))) for _ in range(8)]
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
            rng.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (bulkhead.inside, bulkhead.waiting) == (0, 0)
        assert most <= 2


def test_a_bulkhead_that_admits_nobody_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Bulkhead(0)
