"""Writers of one note take turns; writers of others don't wait."""

import asyncio

import pytest

from services.node_service.usecases.turns import Turns


async def test_one_at_a_time_in_order_and_nothing_is_kept() -> None:
    turns = Turns()
    running: list[int] = []
    order: list[int] = []

    async def work(number: int) -> None:
        async with turns.of(("u", "n")):
            running.append(number)
            assert running == [number]
            await asyncio.sleep(0)
            running.remove(number)
            order.append(number)

    await asyncio.gather(*(work(number) for number in range(10)))
    assert order == list(range(10))
    assert not turns._locks


async def test_another_note_does_not_wait() -> None:
    turns = Turns()
    async with turns.of(("u", "a")), asyncio.timeout(5), turns.of(("u", "b")):
        pass


async def test_who_gives_up_waiting_frees_the_place() -> None:
    turns = Turns()
    async with turns.of(("u", "n")):
        waiting = asyncio.create_task(turns.of(("u", "n")).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not turns._locks
