"""The deadline of the call that is being served, for whatever that call makes others do.

The server only stores a reference to the call; the time is asked for when somebody needs it. Tasks that a call starts
inherit it; work that must outlive the call (filling a cache for others, publishing) steps out of it with detached().
"""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol

from shared.errors import DeadlineExceeded


class HasDeadline(Protocol):
    """A call: grpc.aio.ServicerContext, or the Until below."""

    def time_remaining(self) -> float | None: ...


class Until:
    """A moment on the monotonic clock, in seconds, as a deadline."""

    __slots__ = ("_at",)

    def __init__(self, at: float) -> None:
        self._at = at

    def time_remaining(self) -> float:
        return max(self._at - time.monotonic(), 0.0)


# The call that is being served; None outside of one.
current: ContextVar[HasDeadline | None] = ContextVar("brain2_call", default=None)


def remaining() -> float | None:
    """Seconds that the current call has left, never below 0; None when it has no deadline or there is no call."""
    call = current.get()
    return None if call is None else call.time_remaining()


def with_timeout(default: float) -> float:
    """Seconds that an outgoing call may take: the default, or less when the current call has less left.

    DeadlineExceeded when nothing is left: the answer would come too late for the caller.
    """
    left = remaining()
    if left is None or left > default:
        return default
    if left <= 0:
        raise DeadlineExceeded("the deadline of the call has passed")
    return left


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Calls made in the block get this many seconds altogether, or what the current call has left if that is less."""
    token = current.set(Until(time.monotonic() + with_timeout(seconds)))
    try:
        yield
    finally:
        current.reset(token)


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """Calls made in the block, and tasks started in it, no longer depend on the current call's deadline."""
    token = current.set(None)
    try:
        yield
    finally:
        current.reset(token)
