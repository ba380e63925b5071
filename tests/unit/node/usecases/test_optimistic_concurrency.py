"""Writers of one note run one after the other; writers of other notes don't wait."""

import asyncio

import pytest

from services.node_service.usecases.optimistic_concurrency import KeyedLock, OptimisticConcurrency
from shared.errors import Aborted
from tests.support.clock import run_ready
from tests.support.waiting import within


async def test_one_at_a_time_in_order_and_nothing_is_kept() -> None:
    lock = KeyedLock()
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
    assert not lock._locks


async def test_another_note_does_not_wait() -> None:
    lock = KeyedLock()
    async with lock.hold(("u", "a")), within(5), lock.hold(("u", "b")):
        pass


async def test_a_cancelled_waiter_leaves_nothing() -> None:
    lock = KeyedLock()
    async with lock.hold(("u", "n")):
        waiting = asyncio.create_task(lock.hold(("u", "n")).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not lock._locks


async def test_writers_of_one_note_do_not_take_all_places_of_the_process() -> None:
    concurrency, end = OptimisticConcurrency(), asyncio.Event()

    async def attempt() -> str:
        await end.wait()
        return "written"

    writers = [asyncio.create_task(concurrency.run("u", "hot", attempt)) for _ in range(300)]
    await run_ready()
    refused = [writer for writer in writers if writer.done()]
    assert 0 < len(refused) <= 100, "200 writers may wait"
    for writer in refused:
        with pytest.raises(Aborted, match="too many writers of the note hot") as caught:
            await writer
        assert (caught.value.reason, caught.value.retry_after) == ("CONTENTION", 0.2)
    end.set()
    assert await concurrency.run("u", "cool", attempt) == "written"
    assert await asyncio.gather(*(writer for writer in writers if writer not in refused)) == ["written"] * (
        300 - len(refused)
    )
