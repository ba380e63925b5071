"""The durable queue of relinking: which process still has notes of which user to relink (docs/relinking.md).

Before the event of a note is acknowledged, an entry states that this process has notes of the user to relink, of those
that were written from a certain time on. An entry is a lease: its owner renews it while there is something to relink,
and removes it afterwards. When it has expired, any process takes it over.
"""

import asyncio
import math
from dataclasses import dataclass, field

from services.similarity_service.ports import PendingRelink, PendingRelinkStore
from shared.ids import Clock


@dataclass(slots=True)
class RelinkLease:
    """One user's entry as this process knows it. since_ms inf: there is no entry. until: monotonic seconds."""

    user_id: str
    since_ms: float = math.inf
    until: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RelinkLeases:
    """The entries of this process.

    owner: a name for the process, new at each start.
    lease_seconds: a lease expires when it was not renewed for this long.
    """

    def __init__(self, store: PendingRelinkStore, clock: Clock, owner: str, lease_seconds: float = 60.0) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self.lease_seconds = lease_seconds

    async def cover(self, lease: RelinkLease, since_ms: int) -> None:
        """Return when the entry is stored and covers what was written from since_ms on. Unavailable if that fails."""
        async with lease.lock:
            if since_ms < lease.since_ms or self._is_old(lease):
                entry = self._entry(lease, min(since_ms, lease.since_ms))
                await self._store.put(entry)
                self._set(lease, entry)

    async def renew(self, lease: RelinkLease, since_ms: float) -> None:
        """Renew the entry if half of its time is over. since_ms: everything that was written before it is relinked."""
        async with lease.lock:
            if self._is_old(lease) and lease.since_ms < math.inf:
                entry = self._entry(lease, since_ms)
                if await self._store.renew(entry):
                    self._set(lease, entry)
                else:
                    # Another process took the entry over and relinks the same notes, or the user was erased.
                    lease.since_ms = math.inf

    async def release(self, lease: RelinkLease) -> None:
        """Remove the entry: nothing is left to relink."""
        async with lease.lock:
            if lease.since_ms < math.inf:
                await self._store.remove(lease.user_id, self._owner)
                lease.since_ms = math.inf

    async def expire(self, lease: RelinkLease) -> None:
        """Let the entry expire now, so that another process takes it over at once."""
        async with lease.lock:
            if lease.since_ms < math.inf:
                now = self._clock.now_ms()
                await self._store.renew(PendingRelink(lease.user_id, self._owner, int(lease.since_ms), now))

    async def expired(self) -> list[PendingRelink]:
        """Expired entries of any process. One of this process is possible: its write's answer was lost."""
        return list(await self._store.expired(self._clock.now_ms()))

    async def take(self, lease: RelinkLease, theirs: PendingRelink) -> bool:
        """Replace an expired entry by one of this process. False when it was renewed or another process took it."""
        if theirs.owner == self._owner:
            await self.cover(lease, theirs.since_ms)
            return True
        async with lease.lock:
            entry = self._entry(lease, min(theirs.since_ms, lease.since_ms))
            taken = await self._store.take(theirs, entry)
            if taken:
                self._set(lease, entry)
            return taken

    def _is_old(self, lease: RelinkLease) -> bool:
        return self._clock.monotonic() > lease.until - self.lease_seconds / 2

    def _entry(self, lease: RelinkLease, since_ms: float) -> PendingRelink:
        now = self._clock.now_ms()
        # inf: nothing is left to relink, and the entry is about to be removed.
        since = now if since_ms == math.inf else int(since_ms)
        return PendingRelink(lease.user_id, self._owner, since, now + round(self.lease_seconds * 1000))

    def _set(self, lease: RelinkLease, entry: PendingRelink) -> None:
        lease.since_ms, lease.until = entry.since_ms, self._clock.monotonic() + self.lease_seconds
