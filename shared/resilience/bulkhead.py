"""A bulkhead: bounds how much work of one kind is done at the same time, in all and for one user.

So a user whose work takes long, because its partition is throttled for example, leaves places for the others.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Bulkhead:
    """`async with bulkhead.place(user_id):` around the work. A user takes memory only while it has work.

    limit: places in all. per_user: those of one user at most.
    """

    def __init__(self, limit: int, per_user: int) -> None:
        self._all = asyncio.Semaphore(limit)
        self._per_user = per_user
        # user_id -> the user's own places, and how many hold one or wait for one.
        self._users: dict[str, tuple[asyncio.Semaphore, int]] = {}

    def __len__(self) -> int:
        """How many users have work."""
        return len(self._users)

    @asynccontextmanager
    async def place(self, user_id: str) -> AsyncIterator[None]:
        """Hold a place, after a wait for one. Who has all places of its own waits for none of the others'."""
        own, count = self._users.get(user_id) or (asyncio.Semaphore(self._per_user), 0)
        self._users[user_id] = own, count + 1
        try:
            async with own, self._all:
                yield
        finally:
            own, count = self._users[user_id]
            if count == 1:
                del self._users[user_id]
            else:
                self._users[user_id] = own, count - 1
