"""Slices of long work: other tasks run in between, and the results are those of the whole."""

import asyncio
from time import perf_counter

import pytest

from shared.resilience.slices import in_slices, time_left
from tests.support.turns import turns_during


def busy(value: int) -> int:
    ends = perf_counter() + 0.002
    while perf_counter() < ends:
        pass
    return value * 2


async def test_other_tasks_run_between_two_slices() -> None:
    working = asyncio.ensure_future(in_slices(busy, range(20)))
    assert await turns_during(working) >= 5
    assert working.result() == list(range(0, 40, 2))


async def test_little_work_is_one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 1_000.0)
    turns: list[int] = []
    other = asyncio.create_task(asyncio.sleep(0))
    await in_slices(turns.append, range(3))
    assert turns == [0, 1, 2]
    assert not other.done()
    await other


async def test_short_parts_that_follow_each_other_share_the_time_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.003)

    async def parts() -> None:
        for _ in range(10):
            await in_slices(busy, [0])  # 2 ms: too short for a pause of its own

    assert await turns_during(asyncio.ensure_future(parts())) >= 4


async def test_tasks_share_the_time_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.003)
    done: list[int] = []
    tasks = [asyncio.create_task(in_slices(lambda value: done.append(busy(value)), range(2))) for _ in range(5)]
    await asyncio.sleep(0)
    assert 5 <= len(done) <= 6, "only the first task has time for a second value"
    await asyncio.gather(*tasks)
    assert len(done) == 10


@pytest.mark.parametrize(("seconds", "at_once"), [(0.003, 2), (0.0, 1), (1_000.0, 5)])
async def test_parts_that_are_ready_at_once_share_the_time(
    seconds: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", seconds)
    done: list[int] = []

    async def part(number: int) -> None:
        await time_left()
        done.append(busy(number))

    tasks = [asyncio.create_task(part(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert len(done) <= at_once
    await asyncio.gather(*tasks)
    assert done == [0, 2, 4, 6, 8], "each in its turn"


async def test_an_error_ends_the_work() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_slices(lambda value: 1 // value, [1, 0])
