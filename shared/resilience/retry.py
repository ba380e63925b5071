"""Calls that failed are made again: with full jitter, so that callers that failed together don't come back together,
and within a budget, so that retries never multiply the load on a dependency that is already down.

Sources: "Exponential Backoff And Jitter" (AWS architecture blog) for the jitter; Finagle's RetryBudget for the budget.

Library considered: tenacity and stamina have neither a budget nor the caller's deadline, and they build a state object
for each call, also for one that succeeds at once.
"""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from shared.errors import Brain2Error, DeadlineExceeded, ResourceExhausted, Unavailable
from shared.ids import Clock, SystemClock

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class Rng(Protocol):
    """A source of uniform numbers: the random module, random.Random."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds: the n-th (from 0) is uniform in [0, min(cap, base * 2**n)]."""

    base: float = 0.025
    cap: float = 2.0

    def delay(self, attempt: int, rng: Rng = _random, at_least: float | None = None) -> float:
        """The wait before the retry that follows `attempt` (0 = the first try), never less than `at_least`.

        at_least is what the other side asked for (retry_after): the jitter is then added to it.
        """
        # The exponent is bounded before the power: a poller's attempt number may run into the thousands.
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt, 32))
        return (at_least or 0.0) + rng.random() * ceiling


_BACKOFF = Backoff()


class RetryBudget:
    """Retries may be `ratio` of the calls, plus `reserve` a second so that a quiet client can retry at all."""

    def __init__(self, *, ratio: float = 0.2, reserve: float = 1.0, burst: float = 10.0, clock: Clock | None = None):
        self._ratio = ratio
        self._reserve = reserve
        self._burst = burst
        self._clock = clock or SystemClock()
        self._tokens = burst
        self._at = self._clock.monotonic()

    def deposit(self) -> None:
        """Count one call (not a retry)."""
        self._tokens = min(self._burst, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Take the right to one retry; False when the budget is used up."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._reserve)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


async def retry(
    fn: Callable[[], Awaitable[T]],
    *,
    attempts: int | None = 3,
    on: tuple[type[BaseException], ...] = (Unavailable, ResourceExhausted),
    when: Callable[[BaseException, int], bool] | None = None,
    backoff: Backoff | None = None,
    heed_retry_after: bool = True,
    budget: RetryBudget | None = None,
    remaining: Callable[[], float | None] | None = None,
    sleep: Sleep = asyncio.sleep,
    rng: Rng = _random,
) -> T:
    """Call fn until it succeeds; only for work that may safely be done twice.

    attempts: calls in all; None = without end.
    on: the classes of errors after which fn is called again. Any other error is raised at once.
    when: decides further by the error and the number of calls made so far (1 after the first).
    heed_retry_after: wait at least as long as the error asks for.
    budget: takes one retry from it for each call but the first.
    remaining: seconds left of the caller's deadline (None = no deadline); a wait that would not fit is not begun.

    Raises the last error of fn, or DeadlineExceeded when no time was left before the first call.
    """
    if budget is not None:
        budget.deposit()
    if remaining is not None and (left := remaining()) is not None and left <= 0:
        raise DeadlineExceeded("no time left before the first try")
    made = 0
    while True:
        try:
            return await fn()
        except on as error:
            made += 1
            if made == attempts or (when is not None and not when(error, made)):
                raise
            if budget is not None and not budget.withdraw():
                raise
            at_least = error.retry_after if heed_retry_after and isinstance(error, Brain2Error) else None
            wait = (backoff or _BACKOFF).delay(made - 1, rng, at_least)
            if remaining is not None and (left := remaining()) is not None and left <= wait:
                raise
        await sleep(wait)
