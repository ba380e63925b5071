"""Long work on a text runs in a thread, and ends when nobody waits for it any more."""

import asyncio
import threading

import pytest

from services.similarity_service.model.analysis import Analyser
from services.similarity_service.model.checkpoint import checkpoint
from services.similarity_service.usecases import text_worker


async def test_work_on_a_long_text_leaves_the_loop() -> None:
    def thread() -> int:
        return threading.get_ident()

    assert await text_worker.run_if_long(text_worker.LONG_TEXT, thread) == threading.get_ident()
    assert await text_worker.run_if_long(text_worker.LONG_TEXT + 1, thread) != threading.get_ident()


async def test_an_error_of_the_work_is_raised() -> None:
    def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await text_worker.run(work)


async def test_cancelling_ends_the_work_at_its_next_checkpoint_and_waits_for_that() -> None:
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        try:
            while True:
                checkpoint()
        finally:
            ended.set()

    task = asyncio.create_task(text_worker.run(work))
    while not began.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_analysis_has_checkpoints() -> None:
    words = " ".join(f"w{number}" for number in range(1000))
    analyser = Analyser("english")

    def endless() -> None:
        while True:
            analyser.pairs(words)

    def endless_spans() -> None:
        while True:
            list(analyser.spans(words))

    for work in (endless, endless_spans):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await text_worker.run(work)
