"""The deadline of the current call, as outgoing calls see it."""

import asyncio

import pytest

from shared.errors import DeadlineExceeded
from shared.grpc import deadline


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


async def test_tasks_inherit_it() -> None:
    async def look() -> float | None:
        return deadline.remaining()

    token = deadline.current.set(Call(10.0))
    inherited = asyncio.create_task(look())
    deadline.current.reset(token)
    assert await inherited == 10.0
    assert await asyncio.create_task(look()) is None
