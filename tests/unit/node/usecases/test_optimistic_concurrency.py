"""Writers of one note run one after the other; writers of other notes don't wait."""

import asyncio

import pytest

from services.node_service.usecases.optimistic_concurrency import OptimisticConcurrency
from shared.errors import Aborted
from tests.support.clock import run_ready


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
