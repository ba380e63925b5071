"""A circuit breaker: stop asking what doesn't answer, and find out cheaply when it answers again.

Closed, every call passes and its outcome is counted. Open, every call is refused at once. After a cool-down it is half
open: a few calls pass as probes; a success closes it, a failure opens it for twice as long. No lock is held during a
call: what a call needs to remember is its permit.
"""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, TypeVar

from shared.errors import DeadlineExceeded, Unavailable
from shared.ids import Clock
from shared.resilience.retry import Rng

T = TypeVar("T")
State = Literal["closed", "open", "half_open"]
Permit = int


def unreachable(error: BaseException) -> bool:
    """Whether an error says that the dependency is down, and not that the request was refused."""
    return isinstance(error, Unavailable | DeadlineExceeded | OSError | TimeoutError)


class Breaker:
    """Use as `await breaker.call(fn)`, as `async with breaker:`, or on a hot path as enter() and exit(permit, ok).

    Opens after `failures` failures in a row, or when at least `failures` and `ratio` of the calls of the last `window`
    seconds failed. cooldown and max_cooldown are seconds; a cool-down is stretched by up to a tenth, so that replicas
    don't probe together.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        failures: int = 5,
        ratio: float = 0.5,
        window: float = 10.0,
        cooldown: float = 1.0,
        max_cooldown: float = 5.0,
        probes: int = 1,
        is_failure: Callable[[BaseException], bool] = unreachable,
        rng: Rng = _random,
    ) -> None:
        self.name = name
        self._clock = clock
        self._failures = failures
        self._ratio = ratio
        self._half_window = window / 2
        self._base_cooldown = cooldown
        self._max_cooldown = max_cooldown
        self._probes = probes
        self._is_failure = is_failure
        self._rng = rng
        self._state: State = "closed"
        # Raised at each change of state: a call that began under an older one no longer has a say.
        self._generation = 0
        self._in_a_row = 0
        self._good = self._bad = self._previous_good = self._previous_bad = 0
        self._half_ends = clock.monotonic() + self._half_window
        self._cooldown = cooldown
        self._open_until = 0.0
        self._probing = 0
        self._held: dict[asyncio.Task[object] | None, list[Permit]] = {}
        self._listeners: list[Callable[[str, State], None]] = []

    @property
    def state(self) -> State:
        """As the next call would find it."""
        if self._state == "open" and self._clock.monotonic() >= self._open_until:
            return "half_open"
        return self._state

    @property
    def retry_after(self) -> float:
        """Seconds until a call may pass; 0 when one may pass now."""
        return max(0.0, self._open_until - self._clock.monotonic()) if self._state == "open" else 0.0

    def on_change(self, listener: Callable[[str, State], None]) -> None:
        """Call listener(name, new state) at each change."""
        self._listeners.append(listener)

    def enter(self) -> Permit:
        """Ask to make a call: Unavailable (reason BREAKER_OPEN, with retry_after) or a permit, which exit() must
        get."""
        if self._state == "closed":
            return self._generation
        if self._state == "open":
            if self._clock.monotonic() < self._open_until:
                raise self._refusal()
            self._change("half_open")
        if self._probing >= self._probes:
            raise self._refusal()
        self._probing += 1
        return self._generation

    def exit(self, permit: Permit, ok: bool | None) -> None:
        """Say how the call ended; None when that says nothing (it was cancelled)."""
        if permit != self._generation:
            return
        if self._state == "half_open":
            self._probing -= 1
            if ok:
                self._cooldown = self._base_cooldown
                self._change("closed")
            elif ok is False:
                self._cooldown = min(self._max_cooldown, self._cooldown * 2)
                self._trip()
            return
        if ok:
            self._in_a_row = 0
            self._good += 1
        elif ok is False:
            self._count_failure()

    async def call(self, fn: Callable[[], Awaitable[T]]) -> T:
        """Await fn() if calls may pass, and count how it ended."""
        permit = self.enter()
        try:
            result = await fn()
        except BaseException as error:
            self.exit(permit, self._verdict(error))
            raise
        self.exit(permit, True)
        return result

    async def __aenter__(self) -> "Breaker":
        permit = self.enter()
        self._held.setdefault(asyncio.current_task(), []).append(permit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        permits = self._held[task]
        permit = permits.pop()
        if not permits:
            del self._held[task]
        self.exit(permit, True if error is None else self._verdict(error))

    def _verdict(self, error: BaseException) -> bool | None:
        if not isinstance(error, Exception):
            return None  # cancelled, or the process is ending: nothing is known of the dependency
        return not self._is_failure(error)

    def _refusal(self) -> Unavailable:
        return Unavailable(
            f"{self.name} isn't answering", reason="BREAKER_OPEN", retry_after=max(self.retry_after, 0.001)
        )

    def _count_failure(self) -> None:
        now = self._clock.monotonic()
        # The window moves by halves: two pairs of counters stand for a list of outcomes.
        if now >= self._half_ends:
            stale = now >= self._half_ends + self._half_window
            self._previous_good, self._previous_bad = (0, 0) if stale else (self._good, self._bad)
            self._good = self._bad = 0
            self._half_ends = now + self._half_window
        self._in_a_row += 1
        self._bad += 1
        bad = self._bad + self._previous_bad
        total = bad + self._good + self._previous_good
        if self._in_a_row >= self._failures or (bad >= self._failures and bad >= self._ratio * total):
            self._trip()

    def _trip(self) -> None:
        self._open_until = self._clock.monotonic() + self._cooldown * (1 + self._rng.random() / 10)
        self._change("open")

    def _change(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._probing = 0
        self._in_a_row = 0
        self._good = self._bad = self._previous_good = self._previous_bad = 0
        for listener in self._listeners:
            listener(self.name, state)
