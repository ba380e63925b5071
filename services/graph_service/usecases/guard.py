"""Decides when Redis may be believed, and replays what it wasn't told.

After a lost connection nothing in Redis is trusted until it is known which instance answers (a restarted or promoted
one may have forgotten invalidations, so its lists live under another name) and until the journal has been replayed: the
writes that were committed while somebody couldn't reach Redis.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from services.graph_service.ports import EdgeStore, Journal, ListCache
from services.graph_service.usecases.adjacency import Adjacency
from shared.errors import Brain2Error, Unavailable

log = logging.getLogger(__name__)


class Trust(Protocol):
    """The switch of a ListCache."""

    @property
    def trusted(self) -> bool: ...

    async def probe(self) -> None:
        """Find out which instance answers; begin() and finish() work from then on. Unavailable when none does."""

    async def verify(self) -> None:
        """Notice that another instance answers (a failover that nobody told us of). Unavailable when none does."""

    def trust(self) -> None:
        """Let it serve, if the instance that was probed still is the one that answers."""


class TrustedCache(ListCache, Trust, Protocol):
    """A cache that can be doubted."""


class Guard:
    """One step a second is enough: it bounds how long a reader that has no token may see the list of before an
    outage.
    """

    def __init__(self, store: EdgeStore, cache: TrustedCache, adjacency: Adjacency, *, period: float = 1.0) -> None:
        self._store = store
        self._cache = cache
        self._adjacency = adjacency
        self._period = period
        self._said = True
        self.kick = asyncio.Event()

    async def run(self) -> None:
        """For Lifecycle.supervise."""
        while True:
            await self.attempt()
            try:
                async with asyncio.timeout(self._period):
                    await self.kick.wait()
                self.kick.clear()
                await asyncio.sleep(0.05)  # a connection that flaps must not make us spin
            except TimeoutError:
                pass

    async def attempt(self) -> None:
        """A step that may fail: DynamoDB may be away, too."""
        try:
            await self.step()
        except Brain2Error as error:
            log.warning("the journal could not be read", extra={"error": repr(error)})

    async def step(self) -> None:
        """Replay the journal, and trust Redis again if it was lost and answers."""
        entries = await self._store.journaled()
        for entry in entries:
            self._adjacency.invalidate(entry.touched.user, entry.touched.notes)
        try:
            await self._cache.verify()
        except Unavailable:
            pass  # each call finds that out by itself
        if not self._cache.trusted:
            await self._recover()
        elif entries:
            await self._replay(entries)

    async def _recover(self) -> None:
        try:
            await self._cache.probe()
            # Asked again after the probe: a write that found Redis unreachable before it is in the journal now, and a
            # write that comes later finds it reachable.
            while entries := await self._store.journaled():
                if not await self._replay(entries):
                    return
            self._cache.trust()
        except Unavailable as error:
            if self._said:
                log.warning("Redis doesn't answer: reading from DynamoDB", extra={"error": repr(error)})
            self._said = False
            return
        if self._cache.trusted:
            log.info("Redis is in use", extra={"space": self._cache.space})
            self._said = True

    async def _replay(self, entries: Sequence[Journal]) -> bool:
        done: list[Journal] = []
        try:
            for entry in entries:
                await self._cache.finish(entry.touched, entry.id)
                done.append(entry)
        except Unavailable:
            return False
        finally:
            if done:
                await self._store.unjournal(done)
        return True
