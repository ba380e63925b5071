"""Ids sort as they were made, hold nothing that would break a key, and times sort as text."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Violations
from shared.ids import SystemClock, UlidFactory, check_id, check_user_id, time_key


class FixedClock:
    def __init__(self, now: int) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000


def is_id(value: str) -> bool:
    violations = Violations()
    check_id("id", value, violations)
    return not violations


def is_user_id(value: str) -> bool:
    violations = Violations()
    check_user_id("user_id", value, violations)
    return not violations


def test_the_time_is_where_the_specification_has_it() -> None:
    # The example of https://github.com/ulid/spec: 01ARZ3NDEKTSV4RRFFQ69G5FAV, time part of 1469922850259 ms.
    made = UlidFactory(FixedClock(1469922850259), random.Random(1)).new_id()
    assert made.startswith("01ARZ3NDEK")
    assert len(made) == 26


@given(st.lists(st.integers(min_value=0, max_value=2**47), min_size=2, max_size=50), st.integers())
def test_ids_rise_whatever_the_clock_does(times: list[int], seed: int) -> None:
    clock = FixedClock(0)
    factory = UlidFactory(clock, random.Random(seed))
    made = []
    for clock.now in times:
        made += [factory.new_id(), factory.new_id()]
    assert made == sorted(set(made))
    assert all(is_id(each) for each in made)


def test_the_random_part_may_run_over() -> None:
    class High:
        def getrandbits(self, k: int, /) -> int:
            return (1 << k) - 1

    factory = UlidFactory(FixedClock(5), High())
    first, second = factory.new_id(), factory.new_id()
    assert first < second
    assert second.startswith("0000000006")


def test_two_processes_differ() -> None:
    clock = FixedClock(1)
    assert UlidFactory(clock).new_id() != UlidFactory(clock).new_id()


@pytest.mark.parametrize("value", ["a", "0", "A-b_c.d", "x" * 64, "01ARZ3NDEKTSV4RRFFQ69G5FAV"])
def test_ids(value: str) -> None:
    assert is_id(value)
    assert is_user_id(value)


@pytest.mark.parametrize("value", ["", "-a", ".a", "_a", "a#b", "a/b", "a b", "ä", "a\n", "x" * 65, "a@b"])
def test_no_ids(value: str) -> None:
    assert not is_id(value)


def test_user_ids_may_be_addresses_and_longer() -> None:
    assert is_user_id("ann@example.org")
    assert is_user_id("u" * 128)
    assert not is_user_id("u" * 129)
    assert not is_user_id("@ann")
    assert not is_user_id("ann#USER")


@given(st.integers(0, 9_999_999_999_999), st.integers(0, 9_999_999_999_999))
def test_times_sort_as_text(one: int, other: int) -> None:
    assert (time_key(one) < time_key(other)) == (one < other)


@pytest.mark.parametrize("ms", [-1, 10_000_000_000_000])
def test_times_that_would_not_sort_are_refused(ms: int) -> None:
    with pytest.raises(ValueError, match="not a time"):
        time_key(ms)


def test_the_systems_clock_runs() -> None:
    clock = SystemClock()
    assert 1_700_000_000_000 < clock.now_ms() < 9_999_999_999_999
    assert clock.monotonic() <= clock.monotonic()
