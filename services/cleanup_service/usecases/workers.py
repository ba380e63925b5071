"""Runs a bounded number of sagas at once in this process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.cleanup_service.model.saga import Saga
from services.cleanup_service.ports import NodeKey
from shared.errors import Brain2Error
from shared.resilience.background import cancel_all

log = logging.getLogger("brain2.cleanup")


class Workers:
    """run: runs one saga. limit: the number of sagas that run at once; as many again may wait in the queue."""

    def __init__(self, run: Callable[[str, str], Awaitable[Saga | None]], limit: int) -> None:
        self._run = run
        self._limit = limit
        self._queue: asyncio.Queue[NodeKey] = asyncio.Queue(limit)
        self._queued: set[NodeKey] = set()

    def offer(self, user_id: str, node_id: str) -> bool:
        """Queues the saga; False when the queue is full: poll_deletions finds the saga later."""
        key = (user_id, node_id)
        if key in self._queued:
            return True
        if self._queue.full():
            return False
        self._queued.add(key)
        self._queue.put_nowait(key)
        return True

    async def submit(self, user_id: str, node_id: str) -> None:
        """Queues the saga, and waits for room in the queue."""
        key = (user_id, node_id)
        if key not in self._queued:
            self._queued.add(key)
            try:
                await self._queue.put(key)
            except BaseException:
                self._queued.discard(key)
                raise

    async def work(self) -> None:
        """Runs queued sagas until it is cancelled; then the running sagas are released."""
        workers = [asyncio.create_task(self._worker()) for _ in range(self._limit)]
        try:
            await asyncio.gather(*workers)
        finally:
            await cancel_all(workers)

    async def _worker(self) -> None:
        while True:
            key = await self._queue.get()
            # Before it runs: a change of the saga from now on (a retry, a restore) must be able to queue it again.
            self._queued.discard(key)
            try:
                await self._run(*key)
            except Brain2Error as error:
                # The store didn't answer. The saga is still due, and poll_deletions finds it again.
                log.warning("could not run a deletion: %s", error, extra={"user_id": key[0], "node_id": key[1]})
