"""Optimistic writes: read, decide, write if nobody wrote in between, else again.

Writers of one note in one process take turns, so that only writers of other replicas can come in between: twenty
updates of a note at once are then twenty writes and not two hundred.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from shared.errors import Aborted
from shared.resilience.retry import Backoff, Rng

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class Turns:
    """Per key, one at a time, first come first served. A key costs memory only while somebody holds or awaits it."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: tuple[str, str]) -> AsyncIterator[None]:
        lock, holders = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = lock, holders + 1
        try:
            async with lock:
                yield
        finally:
            lock, holders = self._locks[key]
            if holders == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, holders - 1


class Optimist:
    """Runs an attempt until it gets through."""

    def __init__(
        self, *, attempts: int = 12, backoff: Backoff | None = None, sleep: Sleep = asyncio.sleep, rng: Rng = random
    ) -> None:
        self._turns = Turns()
        self._attempts = attempts
        self._backoff = backoff or Backoff(base=0.005, cap=0.2)
        self._sleep = sleep
        self._rng = rng

    async def run(self, user_id: str, node_id: str, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """The first result of attempt() that isn't None; None means that somebody else wrote in between.

        Aborted (reason CONTENTION) when that happened too often.
        """
        async with self._turns.of((user_id, node_id)):
            for tried in range(self._attempts):
                if tried:
                    await self._sleep(self._backoff.delay(tried - 1, self._rng))
                result = await attempt()
                if result is not None:
                    return result
        raise Aborted(f"too many write the note {node_id} at once", reason="CONTENTION", retry_after=0.2)
