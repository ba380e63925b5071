"""The command replay-erasures: erases again whoever was erased, after the table was restored to a time before.

An erasure that the table knows, done or in progress, is left alone. So a replay on a table that was never restored
changes nothing, and whoever came back as a new user after an erasure that the table knows keeps the new notes.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.cleanup_service.model import erasure as erasures
from services.cleanup_service.model.erasure import Erasure, ErasureRecord
from services.cleanup_service.ports import WriteConflict
from services.cleanup_service.ports.erase_user import ErasureLedger, ErasureStore
from shared.ids import Clock
from shared.resilience.retry import Sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReplay:
    """missing() compares the ledger with the table; replay() starts what is missing, which the running service does.

    poll_seconds: time between two looks at the erasures in progress.
    """

    store: ErasureStore
    ledger: ErasureLedger
    clock: Clock
    poll_seconds: float = 1.0
    sleep: Sleep = asyncio.sleep

    async def missing(self) -> tuple[int, list[ErasureRecord]]:
        """How many erasures the ledger has, and those of them that the table doesn't know, oldest first."""
        # A record may be there twice.
        records = {record.erasure_id: record async for record in self.ledger.read()}
        unknown = [record for record in records.values() if await self.store.get(record.erasure_id) is None]
        return len(records), sorted(unknown, key=lambda record: (record.start_ms, record.erasure_id))

    async def replay(self, records: list[ErasureRecord]) -> AsyncIterator[ErasureRecord]:
        """Carries out these erasures, one of a user at a time, and yields each when it is done."""
        waiting: dict[str, list[ErasureRecord]] = {}
        for record in records:
            waiting.setdefault(record.user_id, []).append(record)
        while waiting:
            for user_id, of_user in list(waiting.items()):
                erasure = await self._started(of_user[0])
                if erasure is not None and erasure.done:
                    yield of_user.pop(0)
                    if not of_user:
                        del waiting[user_id]
            if waiting:
                await self.sleep(self.poll_seconds)

    async def _started(self, record: ErasureRecord) -> Erasure | None:
        """The erasure of this record; None while another erasure of the same user is in progress."""
        found = await self.store.get(record.erasure_id)
        if found is not None:
            return found
        try:
            running = await self.store.begin(erasures.begin_again(record, self.clock.now_ms()))
        except WriteConflict:
            return None
        return running if running.erasure_id == record.erasure_id else None
