"""The breaker: when it opens, what passes while it is half open, and that no call holds it up."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.dynamo import ConditionFailed, Reason, TransactionCancelled
from shared.errors import Brain2Error, InvalidArgument, Unavailable
from shared.resilience.breaker import Breaker
from shared.resilience.lag import lateness
from tests.support.clock import ManualClock, Middle
from tests.support.waiting import within


def fresh(**options: float) -> tuple[Breaker, ManualClock]:
    clock = ManualClock()
    settings = {"failures": 3, "cooldown": 1.0, "max_cooldown": 4.0, **options}
    return Breaker("store", clock, rng=Middle(), **settings), clock  # type: ignore[arg-type]


def state(breaker: Breaker) -> str:
    """A function, so that mypy doesn't take the answer for constant."""
    return breaker.state


async def fails(error: Exception | None = None) -> None:
    raise error or Unavailable("down")


async def call(breaker: Breaker, fn: Callable[[], Awaitable[Any]]) -> Any:
    with breaker.enter():
        return await fn()


async def works() -> str:
    return "fine"


async def trip(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable, match="down"):
            await call(breaker, fails)


async def test_failures_in_a_row_open_it_and_calls_are_refused_without_being_made() -> None:
    breaker, _ = fresh()
    await trip(breaker)
    made = 0

    async def counted() -> None:
        nonlocal made
        made += 1

    with pytest.raises(Unavailable) as refused:
        await call(breaker, counted)
    assert (state(breaker), made, refused.value.reason) == ("open", 0, "BREAKER_OPEN")
    assert refused.value.retry_after == pytest.approx(1.05)


async def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker, _ = fresh(ratio=0.9)
    await trip(breaker, 2)
    await call(breaker, works)
    await trip(breaker, 2)
    assert state(breaker) == "closed"


async def test_half_of_many_calls_failing_opens_it_though_never_in_a_row() -> None:
    breaker, _ = fresh(failures=5)
    for _ in range(4):
        await trip(breaker, 1)
        await call(breaker, works)
    assert state(breaker) == "closed"
    await trip(breaker, 1)
    assert state(breaker) == "open"


async def test_old_failures_are_forgotten() -> None:
    breaker, clock = fresh(failures=5, window=10)
    for _ in range(8):
        await trip(breaker, 1)
        await call(breaker, works)
        clock.seconds += 6
    assert state(breaker) == "closed"


async def test_errors_of_the_request_do_not_count_against_the_dependency() -> None:
    breaker, _ = fresh()
    for _ in range(10):
        with pytest.raises(InvalidArgument):
            await call(breaker, lambda: fails(InvalidArgument("no")))
    assert state(breaker) == "closed"


async def test_half_open_one_probe_passes_and_its_success_closes() -> None:
    breaker, clock = fresh()
    await trip(breaker)
    clock.seconds += 1.1
    gate = asyncio.Event()
    probe = asyncio.create_task(call(breaker, gate.wait))
    await asyncio.sleep(0)
    assert state(breaker) == "half_open"
    with pytest.raises(Unavailable):
        await call(breaker, works)
    gate.set()
    await probe
    assert state(breaker) == "closed"
    assert await call(breaker, works) == "fine"


async def test_a_failed_probe_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, clock = fresh()
    await trip(breaker)
    waits = []
    for _ in range(4):
        waits.append(breaker.retry_after)
        clock.seconds += breaker.retry_after
        await trip(breaker, 1)
    assert waits == pytest.approx([1.05, 2.1, 4.2, 4.2])
    clock.seconds += 5
    await call(breaker, works)
    await trip(breaker)
    assert breaker.retry_after == pytest.approx(1.05)


async def test_a_cancelled_probe_gives_its_place_back() -> None:
    breaker, clock = fresh()
    await trip(breaker)
    clock.seconds += 1.1
    probe = asyncio.create_task(call(breaker, asyncio.Event().wait))
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert await call(breaker, works) == "fine"
    assert state(breaker) == "closed"


