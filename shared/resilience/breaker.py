"""A circuit breaker: stops the calls to a dependency that fails, and finds out cheaply when it answers again.

Closed, every call passes and its outcome is counted. Open, every call is refused at once. After a cool-down it is half
open: a few calls pass as probes; a success closes it, a failure opens it for twice as long. While probes take longer
than the first cool-down, others pass beside them, because one slow kind of call must not decide for all kinds. No lock
is held during a call. A failure during which this process's own event loop was late is not counted: it says nothing of
the dependency.

Library considered: aiobreaker and purgatory count failures in a row only, and their cool-down is fixed.
"""

import random as _random
from collections.abc import Callable
from types import TracebackType
from typing import Literal

from shared.errors import DeadlineExceeded, Unavailable
from shared.ids import Clock
from shared.resilience.lag import lateness
from shared.resilience.retry import Rng

# A call's failure is not counted if the event loop was late for more than this share of the call's time.
_LATE_SHARE = 0.25

# UNAVAILABLE for one of these reasons is about the data of one user, and the dependency is well.
_OF_ONE_USER = frozenset(("INDEX_BEHIND",))

State = Literal["closed", "open", "half_open"]


def unreachable(error: BaseException) -> bool:
    """Whether an error says that the dependency is down, and not that the request was refused."""
    if isinstance(error, Unavailable):
        return error.reason not in _OF_ONE_USER
    return isinstance(error, DeadlineExceeded | OSError | TimeoutError)


class Permit:
    """The right to make one call, which must be ended: `with breaker.enter() as permit:`.

    The outcome is taken from the exception that leaves the block, unless end() was called before.
    """

    __slots__ = ("_began", "_breaker", "_ended", "_late", "generation")

    def __init__(self, breaker: "Breaker", generation: int) -> None:
        self._breaker = breaker
        self._ended = False
        self.generation = generation
        self._began, self._late = breaker.now()

    def end(self, ok: bool | None) -> None:
        """Count the outcome: None when nothing is known of the dependency. Only the first call counts."""
        if not self._ended:
            self._ended = True
            self._breaker.count(self.generation, None if ok is False and self._was_late() else ok)

    def __enter__(self) -> "Permit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self.end(True if error is None else self._breaker.outcome(error))

    def _was_late(self) -> bool:
        """Whether the loop was late for a good part of the call."""
        now, late = self._breaker.now()
        return now > self._began and late - self._late > _LATE_SHARE * (now - self._began)


class Breaker:
    """`with breaker.enter():` around each call.

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
        lateness: Callable[[], float] = lateness,
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
        self._lateness = lateness
        self._rng = rng
        self._state: State = "closed"
        # Raised at each change of state: the outcome of a call that began under an older one is not counted.
        self._generation = 0
        self._in_a_row = 0
        self._good = self._bad = self._previous_good = self._previous_bad = 0
        self._half_ends = clock.monotonic() + self._half_window
        self._cooldown = cooldown
        self._open_until = 0.0
        # The probes that run, and when the last one began.
        self._probing = 0
        self._probed_at = 0.0

    def another(self) -> "Breaker":
        """A breaker with the same name and configuration, for another part of the same dependency."""
        return Breaker(
            self.name,
            self._clock,
            failures=self._failures,
            ratio=self._ratio,
            window=self._half_window * 2,
            cooldown=self._base_cooldown,
            max_cooldown=self._max_cooldown,
            probes=self._probes,
            is_failure=self._is_failure,
            lateness=self._lateness,
            rng=self._rng,
        )

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

    def now(self) -> tuple[float, float]:
        """Monotonic seconds, and the seconds by which the event loop was late in all."""
        return self._clock.monotonic(), self._lateness()

    def enter(self) -> Permit:
        """The permit to make a call. Unavailable (BREAKER_OPEN, with retry_after in seconds) when none may be made."""
        if self._state == "closed":
            return Permit(self, self._generation)
        if self._state == "open":
            if self._clock.monotonic() < self._open_until:
                raise self._refusal()
            self._change("half_open")
        now = self._clock.monotonic()
        if self._probing >= self._probes and now - self._probed_at < self._base_cooldown:
            raise self._refusal()
        self._probing += 1
        self._probed_at = now
        return Permit(self, self._generation)

    def outcome(self, error: BaseException) -> bool | None:
        """What an error that ended a call says of the dependency: that it fails (False), answers, or nothing (None)."""
        if not isinstance(error, Exception):
            return None  # the call was cancelled, or the process ends
        return not self._is_failure(error)

    def count(self, generation: int, ok: bool | None) -> None:
        """Count the outcome of a call that began in that generation."""
        if generation != self._generation:
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
