"""Cancelling tasks: they end, also when a cancellation gets lost."""

import asyncio

from shared.resilience.background import cancel_all
from tests.support.waiting import within


async def test_a_task_that_loses_cancellations_is_cancelled_again() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    async with within(60):
        await cancel_all([task], again=0.01)
    assert task.cancelled()
    assert lost == 3


async def test_whoever_waits_can_be_cancelled() -> None:
    entered = asyncio.Event()

    async def stubborn() -> None:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                entered.set()

    done = asyncio.Event()
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(cancel_all([task], again=3600))
    await entered.wait()
    waiting.cancel()
    async with within(60):
        await asyncio.wait([waiting])
    assert waiting.cancelled()
    done.set()
    await task


async def test_tasks_that_have_ended_or_fail_are_no_errors() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("boom")

    ended, failing = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fail())
    await ended
    await asyncio.sleep(0)
    await cancel_all([ended, failing])
    await cancel_all([])
    assert failing.done()
