"""A bounded number of sagas at once in this process, none of them twice at the same time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.cleanup_service.model.saga import Saga
from services.cleanup_service.ports import NodeKey
from shared.errors import Brain2Error

log = logging.getLogger("brain2.cleanup")


class Workers:
    """run: what is done with a saga. limit: how many at once; as many again may wait."""

    def __init__(self, run: Callable[[str, str], Awaitable[Saga | None]], limit: int) -> None:
        self._run = run
        self._limit = limit
        self._queue: asyncio.Queue[NodeKey] = asyncio.Queue(limit)
        self._taken: set[NodeKey] = set()

    def offer(self, user_id: str, node_id: str) -> bool:
        """Has it run soon, unless there is no room: then the poller finds it later."""
        key = (user_id, node_id)
        if key in self._taken:
            return True
        if self._queue.full():
            return False
        self._taken.add(key)
        self._queue.put_nowait(key)
        return True

    async def submit(self, user_id: str, node_id: str) -> None:
        """As offer, but waits for room."""
        key = (user_id, node_id)
        if key not in self._taken:
            self._taken.add(key)
            try:
                await self._queue.put(key)
            except BaseException:
                self._taken.discard(key)
                raise

    async def work(self) -> None:
        """Runs what is offered, for ever; cancelling it gives back the sagas under way."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limit):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            key = await self._queue.get()
            # Taken off before it runs: what happens to the saga from now on (a retry, a restore) may offer it again.
            self._taken.discard(key)
            try:
                await self._run(*key)
            except Brain2Error as error:
                # The store didn't answer; the saga stays in its queue and the poller comes back to it.
                log.warning("could not take a deletion: %s", error, extra={"user_id": key[0], "node_id": key[1]})
            finally:
                self._queue.task_done()
