"""Concurrent requests for one key become one: the first does the work, the others wait for its result.

As golang.org/x/sync/singleflight, with cancellation: the work goes on while at least one caller waits for it, and is
cancelled when the last one has gone.

Library considered: aiocache and async-lru join concurrent calls too, but they keep the result, and their first caller's
cancellation fails the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from shared.errors import DeadlineExceeded

T = TypeVar("T")


class _Flight(Generic[T]):
    __slots__ = ("task", "waiters")

    def __init__(self, task: "asyncio.Task[T]") -> None:
        self.task = task
        self.waiters = 0


class SingleFlight(Generic[T]):
    """One group of flights; keys of different groups don't meet."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def do(self, key: Hashable, fn: Callable[[], Awaitable[T]]) -> T:
        """The result of fn(), shared by all who ask for `key` while it runs. They share its error too.

        The work runs in the first caller's context, deadline included. When that deadline ends the work, the others
        don't fail with it: one of them starts it again, once.
        """
        flight = self._flights.get(key)
        if flight is None:
            return await self._wait(key, self._start(key, fn))
        try:
            return await self._wait(key, flight)
        except DeadlineExceeded:
            # A flight that others have restarted meanwhile is joined.
            again = self._flights.get(key)
            return await self._wait(key, again or self._start(key, fn))

    def forget(self, key: Hashable) -> None:
        """Later callers of `key` start anew; those who wait already still get the running flight's result.

        For a writer: a read that began before its write must not be handed to one who asks after it.
        """
        self._flights.pop(key, None)

    def _start(self, key: Hashable, fn: Callable[[], Awaitable[T]]) -> _Flight[T]:
        async def work() -> T:
            return await fn()

        task = asyncio.ensure_future(work())
        flight = _Flight(task)
        self._flights[key] = flight

        def landed(done: "asyncio.Task[T]") -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not done.cancelled():
                done.exception()  # seen, even if every waiter has gone: no "never retrieved" on the log

        task.add_done_callback(landed)
        return flight

    async def _wait(self, key: Hashable, flight: _Flight[T]) -> T:
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                # Nobody wants the result any more. A newcomer must not join a flight that is being cancelled.
                if self._flights.get(key) is flight:
                    del self._flights[key]
                flight.task.cancel()
