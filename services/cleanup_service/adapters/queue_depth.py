"""How many deletions are due, running or failed: counted by queries on the queue index, no item is read or moved.

A process counts the shards that it polls, whose leases it holds. So the fleet counts each shard once, and the sum over
all processes is the depth of the queue.
"""

import asyncio
from collections.abc import Mapping

from protos import table
from services.cleanup_service.adapters.sagas import DynamoShardLeases
from services.cleanup_service.model.saga import State
from shared.dynamo import Item, Table
from shared.ids import Clock

# Pages of 1 MB that one count reads at most; a count that ends there is too low, and still far above any alarm.
_PAGES = 4


class QueueDepth:
    """read() is the reading of the metric cleanup_queue_depth."""

    def __init__(self, items: Table, leases: DynamoShardLeases, clock: Clock) -> None:
        self._table = items
        self._leases = leases
        self._clock = clock

    async def read(self) -> Mapping[str, float]:
        """The numbers of deletions that are due (and not begun), running, and failed."""
        now = self._clock.now_ms()
        bounds = {State.PENDING: now, State.RUNNING: None, State.FAILED: None}
        shards = self._leases.held

        async def count(state: State, until_ms: int | None) -> int:
            return sum([await self._count(table.saga_partition(state, shard), until_ms) for shard in shards])

        due, running, failed = await asyncio.gather(*(count(state, until) for state, until in bounds.items()))
        return {"due": due, "running": running, "failed": failed}

    async def _count(self, partition: str, until_ms: int | None) -> int:
        found = 0
        start: Item | None = None
        for _ in range(_PAGES):
            page = await self._table.query(
                partition,
                index=table.DELETION_QUEUE,
                after=table.TIME,
                before=table.time_end(until_ms),
                start=start,
                count=True,
            )
            found += page.count
            start = page.next_start
            if start is None:
                break
        return found
