"""A semaphore for each key: one after the other, other keys don't wait, and nothing is left of it."""

import asyncio

import pytest

from shared.resilience.keyed import KeyedSemaphore
from tests.support.waiting import within


async def test_one_at_a_time_in_order_and_nothing_is_kept() -> None:
    lock: KeyedSemaphore[tuple[str, str]] = KeyedSemaphore()
    running: list[int] = []
    order: list[int] = []

    async def work(number: int) -> None:
        async with lock.hold(("u", "n")):
            running.append(number)
            assert running == [number]
            await asyncio.sleep(0)
            running.remove(number)
            order.append(number)

    await asyncio.gather(*(work(number) for number in range(10)))
    assert order == list(range(10))
    assert len(lock) == 0


async def test_another_note_does_not_wait() -> None:
    lock: KeyedSemaphore[tuple[str, str]] = KeyedSemaphore()
    async with lock.hold(("u", "a")), within(5), lock.hold(("u", "b")):
        pass


async def test_a_cancelled_waiter_leaves_nothing() -> None:
    lock: KeyedSemaphore[tuple[str, str]] = KeyedSemaphore()
    async with lock.hold(("u", "n")):
        waiting = asyncio.create_task(lock.hold(("u", "n")).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert len(lock) == 0
