"""Callers first: work that nobody waits for begins its next step between the calls that a process serves.

A step is what runs until the next turn(), for example the handling of one event or the relinking of one note. Steps
begin one after the other, with at least one pass of the event loop in between, so a call that arrives meanwhile waits
for one step at most and not for all that are ready. Background work is slowed by this and never stopped.

Threads with a lower priority were considered: one that holds the interpreter and gets no core would keep the event loop
waiting for both.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

# How long a step waits for running calls at most.
_MOST_SECONDS = 0.01
_POLL_SECONDS = 0.002


class _Turns:
    """Of one event loop."""

    def __init__(self) -> None:
        self.calls: set[Callable[[], int]] = set()
        # Of the running calls: those that stand back.
        self.back = 0
        self.lock = asyncio.Lock()


_turns: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns]" = WeakKeyDictionary()


def _of_loop() -> _Turns:
    loop = asyncio.get_running_loop()
    found = _turns.get(loop)
    if found is None:
        found = _turns[loop] = _Turns()
    return found


def watch(calls: Callable[[], int]) -> Callable[[], None]:
    """Let background work on the running loop wait for these calls.

    calls: how many of them run now. Returns the function that ends it.
    """
    turns = _of_loop()
    turns.calls.add(calls)
    return lambda: turns.calls.discard(calls)


@contextmanager
def stand_back() -> Iterator[None]:
    """No step of background work waits for the running call inside this block: the call itself waits for such steps."""
    turns = _of_loop()
    turns.back += 1
    try:
        yield
    finally:
        turns.back -= 1


async def turn() -> None:
    """Wait until the next step of background work may begin: for running calls, but not for longer than 10 ms."""
    turns = _of_loop()
    async with turns.lock:
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        ends = loop.time() + _MOST_SECONDS
        # Calls set no event when they end, because that would cost each of them.
        while sum(calls() for calls in turns.calls) > turns.back and loop.time() < ends:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
