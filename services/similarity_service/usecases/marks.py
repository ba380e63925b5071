"""What a process has promised to settle, written down: so that another keeps the promise when it can't.

Before the event of a note is acknowledged, an entry says that this process has notes of the user to settle, of those
written from a certain time on. It is written once for a burst, renewed while there is something to settle, and removed
when nothing is. An entry that nobody renewed is taken over: whatever was written since its time is settled again, which
does no harm when its owner was only slow.
"""

import asyncio
import math
from dataclasses import dataclass, field

from services.similarity_service.ports import Unsettled, UnsettledStore
from shared.ids import Clock


@dataclass(slots=True)
class Mark:
    """One user's entry as this process knows it. since_ms inf: there is none. until: monotonic."""

    user_id: str
    since_ms: float = math.inf
    until: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Marks:
    """owner: names this process, differently at each start."""

    def __init__(self, store: UnsettledStore, clock: Clock, owner: str, lease_seconds: float = 60.0) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self.lease_seconds = lease_seconds

    async def cover(self, mark: Mark, since_ms: int) -> None:
        """Return when the entry is there and covers what was written from since_ms on. Unavailable when it can't."""
        async with mark.lock:
            if since_ms < mark.since_ms or self._is_old(mark):
                entry = self._entry(mark, min(since_ms, mark.since_ms))
                await self._store.put(entry)
                self._is(mark, entry)

    async def renew(self, mark: Mark, since_ms: float) -> None:
        """Keep the entry, if half of its time is over; everything before since_ms is settled."""
        async with mark.lock:
            if self._is_old(mark) and mark.since_ms < math.inf:
                entry = self._entry(mark, since_ms)
                if await self._store.renew(entry):
                    self._is(mark, entry)
                else:
                    # Somebody took it over and settles what we have heard so far, or the user was erased.
                    mark.since_ms = math.inf

    async def release(self, mark: Mark) -> None:
        """Nothing is left to settle."""
        async with mark.lock:
            if mark.since_ms < math.inf:
                await self._store.remove(mark.user_id, self._owner)
                mark.since_ms = math.inf

    async def hand_over(self, mark: Mark) -> None:
        """Let another take the entry over at once: this process ends."""
        async with mark.lock:
            if mark.since_ms < math.inf:
                now = self._clock.now_ms()
                await self._store.renew(Unsettled(mark.user_id, self._owner, int(mark.since_ms), now))

    async def expired(self) -> list[Unsettled]:
        """Entries that nobody renewed, this process's own included: of a write whose answer was lost."""
        return list(await self._store.expired(self._clock.now_ms()))

    async def take(self, mark: Mark, theirs: Unsettled) -> bool:
        """Make an expired entry this process's own; False when it is alive after all, or another's already."""
        if theirs.owner == self._owner:
            await self.cover(mark, theirs.since_ms)
            return True
        async with mark.lock:
            entry = self._entry(mark, min(theirs.since_ms, mark.since_ms))
            taken = await self._store.take(theirs, entry)
            if taken:
                self._is(mark, entry)
            return taken

    def _is_old(self, mark: Mark) -> bool:
        return self._clock.monotonic() > mark.until - self.lease_seconds / 2

    def _entry(self, mark: Mark, since_ms: float) -> Unsettled:
        now = self._clock.now_ms()
        # Nothing waits to be settled any more (inf): it will be removed soon.
        since = now if since_ms == math.inf else int(since_ms)
        return Unsettled(mark.user_id, self._owner, since, now + round(self.lease_seconds * 1000))

    def _is(self, mark: Mark, entry: Unsettled) -> None:
        mark.since_ms, mark.until = entry.since_ms, self._clock.monotonic() + self.lease_seconds
