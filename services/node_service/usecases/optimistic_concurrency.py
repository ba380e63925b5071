"""Optimistic concurrency: read, decide, write on the condition that nobody has written in between, else again.

Writers of one note in one process run one after the other, so only writers of other replicas can come in between:
twenty updates of a note at the same time are then about twenty writes and not two hundred. How many may wait has a
bound, because each of them is one of the calls that the process serves at a time.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.errors import Aborted
from shared.resilience.keyed import KeyedSemaphore
from shared.resilience.retry import Backoff, Rng, Sleep, retry

T = TypeVar("T")
_ATTEMPTS = 12
_BACKOFF = Backoff(base=0.005, cap=0.2)
# Writers of one note that wait or run, at most: a quarter of the calls that a process serves by default.
_MOST_WRITERS = 256


class _Conflict(Exception):
    """Another writer came first."""


class OptimisticConcurrency:
    """Repeats an attempt until no other writer comes in between."""

    def __init__(self, *, sleep: Sleep = asyncio.sleep, rng: Rng = random) -> None:
        self._locks: KeyedSemaphore[tuple[str, str]] = KeyedSemaphore()
        self._sleep = sleep
        self._rng = rng

    async def run(self, user_id: str, node_id: str, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """The first result of attempt() that isn't None. None means that another writer came first.

        Raises Aborted (CONTENTION) when that happened too often, or when too many writers wait.
        """
        if self._locks.users((user_id, node_id)) >= _MOST_WRITERS:
            raise _contention(node_id)

        async def attempt_or_conflict() -> T:
            result = await attempt()
            if result is None:
                raise _Conflict
            return result

        async with self._locks.hold((user_id, node_id)):
            try:
                return await retry(
                    attempt_or_conflict,
                    attempts=_ATTEMPTS,
                    on=(_Conflict,),
                    backoff=_BACKOFF,
                    sleep=self._sleep,
                    rng=self._rng,
                )
            except _Conflict:
                raise _contention(node_id) from None


def _contention(node_id: str) -> Aborted:
    return Aborted(f"too many writers of the note {node_id}", reason="CONTENTION", retry_after=0.2)
