"""Workers: a bounded number of sagas at once, none twice, and an end."""

import asyncio

import pytest

from services.cleanup_service.usecases.workers import Workers
from shared.errors import Unavailable
from shared.resilience.background import cancel_all
from tests.support.waiting import within


async def test_workers_run_a_bounded_number_and_none_twice() -> None:
    running: set[str] = set()
    most = 0
    ran: list[str] = []
    gate = asyncio.Event()

    async def run(user_id: str, node_id: str) -> None:
        nonlocal most
        assert node_id not in running
        running.add(node_id)
        most = max(most, len(running))
        await gate.wait()
        running.discard(node_id)
        ran.append(node_id)
        if node_id == "n1":
            raise Unavailable("the store is down: not a reason to stop")

    workers = Workers(run, 2)
    task = asyncio.ensure_future(workers.work())
    assert [workers.offer("u", f"n{number}") for number in range(4)] == [True, True, False, False]
    assert workers.offer("u", "n1")  # waits already
    submits = [asyncio.ensure_future(workers.submit("u", f"n{number}")) for number in range(2, 6)]
    while most < 2:
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*submits)
    while len(ran) < 6:
        await asyncio.sleep(0)
    assert sorted(ran) == [f"n{number}" for number in range(6)]
    assert most == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("steps", range(10))
async def test_workers_end_also_when_a_cancellation_meets_a_failure(steps: int) -> None:
    """gather() raises the error of a child in place of a cancellation that comes at the same moment."""

    async def refuse() -> None:
        raise Unavailable("the peer is down")

    async def run(user_id: str, node_id: str) -> None:
        await asyncio.gather(refuse(), asyncio.sleep(3600))

    workers = Workers(run, 1)
    task = asyncio.ensure_future(workers.work())
    workers.offer("u", "n")
    for _ in range(steps):
        await asyncio.sleep(0)
    async with within(60):
        await cancel_all([task], again=0.01)
    assert task.cancelled()
