"""A bulkhead: bounds how much work of one kind is done at the same time, in all and for one user.

So a user whose work takes long, because its partition is throttled for example, leaves places for the others.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.resilience.keyed import KeyedSemaphore


class Bulkhead:
    """`async with bulkhead.place(user_id):` around the work. A user takes memory only while it has work.

    limit: places in all. per_user: those of one user at most.
    """

    def __init__(self, limit: int, per_user: int) -> None:
        self._all = asyncio.Semaphore(limit)
        self._own: KeyedSemaphore[str] = KeyedSemaphore(per_user)

    def __len__(self) -> int:
        """How many users have work."""
        return len(self._own)

    @asynccontextmanager
    async def place(self, user_id: str) -> AsyncIterator[None]:
        """Hold a place, after a wait for one. Who has all places of its own waits for none of the others'."""
        async with self._own.hold(user_id), self._all:
            yield
