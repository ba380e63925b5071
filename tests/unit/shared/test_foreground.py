"""Steps of background work begin between calls."""

import asyncio

import pytest

from shared.resilience import foreground
from shared.resilience.slices import in_slices
from tests.support.waiting import within


@pytest.fixture
def for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step waits for calls as long as they run."""
    monkeypatch.setattr(foreground, "_MOST_SECONDS", 1e6)


async def test_a_step_waits_for_the_calls_that_run(for_ever: None) -> None:
    running = 1
    end = foreground.watch(lambda: running)
    try:
        step = asyncio.create_task(foreground.turn())
        done, _ = await asyncio.wait([step], timeout=0.05)
        assert not done
        running = 0
        async with within(5):
            await step
    finally:
        end()


async def test_calls_that_never_end_slow_background_work_and_do_not_stop_it() -> None:
    end = foreground.watch(lambda: 1)
    try:
        async with within(5):
            for _ in range(3):
                await foreground.turn()
    finally:
        end()


async def test_calls_that_are_no_longer_watched_are_not_waited_for(for_ever: None) -> None:
    foreground.watch(lambda: 1)()
    async with within(5):
        await foreground.turn()


async def test_a_call_that_stands_back_is_not_waited_for(for_ever: None) -> None:
    running = 1
    end = foreground.watch(lambda: running)
    try:
        async with within(5):
            with foreground.stand_back():
                await foreground.turn()
        with foreground.stand_back():
            running = 2
            step = asyncio.create_task(foreground.turn())
            done, _ = await asyncio.wait([step], timeout=0.05)
            assert not done, "the other call is waited for"
        running = 0
        async with within(5):
            await step
    finally:
        end()


@pytest.mark.parametrize("calls_come", [True, False])
async def test_while_calls_come_the_loop_is_left_alone_for_as_long_as_a_step_has_held_it(
    monkeypatch: pytest.MonkeyPatch, calls_come: bool
) -> None:
    now = 1e9
    monkeypatch.setattr(foreground, "monotonic", lambda: now)
    monkeypatch.setattr(foreground, "_LONGEST_REST_SECONDS", 1e9)
    end = foreground.watch(lambda: 0, lambda: now if calls_come else 0.0)
    try:
        await foreground.turn()
        now += 1e6  # the step holds the loop for so many seconds
        await asyncio.sleep(0)
        step = asyncio.create_task(foreground.turn())
        _, waiting = await asyncio.wait([step], timeout=0.05)
        assert bool(waiting) is calls_come
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
    finally:
        end()


async def test_other_tasks_run_between_two_steps() -> None:
    order: list[str] = []

    async def steps(name: str) -> None:
        await foreground.turn()
        order.append(name)

    async def call() -> None:
        for _ in range(4):
            order.append("call")
            await asyncio.sleep(0)

    await asyncio.gather(*(steps(f"step {n}") for n in range(3)), call())
    first, last = order.index("step 0"), order.index("step 2")
    assert "call" in order[first:last]


async def test_slices_of_a_call_that_stands_back_wait_for_the_other_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "_GAP_SECONDS", 1e6)
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.0)
    running = 2
    end = foreground.watch(lambda: running)
    done: list[int] = []

    async def batch() -> None:
        with foreground.stand_back():
            await asyncio.create_task(in_slices(done.append, range(3)))  # also in a task of its own

    try:
        working = asyncio.create_task(batch())
        finished, _ = await asyncio.wait([working], timeout=0.05)
        assert not finished
        assert done == [0], "it waits after the first slice"
        await in_slices(done.append, range(10, 13))
        assert done == [0, 10, 11, 12], "other calls wait for none"
        running = 1
        async with within(5):
            await working
        assert done[4:] == [1, 2]
        assert not foreground.stands_back()
    finally:
        end()


async def test_calls_that_never_end_slow_a_call_that_stands_back_and_do_not_stop_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.0)
    end = foreground.watch(lambda: 2)
    try:
        async with within(5):
            with foreground.stand_back():
                await in_slices(str, range(3))
    finally:
        end()
