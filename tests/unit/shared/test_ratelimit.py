"""Rate limits in one process: bursts, refill, who is counted, and what the caller is answered."""

import random

import pytest

from shared.auth.principal import Principal
from shared.errors import ResourceExhausted, Unavailable
from shared.grpc import status
from shared.ratelimit import Rate, RateLimiter
from tests.support.clock import ManualClock

ADA = Principal("ada", "ada", frozenset({"read"}))
BACKEND = Principal("backend", "", frozenset({"read", "act_as"}))
NODE = Principal("node", "", frozenset({"internal"}))


async def allowed(limiter: RateLimiter, principal: Principal, user: str, calls: int) -> int:
    """How many of the calls were allowed."""
    number = 0
    for _ in range(calls):
        try:
            await limiter.check(principal, user)
            number += 1
        except ResourceExhausted:
            continue
    return number


async def test_a_burst_then_the_rate() -> None:
    clock = ManualClock()
    limiter = RateLimiter(Rate(10, 5), None, clock)
    assert await allowed(limiter, ADA, "ada", 20) == 5
    await clock.advance(0.1)
    assert await allowed(limiter, ADA, "ada", 20) == 1
    await clock.advance(60)
    assert await allowed(limiter, ADA, "ada", 20) == 5, "unused time adds up to one burst, no more"


async def test_in_the_long_run_the_rate_holds() -> None:
    clock, rng = ManualClock(), random.Random(1)
    limiter = RateLimiter(Rate(50, 10), None, clock)
    done = 0
    for _ in range(500):
        done += await allowed(limiter, ADA, "ada", rng.randrange(10))
        await clock.advance(rng.random() / 10)
    assert done <= clock.monotonic() * 50 + 10
    assert done > clock.monotonic() * 25


async def test_users_and_callers_are_counted_apart() -> None:
    limiter = RateLimiter(Rate(1, 3), Rate(1, 5), ManualClock())
    assert await allowed(limiter, BACKEND, "ada", 10) == 3
    assert await allowed(limiter, BACKEND, "bob", 10) == 0, "what was refused is counted for the caller all the same"
    assert await allowed(limiter, ADA, "ada", 10) == 0
    assert await allowed(limiter, Principal("eve", "eve", frozenset()), "eve", 10) == 3
    assert await allowed(limiter, NODE, "ada", 10) == 10, "the services are not limited"


async def test_the_answer_says_which_limit_and_when_to_return() -> None:
    clock = ManualClock()
    limiter = RateLimiter(Rate(4, 1), None, clock)
    await limiter.check(ADA, "ada")
    with pytest.raises(ResourceExhausted) as refused:
        await limiter.check(ADA, "ada")
    error = refused.value
    assert (error.reason, error.retry_after) == ("RATE_LIMITED", 0.25)
    assert [detail.type_url.rpartition(".")[2] for detail in status.to_status(error).details] == [
        "ErrorInfo",
        "QuotaFailure",
        "RetryInfo",
    ]
    await clock.advance(0.25)
    await limiter.check(ADA, "ada")


class Away:
    """A Redis that does not answer."""

    def script(self, source: str) -> "Away":
        return self

    async def __call__(self, **_: object) -> object:
        raise Unavailable("away")


async def test_without_redis_a_process_limits_by_itself() -> None:
    limiter = RateLimiter(Rate(1, 3), None, ManualClock(), Away())
    assert await allowed(limiter, ADA, "ada", 10) == 3
