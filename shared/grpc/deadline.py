"""The deadline of the call that is being served, which limits the calls that it makes.

The server stores a reference to the call; the remaining time is computed when it is asked for. Tasks that a call starts
inherit its deadline. No library does this: gRPC hands a deadline on only between two calls in C++ and Java.
"""

from contextvars import ContextVar
from typing import Protocol

from shared.errors import DeadlineExceeded


class HasDeadline(Protocol):
    """The part of grpc.aio.ServicerContext that this module reads."""

    def time_remaining(self) -> float | None: ...


# The call that is being served; None outside of one.
current: ContextVar[HasDeadline | None] = ContextVar("brain2_call", default=None)


def remaining() -> float | None:
    """Seconds that the current call has left, never below 0; None when it has no deadline or there is no call."""
    call = current.get()
    return None if call is None else call.time_remaining()


def with_timeout(default: float) -> float:
    """Seconds that an outgoing call may take: the default, or what the current call has left if that is less.

    Raises DeadlineExceeded when the current call has nothing left, because the answer would come too late.
    """
    left = remaining()
    if left is None or left > default:
        return default
    if left <= 0:
        raise DeadlineExceeded("the deadline of the call has passed")
    return left
