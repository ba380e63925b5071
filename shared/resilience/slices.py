"""Work on many values without holding the event loop: other tasks run between two slices of it.

All such work shares the time of one pass of the loop, whichever tasks and functions it is in. Parts that are each too
short for a pause would otherwise follow each other in one pass, and an incoming call would wait for all of them.
"""

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

from shared.resilience import foreground
from shared.resilience.loops import PerLoop

V = TypeVar("V")
R = TypeVar("R")

# The loop is held for about this long in one pass at most, unless a single value takes longer. A call takes three
# passes or more (its arrival, an answer of a store, its own answer) and may wait for a slice in each of them.
_SECONDS = 0.001


class _Pass:
    """The current pass of one event loop."""

    def __init__(self) -> None:
        self._ends: float | None = None

    def begin(self) -> bool:
        """Measure the time from now on. False: it is measured in this pass already."""
        if self._ends is not None:
            return False
        self._ends = perf_counter() + _SECONDS
        asyncio.get_running_loop().call_soon(self._end)
        return True

    def is_over(self) -> bool:
        """Whether its time is used up."""
        return self._ends is not None and perf_counter() >= self._ends

    def _end(self) -> None:
        self._ends = None


_current = PerLoop(_Pass)


class Slices:
    """For work that is more than one function: await pause() after each part of it."""

    def __init__(self) -> None:
        self._pass = _current()
        self._pass.begin()

    async def pause(self) -> None:
        """Let other tasks run when the loop has been held for long enough."""
        if self._pass.is_over():
            await (foreground.gap() if foreground.stands_back() else asyncio.sleep(0))
        self._pass.begin()


async def time_left() -> None:
    """Wait for a pass with time left: for a part of work that many tasks are ready to do at the same moment."""
    current = _current()
    # An event would wake all of them in the same pass again.
    while not current.begin() and current.is_over():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def in_slices(work: Callable[[V], R], values: Iterable[V]) -> list[R]:
    """[work(value) for value in values]. Raises what work() raises."""
    found = []
    slices = Slices()
    for value in values:
        found.append(work(value))
        await slices.pause()
    return found
