"""Waiting for a condition: the one place where tests poll what can't call them back (files, other processes).

How long a test waits is written for a quiet machine, and multiplied by PATIENCE here: a machine that is busy with other
work only makes it wait longer, and what never happens fails later.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

from deploy.local.demo import measure

T = TypeVar("T")

# A machine with 16 busy loops beside the tests on two cores is about nine times as slow. tests/conftest.py multiplies
# the limit of each test by it, too.
PATIENCE = 10
_SPIN_SECONDS = 0.02


@overload
async def until(look: Callable[[], Awaitable[T]], *, seconds: float = 30.0, what: str = "it") -> T: ...
@overload
async def until(look: Callable[[], T], *, seconds: float = 30.0, what: str = "it") -> T: ...
async def until(look: Callable[[], T | Awaitable[T]], *, seconds: float = 30.0, what: str = "it") -> T:
    """The first true value that look() gives, asked again and again.

    seconds: on a quiet machine. An AssertionError after PATIENCE times as long.
    """
    try:
        async with within(seconds):
            while True:
                found = look()
                value: T = await found if isinstance(found, Awaitable) else found
                if value:
                    return value
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {seconds * PATIENCE:g} s") from None


def within(seconds: float) -> asyncio.Timeout:
    """`async with within(5):` raises TimeoutError when the block takes longer than PATIENCE times `seconds`."""
    return asyncio.timeout(seconds * PATIENCE)


async def until_stable(look: Callable[[], Awaitable[T]], *, quiet: float, seconds: float = 60.0) -> T:
    """What look() gave last, when it has not changed for `quiet` seconds, or for longer on a busy machine."""
    return await measure.until_stable(look, quiet=quiet * slowness(), seconds=seconds * PATIENCE)


def slowness() -> float:
    """How many times as long as on a quiet machine a piece of work takes now, because others use the cores; >= 1."""
    began, used = time.perf_counter(), time.thread_time()
    while time.thread_time() - used < _SPIN_SECONDS:
        pass
    return max(1.0, (time.perf_counter() - began) / _SPIN_SECONDS)
