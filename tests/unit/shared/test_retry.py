"""Retries: how long they wait, what they repeat, what stops them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, Unavailable
from shared.resilience.retry import Backoff, RetryBudget, retry
from tests.support.clock import ManualClock, Middle


class Flaky:
    """Fails with each of the errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@given(st.integers(0, 5000), st.floats(0.001, 10), st.floats(0.001, 100), st.integers())
def test_a_wait_is_within_its_ceiling(attempt: int, base: float, cap: float, seed: int) -> None:
    wait = Backoff(base, cap).delay(attempt, random.Random(seed))
    assert 0 <= wait <= min(cap, base * 2.0 ** min(attempt, 60)) * (1 + 1e-9)


def test_waits_differ_between_callers_and_spread_over_the_whole_range() -> None:
    rng = random.Random(1)
    waits = [Backoff(1.0, 8.0).delay(2, rng) for _ in range(500)]
    assert min(waits) < 0.2
    assert max(waits) > 3.8


async def test_it_repeats_what_may_be_repeated_with_growing_waits() -> None:
    clock = ManualClock()
    work = Flaky(Unavailable("a"), ResourceExhausted("b"))
    assert await retry(work, backoff=Backoff(1, 10), sleep=clock.skip, rng=Middle()) == "done"
    assert clock.slept == [0.5, 1.0]


async def test_the_last_error_is_raised_when_the_tries_are_used_up() -> None:
    work = Flaky(Unavailable("first"), Unavailable("second"), Unavailable("third"))
    with pytest.raises(Unavailable, match="second"):
        await retry(work, attempts=2, sleep=ManualClock().skip)
    assert work.calls == 2


async def test_an_error_that_retrying_will_not_mend_is_raised_at_once() -> None:
    work = Flaky(InvalidArgument("no"))
    with pytest.raises(InvalidArgument):
        await retry(work, sleep=ManualClock().skip)
    assert work.calls == 1


async def test_what_the_server_asked_for_is_the_least_wait() -> None:
    clock = ManualClock()
    await retry(Flaky(ResourceExhausted("slow", retry_after=7)), backoff=Backoff(1, 1), sleep=clock.skip, rng=Middle())
    assert clock.slept == [7.5]


async def test_a_wait_that_does_not_fit_into_the_deadline_is_not_begun() -> None:
    clock = ManualClock()
    work = Flaky(Unavailable("down", retry_after=3))
    with pytest.raises(Unavailable):
        await retry(work, remaining=lambda: 2.0, sleep=clock.skip)
    assert (work.calls, clock.slept) == (1, [])


async def test_without_time_left_nothing_is_tried() -> None:
    work = Flaky()
    with pytest.raises(DeadlineExceeded):
        await retry(work, remaining=lambda: 0.0)
    assert work.calls == 0


async def test_the_budget_bounds_retries_when_everything_fails() -> None:
    clock = ManualClock()
    budget = RetryBudget(ratio=0.2, reserve=0.0, burst=10, clock=clock)
    calls = 0
    for _ in range(1000):
        work = Flaky(*(Unavailable("down") for _ in range(5)))
        with pytest.raises(Unavailable):
            await retry(work, attempts=5, budget=budget, sleep=clock.skip)
        calls += work.calls
    # 1,000 calls, a burst of 10 retries and one retry for five calls.
    assert 1200 <= calls <= 1215


def test_the_reserve_refills_with_time() -> None:
    clock = ManualClock()
    budget = RetryBudget(ratio=0, reserve=2.0, burst=1, clock=clock)
    assert [budget.withdraw(), budget.withdraw()] == [True, False]
    clock.seconds += 0.5
    assert budget.withdraw()


async def test_when_decides_by_the_error_and_the_calls_made() -> None:
    seen: list[tuple[str, int]] = []

    def when(error: BaseException, made: int) -> bool:
        seen.append((str(error), made))
        return made < 2

    work = Flaky(Unavailable("a"), Unavailable("b"), Unavailable("c"))
    with pytest.raises(Unavailable, match="b"):
        await retry(work, attempts=None, when=when, sleep=ManualClock().skip)
    assert seen == [("a", 1), ("b", 2)]


async def test_without_a_bound_it_is_called_until_it_succeeds() -> None:
    work = Flaky(*(Unavailable("down") for _ in range(1000)))
    assert await retry(work, attempts=None, sleep=ManualClock().skip) == "done"
    assert work.calls == 1001


async def test_what_the_server_asked_for_may_be_ignored() -> None:
    clock = ManualClock()
    work = Flaky(ResourceExhausted("slow", retry_after=7))
    await retry(work, backoff=Backoff(1, 1), heed_retry_after=False, sleep=clock.skip, rng=Middle())
    assert clock.slept == [0.5]
