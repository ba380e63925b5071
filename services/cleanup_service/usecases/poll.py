"""Finds what is due without anybody having to remember it: the reason why no lost event, no crash and no full queue of
ours loses a deletion.

Each pass looks at every shard that no other replica holds: first the deletion queue for notes whose event was lost,
then the sagas that are due, waiting or abandoned. Nothing here needs to be exact: sagas have leases of their own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.cleanup_service.model.saga import SHARDS, State
from services.cleanup_service.ports import DeletionQueue, Due, SagaStore, ShardLeases
from services.cleanup_service.usecases.intake import Intake
from shared.errors import Brain2Error
from shared.ids import Clock
from shared.resilience.retry import Rng

log = logging.getLogger("brain2.cleanup")

_PAGE = 100
# Pages of one shard in one pass: a backlog must not keep a replica on one shard for ever.
_PAGES = 50

Read = Callable[[str], Awaitable[list[Due]]]


class Poller:
    """submit: waits until this process has room, then has the saga run."""

    def __init__(
        self,
        *,
        store: SagaStore,
        queue: DeletionQueue,
        leases: ShardLeases,
        intake: Intake,
        submit: Callable[[str, str], Awaitable[None]],
        clock: Clock,
        rng: Rng,
        owner: str,
        lease_ms: int = 30_000,
    ) -> None:
        self._store = store
        self._queue = queue
        self._leases = leases
        self._intake = intake
        self._submit = submit
        self._clock = clock
        self._rng = rng
        self._owner = owner
        self._lease_ms = lease_ms

    async def run(self, interval: float) -> None:
        """Passes for ever, `interval` seconds apart, jittered by half so that replicas drift apart."""
        while True:
            try:
                await self.poll()
            except Brain2Error as error:
                log.warning("a pass over the queues failed: %s", error)
            await asyncio.sleep(interval * (0.75 + self._rng.random() / 2))

    async def poll(self) -> int:
        """One pass; how many sagas were found due. One shard that fails does not stop the others."""
        found = 0
        failure: Brain2Error | None = None
        # Each replica in an order of its own, else the first in line would take every shard each time.
        for shard in sorted(range(SHARDS), key=lambda _: self._rng.random()):
            try:
                if await self._leases.acquire(shard, self._owner, self._clock.now_ms(), self._lease_ms):
                    found += await self._look_after(shard)
            except Brain2Error as error:
                failure = error
        if failure is not None:
            raise failure
        return found

    async def _look_after(self, shard: int) -> int:
        now = self._clock.now_ms()

        async def adopt(page: list[Due]) -> None:
            await self._intake.adopt([(due.user_id, due.node_id) for due in page])

        async def submit(page: list[Due]) -> None:
            for due in page:
                await self._submit(due.user_id, due.node_id)

        await _each(lambda after: self._queue.due(shard, now, after, _PAGE), adopt)
        found = 0
        for state in (State.RUNNING, State.PENDING):

            async def read(after: str, state: State = state) -> list[Due]:
                return await self._store.by_attention(state, shard, now, after, _PAGE)

            found += await _each(read, submit)
        return found


async def _each(read: Read, do: Callable[[list[Due]], Awaitable[None]]) -> int:
    after, count = "", 0
    for _ in range(_PAGES):
        page = await read(after)
        await do(page)
        count += len(page)
        if len(page) < _PAGE:
            break
        after = page[-1].position
    return count
