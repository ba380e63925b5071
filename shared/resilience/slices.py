"""Work on many values without holding the event loop: other tasks run between two slices of it."""

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

V = TypeVar("V")
R = TypeVar("R")

# The loop is held for about this long at most, unless a single value takes longer.
_SECONDS = 0.003


class Slices:
    """For work that is more than one function: await pause() after each part of it."""

    def __init__(self) -> None:
        self._ends = perf_counter() + _SECONDS

    async def pause(self) -> None:
        """Let other tasks run when the loop has been held for long enough."""
        if perf_counter() >= self._ends:
            await asyncio.sleep(0)
            self._ends = perf_counter() + _SECONDS


async def in_slices(work: Callable[[V], R], values: Iterable[V]) -> list[R]:
    """[work(value) for value in values]. Raises what work() raises."""
    found = []
    slices = Slices()
    for value in values:
        found.append(work(value))
        await slices.pause()
    return found
