"""Enables Redis when its lists are correct, and delivers the invalidations that could not be delivered before.

When the connection was lost, nothing in Redis is read until the instance that answers is identified (a restarted or
promoted one may have lost invalidations, so its lists have other keys) and the journal is replayed: the invalidations
of writes that were committed while Redis was away from somebody.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from services.graph_service.ports import EdgeStore, JournalEntry, ListCache
from services.graph_service.usecases.list_lookup import ListLookup
from shared.errors import Brain2Error, Unavailable
from shared.resilience.pace import IdlePace

log = logging.getLogger(__name__)
# Reads of an empty journal after which further ones are left out, and how many of them: it is read every fifth period.
_EMPTY_READS = 10
_RESTS = 4
# Seconds to wait after a lost connection: one that is lost again and again must not keep the process busy.
_WAKE_PAUSE = 0.05


class RecoverableCache(ListCache, Protocol):
    """A ListCache that is disabled when its contents may be stale."""

    @property
    def enabled(self) -> bool:
        """Whether lists may be read from it."""

    async def identify_instance(self) -> None:
        """Find out which instance answers. begin() and finish() work afterwards. Unavailable: none answers."""

    async def check_instance(self) -> None:
        """Disable the cache if another instance answers, after a failover. Unavailable: none answers."""

    def enable(self) -> None:
        """Read lists from it, if it is still the identified instance that answers."""


class CacheRecovery:
    """period: seconds between two steps.

    Five periods bound how long a reader without a token may see the lists of before an outage; one period does while
    the journal has entries.
    """

    def __init__(self, store: EdgeStore, cache: RecoverableCache, lookup: ListLookup, *, period: float = 1.0) -> None:
        self._store = store
        self._cache = cache
        self._lookup = lookup
        self._period = period
        self._answering = True
        # The instance that was in use last.
        self._space = ""
        self._pace = IdlePace(after=_EMPTY_READS, rests=_RESTS)
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Run steps without end, for Lifecycle.supervise."""
        while True:
            await self.try_step()
            try:
                async with asyncio.timeout(self._period):
                    await self.wake.wait()
                self.wake.clear()
                self._pace.busy()
                await asyncio.sleep(_WAKE_PAUSE)
            except TimeoutError:
                pass

    async def try_step(self) -> None:
        """A step that logs its failure: DynamoDB may be away."""
        try:
            await self.step()
        except Brain2Error as error:
            log.warning("the journal could not be read", extra={"error": repr(error)})

    async def step(self) -> None:
        """Replay the journal, and enable Redis if it is disabled and answers."""
        entries: Sequence[JournalEntry] = ()
        if self._pace.due():
            # A read that is not consistent costs half, and the next one sees what it misses.
            entries = await self._store.journal_entries(consistent=False)
            self._pace.found(bool(entries))
        for entry in entries:
            self._lookup.invalidate(entry.invalidation.user_id, entry.invalidation.node_ids)
        try:
            await self._cache.check_instance()
        except Unavailable:
            pass  # the calls that need Redis report it
        if not self._cache.enabled:
            await self._recover()
        elif entries:
            await self._replay(entries)

    async def _recover(self) -> None:
        try:
            await self._cache.identify_instance()
            # The journal is read after the instance is identified: a write that found Redis unreachable before is in
            # it now, and a write that comes later reaches Redis.
            while entries := await self._store.journal_entries():
                if not await self._replay(entries):
                    return
            self._cache.enable()
        except Unavailable as error:
            if self._answering:
                log.warning("Redis doesn't answer; lists are read from DynamoDB", extra={"error": repr(error)})
            self._answering = False
            return
        if self._cache.enabled:
            if self._cache.space != self._space:
                # The stamps of the lists in memory are times of the former instance: no token of this one is to be
                # compared with them.
                self._lookup.memory.clear()
                self._space = self._cache.space
            log.info("Redis is in use", extra={"space": self._cache.space})
            self._answering = True

    async def _replay(self, entries: Sequence[JournalEntry]) -> bool:
        """Whether all invalidations were delivered; those that were are removed from the journal."""
        done: list[JournalEntry] = []
        try:
            for entry in entries:
                await self._cache.finish(entry.invalidation, entry.id)
                done.append(entry)
        except Unavailable:
            return False
        finally:
            if done:
                await self._store.delete_journal_entries(done)
        return True
