"""The bulkhead: a user's work leaves places for other users, and nothing is left of it when it has ended."""

import asyncio

import pytest

from shared.resilience.bulkhead import Bulkhead
from tests.support.clock import run_ready


class Work:
    """Holds places until `end` is set, and counts them."""

    def __init__(self, bulkhead: Bulkhead) -> None:
        self.bulkhead = bulkhead
        self.end = asyncio.Event()
        self.running: dict[str, int] = {}

    async def __call__(self, user_id: str) -> None:
        async with self.bulkhead.place(user_id):
            self.running[user_id] = self.running.get(user_id, 0) + 1
            try:
                await self.end.wait()
            finally:
                self.running[user_id] -= 1


async def test_one_user_leaves_places_for_the_others() -> None:
    work = Work(Bulkhead(4, 3))
    tasks = [asyncio.create_task(work("hot")) for _ in range(200)]
    await run_ready()
    tasks += [asyncio.create_task(work("cool")) for _ in range(2)]
    await run_ready()
    assert work.running == {"hot": 3, "cool": 1}
    work.end.set()
    await asyncio.gather(*tasks)
    assert work.running == {"hot": 0, "cool": 0}
    assert len(work.bulkhead) == 0


async def test_who_goes_away_gives_its_place_or_its_turn_back() -> None:
    work = Work(Bulkhead(2, 1))
    holds, waits = asyncio.create_task(work("u")), asyncio.create_task(work("u"))
    await run_ready()
    last = asyncio.create_task(work("u"))
    for each in (waits, holds):
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each
    await run_ready()
    assert work.running == {"u": 1}, "the last one has the place now"
    work.end.set()
    await last
    assert len(work.bulkhead) == 0
