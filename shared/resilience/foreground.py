"""Callers first: work that nobody waits for begins its next step between the calls that a process serves.

A step is what runs until the next turn(), for example the handling of one event, the relinking of one note or one call
to a queue. Steps begin one after the other, with at least one pass of the event loop in between, so a call that arrives
meanwhile waits for one step at most and not for all that are ready. While calls come, steps are also paced by how long
they hold the loop. Background work is slowed by this and never stopped; without calls it is not slowed.

Threads with a lower priority were considered: one that holds the interpreter and gets no core would keep the event loop
waiting for both.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

from shared.resilience.loops import PerLoop

# How long a step waits for running calls at most.
_MOST_SECONDS = 0.01
_POLL_SECONDS = 0.002
# Calls come while one has begun within this time.
_LATELY_SECONDS = 0.25
# While calls come, the loop is left alone after each step for as long as the step has held it, within these bounds.
_REST_SECONDS = 0.002
_LONGEST_REST_SECONDS = 0.02
# How long a slice of a call that stands back waits for the others at most, and how often it looks.
_GAP_SECONDS = 0.003
_GAP_POLL_SECONDS = 0.001
# An answer is sent within this time.
_ANSWER_SECONDS = 0.002


class _Turns:
    """Of one event loop."""

    def __init__(self) -> None:
        # How many calls run, and when the latest one began.
        self.calls: set[tuple[Callable[[], int], Callable[[], float]]] = set()
        # Of the running calls: those that stand back.
        self.back = 0
        self.lock = asyncio.Lock()
        self._began = 0.0
        # When the next step may begin, while calls come.
        self._next = 0.0

    def running(self) -> bool:
        """Whether calls run that a step waits for."""
        return sum(count() for count, _ in self.calls) > self.back

    def rest(self) -> float:
        """Seconds until the next step may begin."""
        now = monotonic()
        lately = any(now - latest() < _LATELY_SECONDS for _, latest in self.calls)
        return max(self._next - now, 0.0) if lately else 0.0

    async def quiet(self, seconds: float, poll: float) -> None:
        """Wait until no such calls run, for so long at most. poll: how often to look, in seconds."""
        ends = monotonic() + seconds
        # Calls set no event when they end, because that would cost each of them.
        while self.running() and monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(poll)

    def begin(self) -> None:
        """A step begins. What else the loop does in the same pass counts as a part of it."""
        self._began = monotonic()
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        now = monotonic()
        # A step that was itself delayed by other processes must not delay the next one as much again.
        self._next = now + min(max(now - self._began, _REST_SECONDS), _LONGEST_REST_SECONDS)


_of_loop = PerLoop(_Turns)


def watch(calls: Callable[[], int], latest: Callable[[], float] = lambda: 0.0) -> Callable[[], None]:
    """Let background work on the running loop stand back behind calls.

    calls: how many of them run now.
    latest: when the latest one began, in seconds of the monotonic clock.

    Returns the function that ends it.
    """
    turns, watched = _of_loop(), (calls, latest)
    turns.calls.add(watched)
    return lambda: turns.calls.discard(watched)


_stands_back: ContextVar[bool] = ContextVar("stands_back", default=False)


@contextmanager
def stand_back() -> Iterator[None]:
    """Let the running call be background work inside this block: because it waits for such work, or does much itself.

    No step of background work waits for it, and its slices (slices.py) wait for other calls.
    """
    turns = _of_loop()
    turns.back += 1
    token = _stands_back.set(True)
    try:
        yield
    finally:
        _stands_back.reset(token)
        turns.back -= 1


def stands_back() -> bool:
    """Whether the running task belongs to a call that stands back."""
    return _stands_back.get()


async def gap() -> None:
    """Let other tasks run, and wait until the running calls have ended, for 3 ms at most."""
    await asyncio.sleep(0)
    await _of_loop().quiet(_GAP_SECONDS, _GAP_POLL_SECONDS)


async def turn() -> None:
    """Wait until the next step of background work may begin.

    It waits for running calls, but not for longer than 10 ms. While calls come, it also leaves the loop alone for as
    long as the last step has held it (2 to 20 ms), so that background work takes about half of the loop's time at most.
    """
    turns = _of_loop()
    async with turns.lock:
        await asyncio.sleep(0)
        if rest := turns.rest():
            await asyncio.sleep(rest)
        await turns.quiet(_MOST_SECONDS, _POLL_SECONDS)
        turns.begin()


async def answer_first() -> None:
    """Wait until an answer that is ready now has been sent: for the work that a call leaves behind it.

    Work that begins at once takes the loop, and the cores of what it calls, from the answer.
    """
    await asyncio.sleep(_ANSWER_SECONDS)
