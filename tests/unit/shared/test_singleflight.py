"""Single flight: one piece of work for all who ask at once, and what cancelling does to it."""

import asyncio

import pytest

from shared.errors import DeadlineExceeded, NotFound
from shared.resilience.singleflight import SingleFlight
from tests.support.clock import run_ready


class Work:
    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return run


async def test_all_who_ask_at_once_share_one_run() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    asking = [asyncio.create_task(flights.do("k", work)) for _ in range(50)]
    await run_ready()
    work.gate.set()
    assert await asyncio.gather(*asking) == [1] * 50
    assert (work.runs, len(flights)) == (1, 0)


async def test_keys_do_not_wait_for_each_other_and_a_later_call_runs_anew() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    work.gate.set()
    assert tuple(await asyncio.gather(flights.do("a", work), flights.do("b", work))) == (1, 2)
    assert await flights.do("a", work) == 3


async def test_all_share_the_error() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    work.error = NotFound("gone")
    work.gate.set()
    results = await asyncio.gather(*(flights.do("k", work) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [NotFound] * 3
    assert work.runs == 1


async def test_a_caller_that_leaves_does_not_take_the_work_from_the_others() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    first, second = (asyncio.create_task(flights.do("k", work)) for _ in range(2))
    await run_ready()
    first.cancel()
    await run_ready()
    work.gate.set()
    assert await second == 1
    assert work.cancelled == 0


async def test_when_the_last_has_left_the_work_stops_and_a_newcomer_starts_anew() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    only = asyncio.create_task(flights.do("k", work))
    await run_ready()
    only.cancel()
    await run_ready()
    assert (work.cancelled, len(flights)) == (1, 0)
    work.gate.set()
    assert await flights.do("k", work) == 2


async def test_the_first_callers_deadline_does_not_fail_the_others() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    work.error = DeadlineExceeded("the first one's time is up")
    first, second, third = (asyncio.create_task(flights.do("k", work)) for _ in range(3))
    await run_ready()
    work.gate.set()
    work.gate = asyncio.Event()
    await run_ready()
    work.error = None
    work.gate.set()
    results = await asyncio.gather(first, second, third, return_exceptions=True)
    assert isinstance(results[0], DeadlineExceeded)
    assert tuple(results[1:]) == (2, 2)


async def test_forget_keeps_later_callers_from_joining_an_older_read() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    before = asyncio.create_task(flights.do("k", work))
    await run_ready()
    flights.forget("k")
    after = asyncio.create_task(flights.do("k", work))
    await run_ready()
    work.gate.set()
    assert (await before, await after) == (1, 2)


async def test_cancelling_all_while_another_joins_leaves_no_flight_behind() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    for _ in range(20):
        tasks = [asyncio.create_task(flights.do("k", work)) for _ in range(3)]
        await run_ready(3)
        for task in tasks:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
    await run_ready()
    assert len(flights) == 0