async def test_a_probe_that_takes_long_keeps_no_other_kind_of_call_out() -> None:
    breaker, clock = fresh()
    await trip(breaker)
    clock.seconds += 1.1
    slow = breaker.enter()
    clock.seconds += 0.9
    with pytest.raises(Unavailable):
        await call(breaker, works)
    clock.seconds += 0.2
    assert await call(breaker, works) == "fine"
    assert state(breaker) == "closed"
    slow.end(False)
    assert await call(breaker, works) == "fine", "the dependency was found to answer after the slow probe had begun"


async def test_probes_that_never_end_let_one_call_pass_in_each_cooldown() -> None:
    breaker, clock = fresh()
    await trip(breaker)
    clock.seconds += 1.1
    passed = 0
    for _ in range(100):
        try:
            breaker.enter()
            passed += 1
        except Unavailable:
            pass
        clock.seconds += 0.1
    assert 9 <= passed <= 11


async def test_a_call_that_began_before_it_opened_has_no_say_afterwards() -> None:
    breaker, clock = fresh()
    late_failure, late_success = breaker.enter(), breaker.enter()
    await trip(breaker)
    late_success.end(True)
    assert state(breaker) == "open"
    clock.seconds += 1.1
    probe = breaker.enter()
    late_failure.end(False)
    assert state(breaker) == "half_open"
    probe.end(True)
    assert state(breaker) == "closed"


async def test_an_outcome_that_was_given_before_the_end_of_the_block_is_the_one_that_counts() -> None:
    breaker, _ = fresh()

    async def fails_harmlessly() -> None:
        with breaker.enter() as permit:
            permit.end(None)
            raise Unavailable("down")

    for _ in range(10):
        with pytest.raises(Unavailable):
            await fails_harmlessly()
    assert state(breaker) == "closed"
    for _ in range(3):
        with breaker.enter() as permit:
            permit.end(False)
            permit.end(True)
    assert state(breaker) == "open"


async def test_another_has_the_settings_but_a_state_of_its_own() -> None:
    breaker, clock = fresh()
    other = breaker.another()
    await trip(other)
    assert (state(breaker), state(other)) == ("closed", "open")
    clock.seconds += 1.1
    assert state(other) == "half_open"


async def test_a_failure_while_the_loop_was_late_says_nothing() -> None:
    late = 0.0
    clock = ManualClock()
    breaker = Breaker("store", clock, failures=3, lateness=lambda: late)

    async def times_out(loop_late: float) -> None:
        nonlocal late
        clock.move(3.0)
        late += loop_late
        raise Unavailable("down")

    for _ in range(10):
        with pytest.raises(Unavailable):
            await call(breaker, lambda: times_out(1.0))
    assert state(breaker) == "closed"
    for _ in range(3):
        with pytest.raises(Unavailable):
            await call(breaker, lambda: times_out(0.5))
    assert state(breaker) == "open", "a loop that was late for a sixth of the time does not explain it"


async def test_what_a_store_refuses_because_of_another_writer_is_an_answer() -> None:
    breaker, _ = fresh()
    refusals: list[Brain2Error] = [
        ConditionFailed(None),
        TransactionCancelled([Reason("TransactionConflict", None)], reason="TRANSACTION_CONFLICT"),
        TransactionCancelled([Reason("ConditionalCheckFailed", None)]),
    ]
    for error in refusals * 5:

        async def refuse(error: Brain2Error = error) -> None:
            raise error

        with pytest.raises(type(error)):
            await call(breaker, refuse)
    assert state(breaker) == "closed"


async def test_lateness_grows_while_the_loop_is_held_up() -> None:
    before = lateness()
    await asyncio.sleep(0)
    ends = time.monotonic() + 0.3
    while time.monotonic() < ends:
        pass
    async with within(10):
        while lateness() - before < 0.2:
            await asyncio.sleep(0)
