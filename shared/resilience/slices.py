"""Work on many values without holding the event loop: other tasks run between two slices of it."""

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

V = TypeVar("V")
R = TypeVar("R")

# The loop is held for about this long at most, unless a single value takes longer.
_SECONDS = 0.003


async def in_slices(work: Callable[[V], R], values: Iterable[V]) -> list[R]:
    """[work(value) for value in values]. Raises what work() raises."""
    found = []
    ends = perf_counter() + _SECONDS
    for value in values:
        found.append(work(value))
        if perf_counter() >= ends:
            await asyncio.sleep(0)
            ends = perf_counter() + _SECONDS
    return found
