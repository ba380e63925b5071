"""What the core of a service knows of traces: spans around its background work, and what caused that work.

shared.telemetry implements Tracer, as a module; the composition root hands it over.
"""

import asyncio
import contextlib
import contextvars
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

T = TypeVar("T")

# Work that begins later than this after what caused it has a trace of its own with a link: a trace of a month can't be
# looked at, and collectors decide within seconds whether they keep a trace.
CONTINUED_MS = 3_600_000


class Tracer(Protocol):
    """Makes spans; see shared.telemetry.span()."""

    def span(
        self,
        name: str,
        *,
        carrier: Mapping[str, str] | None = None,
        links: Sequence[Mapping[str, str]] = (),
        attributes: Mapping[str, str | int] | None = None,
    ) -> AbstractContextManager[object]: ...

    def current(self) -> str:
        """The traceparent of the current work, recorded or not; "" outside of any trace."""


class NoTracer:
    """A Tracer of no trace."""

    def span(
        self,
        name: str,
        *,
        carrier: Mapping[str, str] | None = None,
        links: Sequence[Mapping[str, str]] = (),
        attributes: Mapping[str, str | int] | None = None,
    ) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def current(self) -> str:
        return ""


def caused_by(
    tracer: Tracer, name: str, traceparent: str, age_ms: int, attributes: Mapping[str, str | int]
) -> AbstractContextManager[object]:
    """A span of work that was caused `age_ms` ago: in the same trace, or after CONTINUED_MS in one of its own."""
    carrier = {"traceparent": traceparent}
    if not traceparent:
        return tracer.span(name, attributes=attributes)
    if age_ms <= CONTINUED_MS:
        return tracer.span(name, carrier=carrier, attributes=attributes)
    return tracer.span(name, links=[carrier], attributes=attributes)


async def traced(tracer: Tracer, name: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The items of an asynchronous generator, whose whole work is inside one span.

    A span that is open at a yield would be the current one of the consumer, too, and could be closed in another context
    than that in which it was opened. So the generator runs in a context of its own.
    """
    context = contextvars.copy_context()
    span = tracer.span(name)
    context.run(span.__enter__)
    try:
        while True:
            try:
                item = await asyncio.create_task(_next(items), context=context)
            except StopAsyncIteration:
                break
            yield item
    except BaseException:
        if not context.run(span.__exit__, *sys.exc_info()):
            raise
    else:
        context.run(span.__exit__, None, None, None)


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
