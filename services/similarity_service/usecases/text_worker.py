"""Long work on a text runs in a thread of its own kind, where it doesn't hold the event loop and a deadline ends it.

Python hands the interpreter from thread to thread every _SWITCH_SECONDS, so the event loop waits for a worker about
that long. A process pool was considered: it needs the memory of a second interpreter, and a copy of each result.
"""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.similarity_service.model import checkpoint

T = TypeVar("T")

# A text of more characters than this is long: to analyse it would hold the event loop for milliseconds.
LONG_TEXT = 4_000
# The default, 5 ms, adds up: each thread may have a turn before the event loop has its own.
_SWITCH_SECONDS = 0.001
# More would only share the same interpreter.
_THREADS = 2
_pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="long-text")


async def run(work: Callable[[], T]) -> T:
    """The result of work() in a thread. When the caller is cancelled, the work ends at its next checkpoint.

    It returns only when the thread has ended, so that a lock which the caller holds covers the work.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    stop = threading.Event()
    context = contextvars.copy_context()
    context.run(checkpoint.stop.set, stop)
    submitted = _pool.submit(context.run, work)
    future = asyncio.wrap_future(submitted)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        if submitted.cancel():
            raise  # it had not begun
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue  # cancelled once more: the work is ending already
        future.exception()  # Stopped, which nobody else reads
        raise


async def run_if_long(characters: int, work: Callable[[], T]) -> T:
    """The result of work() on a text of so many characters: in a thread when that is long."""
    return await run(work) if characters > LONG_TEXT else work()
