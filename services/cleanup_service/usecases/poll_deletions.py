"""Finds due deletions by queries, so that a lost event, a crash or a full worker queue never loses a deletion.

Each pass reads every shard that no other replica holds: first the deletion queue, for notes whose event was lost, then
the sagas that are due or whose lease has run out. Two replicas may read one shard: sagas have leases of their own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.cleanup_service.model.saga import State
from services.cleanup_service.ports import DeletionQueue, QueueEntry, ShardLeases
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.node_events import record_lost_deletions
from shared.errors import Brain2Error
from shared.resilience.pace import IdlePace
from shared.resilience.retry import Rng

log = logging.getLogger("brain2.cleanup")

_PAGE = 100
# Pages of one shard in one pass, so that a backlog in one shard doesn't delay the others without end.
_PAGES = 50

Read = Callable[[str], Awaitable[list[QueueEntry]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionPoller:
    """submit: queues a saga for this process's workers, and waits while their queue is full.

    pace: leaves out passes while there is nothing to find and no saga is written in this process. A saga that becomes
    due meanwhile waits for up to fifteen intervals.
    """

    queue: DeletionQueue
    leases: ShardLeases
    deletions: Deletions
    submit: Callable[[str, str], Awaitable[None]]
    rng: Rng
    owner: str
    pace: IdlePace
    lease_ms: int = 30_000

    async def run_forever(self, interval: float) -> None:
        """Polls until it is cancelled, every `interval` seconds, with 25 % jitter so that replicas poll at different
        times.
        """
        while True:
            try:
                if self.pace.due():
                    self.pace.found(await self.poll_deletions() > 0)
            except Brain2Error as error:
                log.warning("a pass over the queues failed: %s", error)
            await asyncio.sleep(interval * (0.75 + self.rng.random() / 2))

    async def poll_deletions(self) -> int:
        """One pass; returns how many due sagas were found. An error in one shard doesn't stop the others."""
        found = 0
        failure: Brain2Error | None = None
        # In random order, so that replicas which start together share the shards.
        for shard in sorted(range(self.queue.shards), key=lambda _: self.rng.random()):
            try:
                if await self.leases.acquire(shard, self.owner, self.deletions.clock.now_ms(), self.lease_ms):
                    found += await self._poll_shard(shard)
            except Brain2Error as error:
                failure = error
        if failure is not None:
            raise failure
        return found

    async def _poll_shard(self, shard: int) -> int:
        now = self.deletions.clock.now_ms()

        async def record(page: list[QueueEntry]) -> None:
            await record_lost_deletions(self.deletions, [(entry.user_id, entry.node_id) for entry in page])

        async def submit(page: list[QueueEntry]) -> None:
            for entry in page:
                await self.submit(entry.user_id, entry.node_id)

        await _each_page(lambda after: self.queue.due(shard, now, after, _PAGE), record)
        found = 0
        for state in (State.RUNNING, State.PENDING):

            async def read(after: str, state: State = state) -> list[QueueEntry]:
                return await self.deletions.store.list_by_state(state, shard, now, after, _PAGE)

            found += await _each_page(read, submit)
        return found


async def _each_page(read: Read, do: Callable[[list[QueueEntry]], Awaitable[None]]) -> int:
    after, count = "", 0
    for _ in range(_PAGES):
        page = await read(after)
        await do(page)
        count += len(page)
        if len(page) < _PAGE:
            break
        after = page[-1].position
    return count
