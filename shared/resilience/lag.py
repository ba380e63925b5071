"""How late the event loop is: a call that gets no answer in time says nothing of its dependency when the loop itself
had no time to read the answer.

A timer of each loop notes by how much it is called too late.
"""

import asyncio

from shared.resilience.loops import PerLoop

_PERIOD = 0.05
# Timers are always a little late.
_TOLERATED = 0.01


class _Timer:
    """Adds up by how many seconds the loop was late."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.late = 0.0
        self._due = loop.time() + _PERIOD
        loop.call_at(self._due, self._called)

    def _called(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._due > _TOLERATED:
            self.late += now - self._due
        self._due = now + _PERIOD
        loop.call_at(self._due, self._called)


_timer = PerLoop(_Timer)


def lateness() -> float:
    """By how many seconds the running loop was late in all, since this was first asked; 0 outside a loop."""
    try:
        return _timer().late
    except RuntimeError:
        return 0.0
