"""A semaphore for each key, such as a user or a note."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class KeyedSemaphore(Generic[K]):
    """Bounds how much work of one key is done at the same time, in the order of arrival; 1: a lock for each key.

    A key takes memory only while one of its places is held or waited for.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = places
        self._keys: dict[K, tuple[asyncio.Semaphore, int]] = {}

    def __len__(self) -> int:
        """How many keys have work."""
        return len(self._keys)

    def users(self, key: K) -> int:
        """How many hold a place of the key or wait for one."""
        return self._keys[key][1] if key in self._keys else 0

    @asynccontextmanager
    async def hold(self, key: K) -> AsyncIterator[None]:
        """Hold a place of the key, after a wait for one."""
        semaphore, users = self._keys.get(key) or (asyncio.Semaphore(self._places), 0)
        self._keys[key] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._keys[key]
            if users == 1:
                del self._keys[key]
            else:
                self._keys[key] = semaphore, users - 1
