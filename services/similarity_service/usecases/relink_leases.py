"""The durable queue of relinking: which process still has notes of which user to relink (docs/relinking.md).

Before the event of a note is acknowledged, an entry states that a process has notes of the user to relink, of those
that were written from a certain time on. An entry is a lease: its owner renews it while there is something to relink,
and removes it afterwards. When it has expired, any process takes it over.

A user's notes come to several processes, and one of them relinks them: a process that finds the entry of another adds
its notes to that entry and has nothing to relink itself. Two that wrote entries at the same time find each other's
before they relink.
"""

import asyncio
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import blake2b

from services.similarity_service.ports import CHANGED, PendingRelink, PendingRelinkStore
from shared.ids import Clock

# An entry takes so many added notes, at most, until its owner collects them: an item has 400 KB.
_MOST_ADDED = 1_500


@dataclass(slots=True)
class RelinkLease:
    """One user's entry as this process knows it.

    since_ms: inf when there is no entry. until: monotonic seconds; -inf while it is not known what is stored, because a
        write is on its way, or its answer got lost: then the entry is written again before anything relies on it.
    added: notes that other processes have added, and since when they may have been written (ms), until take_added().
    """

    user_id: str
    since_ms: float = math.inf
    until: float = -math.inf
    added: dict[str, int] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take_added(self) -> dict[str, int]:
        """The added notes, which the caller has to relink from now on."""
        taken, self.added = self.added, {}
        return taken


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

    async def cover(self, lease: RelinkLease, since_ms: int, node_ids: Collection[str]) -> bool:
        """Return when an entry is stored that covers these notes, written from since_ms on.

        Whether it is this process's own entry; otherwise the notes were added to another's, whose process relinks them.
        Unavailable if that fails.
        """
        async with lease.lock:
            if lease.since_ms == math.inf:
                mine = PendingRelink(lease.user_id, self._owner, since_ms, 0, _ids(node_ids))
                theirs = self._chosen(mine, await self._store.of_user(lease.user_id), only_others=True)
                if theirs is not None and await self._store.add(theirs, since_ms, mine.added, self._clock.now_ms()):
                    return False
            while since_ms < lease.since_ms or self._is_old(lease):
                entry = self._entry(lease, min(since_ms, lease.since_ms))
                lease.since_ms, lease.until = entry.since_ms, -math.inf
                if await self._store.put(entry):
                    self._set(lease, entry)
                else:
                    await self._collect(lease)
            return True

    async def look(self, lease: RelinkLease, notes: Callable[[], Collection[str]]) -> bool:
        """Look at the user's entries before relinking; whether this process is to relink the user.

        If it is, lease.added gets what others have added. If not, the notes were handed over to another process,
        together with the entry.
        notes: gives the notes of this process, at the moment when they are handed over.
        """
        async with lease.lock:
            if lease.since_ms == math.inf:
                return True
            entries = await self._store.of_user(lease.user_id)
            if any(each.owner == self._owner and each.added for each in entries):
                await self._collect(lease)
                if lease.since_ms == math.inf:
                    return True  # it was taken over, or the user was erased, since it was read
            mine = PendingRelink(lease.user_id, self._owner, int(lease.since_ms), 0, _ids({*notes(), *lease.added}))
            theirs = self._chosen(mine, entries)
            if theirs is None:
                return True
            lease.until = -math.inf
            if not await self._store.hand_over(mine, theirs, self._clock.now_ms()):
                return True
            lease.since_ms = math.inf
            lease.added.clear()
            return False

    async def renew(self, lease: RelinkLease, since_ms: float) -> None:
        """Renew the entry if half of its time is over. since_ms: everything that was written before it is relinked.

        lease.added gets what others have added meanwhile.
        """
        async with lease.lock:
            if self._is_old(lease) and lease.since_ms < math.inf:
                await self._renew(lease, since_ms)

    async def release(self, lease: RelinkLease) -> None:
        """Remove the entry: nothing is left to relink. It stays if others have added notes; lease.added gets them."""
        async with lease.lock:
            if lease.since_ms < math.inf:
                lease.until = -math.inf
                if await self._store.remove(lease.user_id, self._owner):
                    lease.since_ms = math.inf
                else:
                    await self._collect(lease)

    async def expire(self, lease: RelinkLease) -> None:
        """Let the entry expire now, so that another process takes it over at once."""
        async with lease.lock:
            while lease.since_ms < math.inf:
                now = self._clock.now_ms()
                if await self._store.renew(PendingRelink(lease.user_id, self._owner, int(lease.since_ms), now)):
                    lease.until = -math.inf
                    return
                await self._collect(lease)

    async def expired(self) -> list[PendingRelink]:
        """Expired entries of any process. One of this process is possible: its write's answer was lost."""
        return list(await self._store.expired(self._clock.now_ms()))

    async def take(self, lease: RelinkLease, theirs: PendingRelink) -> bool:
        """Replace an expired entry by one of this process.

        False when it was renewed, notes were added to it, or another process took it.
        """
        async with lease.lock:
            if theirs.owner == self._owner:
                lease.since_ms = min(lease.since_ms, theirs.since_ms)
                await self._renew(lease, lease.since_ms)
                return lease.since_ms < math.inf
            if lease.since_ms < math.inf:
                await self._collect(lease)  # or what others have added would keep the entry from being written
            before, entry = lease.since_ms, self._entry(lease, min(theirs.since_ms, lease.since_ms))
            lease.since_ms, lease.until = entry.since_ms, -math.inf
            taken = await self._store.take(theirs, entry)
            if taken:
                self._set(lease, entry)
            else:
                lease.since_ms = before
            return taken

    async def _renew(self, lease: RelinkLease, since_ms: float) -> None:
        """Write the times of an entry, if it is still there."""
        entry = self._entry(lease, since_ms)
        if not await self._store.renew(entry):
            await self._collect(lease)
            if lease.since_ms == math.inf:
                # Another process took the entry over and relinks the same notes, or the user was erased.
                return
            entry = self._entry(lease, min([since_ms, *lease.added.values()]))
            if not await self._store.renew(entry):
                return  # notes were added once more: the next round renews it
        self._set(lease, entry)

    async def _collect(self, lease: RelinkLease) -> None:
        """Move what others have added to the entry into lease.added. An entry that is gone is one no longer.

        The notes are in memory before they are removed from the entry: the answer to that may get lost.
        """
        while (entry := await self._store.get(lease.user_id, self._owner)) is not None:
            lease.since_ms = min(lease.since_ms, entry.since_ms)
            for node_id in entry.added:
                lease.added[node_id] = min(entry.since_ms, lease.added.get(node_id, entry.since_ms))
            if not entry.added or await self._store.remove_added(entry):
                return
        lease.since_ms = math.inf

    def _chosen(
        self, mine: PendingRelink, entries: Collection[PendingRelink], *, only_others: bool = False
    ) -> PendingRelink | None:
        """The entry of another process that is to have the notes of mine; None when this process is to keep them.

        Every process chooses the same one of several entries, and for each user another one.
        """
        now = self._clock.now_ms()
        others = [
            each
            for each in entries
            if each.open
            and each.owner != self._owner
            and each.until_ms > now
            and len(each.added | mine.added) <= _MOST_ADDED
        ]
        best = min(others if only_others else [mine, *others], key=_draw, default=None)
        return None if best is mine else best

    def _is_old(self, lease: RelinkLease) -> bool:
        return self._clock.monotonic() > lease.until - self.lease_seconds / 2

    def _entry(self, lease: RelinkLease, since_ms: float) -> PendingRelink:
        now = self._clock.now_ms()
        # inf: nothing is left to relink, and the entry is about to be removed.
        since = now if since_ms == math.inf else int(since_ms)
        return PendingRelink(lease.user_id, self._owner, since, now + round(self.lease_seconds * 1000))

    def _set(self, lease: RelinkLease, entry: PendingRelink) -> None:
        # Its time began before it was written, which may have taken long. The clock may have been set back since.
        left = min((entry.until_ms - self._clock.now_ms()) / 1000, self.lease_seconds)
        lease.since_ms, lease.until = entry.since_ms, self._clock.monotonic() + left


def _ids(node_ids: Collection[str]) -> frozenset[str]:
    return frozenset(node_ids) or frozenset({CHANGED})


def _draw(entry: PendingRelink) -> bytes:
    return blake2b(f"{entry.user_id}#{entry.owner}".encode(), digest_size=8).digest()
