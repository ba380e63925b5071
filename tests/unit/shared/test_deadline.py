"""The deadline of the current call, as outgoing calls see it."""

import asyncio
import time

import pytest

from shared.errors import DeadlineExceeded
from shared.grpc import deadline
from shared.grpc.deadline import Until


class Call:
    def __init__(self, left: float | None) -> None:
        self.left = left

    def time_remaining(self) -> float | None:
        return self.left


@pytest.mark.parametrize(
    ("left", "default", "allowed"), [(None, 5.0, 5.0), (2.0, 5.0, 2.0), (9.0, 5.0, 5.0), (0.001, 5.0, 0.001)]
)
def test_the_shorter_of_two(left: float | None, default: float, allowed: float) -> None:
    token = deadline.current.set(Call(left))
    assert deadline.with_timeout(default) == allowed
    assert deadline.remaining() == left
    deadline.current.reset(token)


def test_no_time_left_is_an_error_at_once() -> None:
    token = deadline.current.set(Call(0.0))
    with pytest.raises(DeadlineExceeded):
        deadline.with_timeout(5)
    deadline.current.reset(token)


def test_blocks_nest_and_never_lengthen() -> None:
    assert deadline.remaining() is None
    with deadline.within(10):
        with deadline.within(60):
            left = deadline.remaining()
            assert left is not None
            assert left <= 10
        with deadline.within(1):
            left = deadline.remaining()
            assert left is not None
            assert left <= 1
        with deadline.detached():
            assert deadline.with_timeout(30) == 30
    assert deadline.remaining() is None


async def test_tasks_inherit_it_and_detached_ones_do_not() -> None:
    async def look() -> float | None:
        return deadline.remaining()

    with deadline.within(10):
        inherited = asyncio.create_task(look())
        with deadline.detached():
            free = asyncio.create_task(look())
    assert await inherited is not None
    assert await free is None


def test_a_moment_that_has_passed_leaves_nothing() -> None:
    assert Until(time.monotonic() - 5).time_remaining() == 0
