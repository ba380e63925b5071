"""What the tour measures with: the time of a call, waiting for something, and a trace of its own."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import TypeVar

from opentelemetry import context, trace

T = TypeVar("T")
_POLL_SECONDS = 0.02


class BrokenError(Exception):
    """Something isn't as promised; the text is one line and says what."""


async def timed(work: Awaitable[T]) -> tuple[T, float]:
    """The result, and how many milliseconds it took."""
    began = perf_counter()
    result = await work
    return result, (perf_counter() - began) * 1000


async def until(check: Callable[[], Awaitable[T]], what: str, *, seconds: float) -> tuple[T, float]:
    """Ask until the answer is true: the answer, and the milliseconds that it took. BrokenError when time is up."""
    began = perf_counter()
    while True:
        answer = await check()
        passed = perf_counter() - began
        if answer:
            return answer, passed * 1000
        if passed > seconds:
            raise BrokenError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(_POLL_SECONDS)


async def until_stable(
    look: Callable[[], Awaitable[T]], *, quiet: float, seconds: float, on_look: Callable[[T], None] = lambda _: None
) -> T:
    """Look until nothing has changed for `quiet` seconds (or time is up): what was seen last."""
    began = since = perf_counter()
    last = await look()
    while (now := perf_counter()) - since < quiet and now - began < seconds:
        await asyncio.sleep(_POLL_SECONDS)
        seen = await look()
        on_look(seen)
        if seen != last:
            last, since = seen, perf_counter()
    return last


@contextlib.contextmanager
def traced() -> Iterator[str]:
    """Calls inside belong to one new trace that every service records; gives its id."""
    parent = trace.SpanContext(
        secrets.randbits(128) | 1, secrets.randbits(64) | 1, is_remote=False, trace_flags=trace.TraceFlags(1)
    )
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        yield f"{parent.trace_id:032x}"
    finally:
        context.detach(token)
