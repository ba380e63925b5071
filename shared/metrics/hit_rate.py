"""The share of lookups that a cache answered lately, from counters that only grow."""

from collections import deque
from collections.abc import Callable

# (hits, misses) since the process began.
Counts = tuple[int, int]
_WINDOW_SECONDS = 300.0


class HitRate:
    """now: seconds of a monotonic clock. window: seconds that the share is about; it is read at any interval."""

    def __init__(self, read: Callable[[], Counts], now: Callable[[], float], window: float = _WINDOW_SECONDS) -> None:
        self._read = read
        self._now = now
        self._window = window
        self._past: deque[tuple[float, Counts]] = deque([(now(), (0, 0))])

    def __call__(self) -> float | None:
        """The share of hits, 0 to 1, since the last reading that is at least `window` old; None without lookups."""
        now, current = self._now(), self._read()
        while len(self._past) > 1 and self._past[1][0] <= now - self._window:
            self._past.popleft()
        before = self._past[0][1]
        # Two exporters may read in the same second: one entry a second is enough.
        if now - self._past[-1][0] >= 1.0:
            self._past.append((now, current))
        hits, misses = current[0] - before[0], current[1] - before[1]
        return hits / (hits + misses) if hits + misses else None
