"""The indexes of the active users, in memory within a bound, each as fresh as the change log at each query.

An index is loaded from the records at its first query. Each later query first reads what was appended to the log since
the one before, and applies it. When the log has a gap, the index is loaded again. When the log can't be reached, the
index is compared with the records, at most every few seconds: answers may then be that much older than what other
processes wrote. What this process writes is applied at once in any case.

The node service announces a deletion or a restore while it writes it: the log has the change then, and no record. A
process that reads the log, or loads the index, applies it to the record, unless that is newer. It does so until the
announcement is withdrawn or has ended by itself. The index of wiki links keeps a note whose deletion is announced,
because edges are stored by it, and the deletion may be refused. Answers from it leave out what the index of texts does
not have.
"""

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from services.similarity_service.model.engine.codec import is_outdated, title_of
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.loading import Loading
from services.similarity_service.model.link_index import LinkIndex
from services.similarity_service.model.note import Note
from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import Announcement, ChangeLog, LogEntry, LogGap, Records
from services.similarity_service.usecases import text_worker
from shared.errors import Brain2Error, Unavailable
from shared.ids import Clock
from shared.resilience import foreground
from shared.resilience.singleflight import SingleFlight

log = logging.getLogger(__name__)
T = TypeVar("T")
K = TypeVar("K")
# Whether a query takes more than a few milliseconds, or how that follows from the index.
Long = bool | Callable[[UserIndex], bool]

# After this many applied notes, other tasks may run on the event loop.
_STEP = 8
# Indexes that are loaded at the same time; each takes about twice its memory meanwhile.
_LOADS = 4
# Above this many notes, an index is built in a thread.
_FEW = 50
# Above this many notes, a query runs in a thread.
_LARGE = 150_000
# Where a note takes more bytes of the index than this on average, comparing a few notes takes long, too.
_LONG_NOTE_BYTES = 20_000
# A note of more different terms than this is added, and its keywords are found, in a thread.
_MANY_TERMS = 500
# Without the log, an index is compared with the records at most every so many seconds. Between two comparisons pass at
# least so many times the seconds that one takes.
_COMPARE_SECONDS = 3.0
_COMPARE_SHARE = 20.0
# An index with more removed notes than this, and a larger share of them than this, is loaded again.
_WASTE_NOTES = 1_000
_WASTE_SHARE = 0.3
# An announcement ends so long after it was appended, in every process at the same time: longer than the node service
# may take to write and store the change. If it died meanwhile, the event brings the change, or there is none.
ANNOUNCED_SECONDS = 15.0
# Stands in the log in the place of a note's id (no id has an asterisk): the index must be loaded again.
EVERYTHING = "*"
_LOAD_AGAIN = LogEntry(EVERYTHING, 0, 0, True)
# The revisions of so many records that were applied to an index are known: more than are being published at one time.
_MOST_APPLIED = 10_000
# Above this many changes of a user that could not be appended, the index is loaded again instead: they would take too
# much memory, and more than a connection to Redis takes at one time.
_MOST_UNPUBLISHED = 1_000


@dataclass(frozen=True, slots=True)
class _Announced:
    """A change of visibility that is not stored. until: when the announcement ends, in monotonic seconds."""

    incarnation: int
    version: int
    visible: bool
    until: float

    def applied(self, stored: Stored) -> Stored | None:
        """The record with this change; None when the record is as new. It may come without its note."""
        if (self.incarnation, self.version) <= (stored.incarnation, stored.state_version):
            return None
        return stored.with_visibility(self.version, visible=self.visible, incarnation=self.incarnation)


class CachedIndex:
    """An index in memory, and the position up to which it has the log."""

    def __init__(self, index: UserIndex, links: LinkIndex, position: str | None, now: float) -> None:
        self.index = index
        self.links = links
        # None: the index must be compared with the records, because the log could not be read.
        self.position = position
        self.compared_at = now
        self.compare_seconds = 0.0
        self.lock = asyncio.Lock()
        self.bytes = index.nbytes + links.nbytes
        self.sized_at = index.epoch
        # By note and announcement_id: the changes that were announced and are not known to be stored.
        self._announced: dict[str, dict[str, _Announced]] = {}
        # By note: incarnation and revision of the newest record that was applied.
        self._applied: dict[str, tuple[int, float]] = {}

    def may_be_older(self, node_id: str, stored: Stored) -> bool:
        """Whether a record that this process wrote may be older than what was applied: the log confirms such records in
        any order. Nothing is lost without it: its entry in the log leads to the newest record.
        """
        incarnation, revision = self._applied.get(node_id, (0, 0))
        # A record that is made after another one was erased begins to count again.
        return stored.incarnation <= incarnation and stored.revision < revision

    def has_applied(self, node_id: str, incarnation: int, revision: float) -> None:
        """revision: infinite for a state of which the log tells no revision."""
        if len(self._applied) >= _MOST_APPLIED:
            self._applied.clear()
        self._applied[node_id] = incarnation, revision

    def add_announcements(self, entries: Sequence[LogEntry], now: float) -> None:
        """Apply these changes to what is read of their notes from now on, but for those that are withdrawn."""
        for entry in entries:
            if (announcement := entry.announcement) is None:
                continue
            of_note = self._announced.setdefault(entry.node_id, {})
            if announcement.withdrawn:
                of_note.pop(announcement.announcement_id, None)
            else:
                until = now + ANNOUNCED_SECONDS - entry.age
                change = _Announced(entry.incarnation, announcement.version, entry.visible, until)
                of_note[announcement.announcement_id] = change
            if not of_note:
                del self._announced[entry.node_id]

    def hides(self, node_id: str) -> bool:
        """Whether the index lacks a note, and not because of an announcement."""
        return node_id not in self.index and node_id not in self._announced

    def ended(self, now: float) -> list[str]:
        """The notes with announcements that have ended by themselves."""
        return [
            node_id
            for node_id, changes in self._announced.items()
            if any(change.until <= now for change in changes.values())
        ]

    def current(self, node_id: str, stored: Stored, now: float) -> Stored:
        """A record with the changes of its note that are announced and newer."""
        newer = self._newer(node_id, stored, now).values()
        for change in sorted(newer, key=lambda change: (change.incarnation, change.version)):
            stored = change.applied(stored) or stored
        return stored

    def end_announcements(self, node_id: str, stored: Stored, now: float) -> None:
        """Forget the changes of a note that have ended, or are stored. The index must have its record from now on."""
        if newer := self._newer(node_id, stored, now):
            self._announced[node_id] = newer
        else:
            self._announced.pop(node_id, None)

    def _newer(self, node_id: str, stored: Stored, now: float) -> dict[str, _Announced]:
        """The changes of a note that are announced, have not ended, and are newer than its record."""
        announced = self._announced.get(node_id, {})
        return {
            announcement_id: change
            for announcement_id, change in announced.items()
            if change.until > now and change.applied(stored) is not None
        }


class IndexCache:
    """Answers queries from users' indexes: `await cache.query(user_id, lambda index: ...)`.

    max_bytes: above this, the indexes that were queried least recently are dropped.
    """

    def __init__(
        self,
        records: Records,
        change_log: ChangeLog,
        clock: Clock,
        *,
        max_bytes: int,
    ) -> None:
        self._records = records
        self._log = change_log
        self._clock = clock
        self._max_bytes = max_bytes
        self._cached: OrderedDict[str, CachedIndex] = OrderedDict()
        self._loading: SingleFlight[CachedIndex] = SingleFlight()
        self._slots = asyncio.Semaphore(_LOADS)
        self._unpublished: dict[str, dict[str, LogEntry]] = {}
        self._outdated: dict[str, list[str]] = {}
        self.loads = 0

    @property
    def nbytes(self) -> int:
        """Memory of all indexes, bytes."""
        return sum(cached.bytes for cached in self._cached.values())

    @property
    def users(self) -> list[str]:
        """The users whose indexes are in memory, the least recently queried first."""
        return list(self._cached)

    async def query(self, user_id: str, read: Callable[[UserIndex], T], *, long: Long = False) -> T:
        """read(index), of an index that has all that is in the log now. read() must not keep or change the index.

        long: it may take more than a few milliseconds.
        """
        return await self.query_both(user_id, lambda index, _: read(index), long=long)

    async def query_both(self, user_id: str, read: Callable[[UserIndex, LinkIndex], T], *, long: Long = False) -> T:
        """As query(), of both indexes in the same state."""
        cached = await self._fresh(user_id)
        async with cached.lock:
            if _is_slow(cached) or (long(cached.index) if callable(long) else long):
                return await text_worker.run(lambda: read(cached.index, cached.links))
            return read(cached.index, cached.links)

    async def query_each(
        self,
        user_id: str,
        items: Sequence[K],
        read: Callable[[UserIndex, K], T],
        *,
        long: Callable[[K], bool] = lambda _: False,
    ) -> list[T]:
        """read(index, item) of each item, as query(), with one look at the log. Running calls come before each item."""
        cached = await self._fresh(user_id)
        found: list[T] = []
        for item in items:
            await foreground.turn()
            async with cached.lock:
                if long(item) or _is_slow(cached):
                    found.append(await text_worker.run(partial(read, cached.index, item)))
                else:
                    found.append(read(cached.index, item))
        return found

    async def query_links(
        self, user_id: str, read: Callable[[LinkIndex], T], *, long: Callable[[LinkIndex], bool] = lambda _: False
    ) -> T:
        """As query(), of the index of wiki links."""
        cached = await self._fresh(user_id)
        async with cached.lock:
            if long(cached.links):
                return await text_worker.run(lambda: read(cached.links))
            return read(cached.links)

    async def publish(self, user_id: str, changed: Sequence[tuple[str, Stored]]) -> None:
        """Append changed records to the log, and apply them to the index in this process."""
        await self._append(user_id, changed)
        await self.adopt(user_id, changed)

    async def adopt(self, user_id: str, written: Sequence[tuple[str, Stored]]) -> None:
        """Apply records to the index in this process that another one has written under the version known here."""
        cached = self._cached.get(user_id)
        if cached is not None:
            async with cached.lock:
                await self._apply(cached, [each for each in written if not cached.may_be_older(*each)])
            self._bound(user_id, cached)

    async def announce(
        self, user_id: str, node_id: str, announcement: Announcement, *, visible: bool, incarnation: int
    ) -> bool:
        """Have every process apply, or no longer apply, a change of visibility that is not stored.

        Whether they will: not when the log can't be reached.
        """
        entry = LogEntry(node_id, incarnation, 0, visible, announcement=announcement)
        try:
            await self._log.append(user_id, [entry])
        except Unavailable:
            return False
        return user_id not in self._unpublished

    async def records(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Stored]:
        """The records of notes, with what is announced of them; unknown notes are absent."""
        cached = await self._fresh(user_id)
        found = await self._records.get_many(user_id, node_ids)
        now = self._clock.monotonic()
        return {node_id: cached.current(node_id, stored, now) for node_id, stored in found.items()}

    def hides(self, user_id: str, node_id: str) -> bool:
        """Whether a note is probably hidden: the user's index is in memory and, as it was last read, lacks the note."""
        cached = self._cached.get(user_id)
        return cached is not None and cached.hides(node_id)

    async def republish(self, user_id: str, node_id: str, stored: Stored) -> None:
        """Append a record to the log again: the process that wrote it may have died before it appended it."""
        await self._append(user_id, [(node_id, stored)])

    async def invalidate_everywhere(self, user_id: str) -> None:
        """Make every process load the user's index again, because its language changed."""
        self.drop(user_id)
        try:
            await self._log.append(user_id, [_LOAD_AGAIN])
        except Unavailable:
            self._unpublished.setdefault(user_id, {})[EVERYTHING] = _LOAD_AGAIN

    async def publish_pending(self) -> None:
        """Append what could not be appended earlier."""
        for user_id in list(self._unpublished):
            await self.publish(user_id, ())

    def mark_all_stale(self) -> None:
        """Have every index compared with the records: the connection to the log was lost, and perhaps entries too."""
        for cached in self._cached.values():
            cached.position = None
            cached.compared_at = -math.inf

    def drop(self, user_id: str) -> None:
        """Drop a user's index; the next query loads it again."""
        self._cached.pop(user_id, None)
        self._loading.forget(user_id)

    def forget_computed(self, user_id: str) -> None:
        """Free what many queries of a user's index have had computed, unless another query runs."""
        cached = self._cached.get(user_id)
        if cached is not None and not cached.lock.locked():
            cached.index.forget_computed()

    def take_outdated(self, most: int) -> tuple[str, list[str]]:
        """A user and at most so many of the notes whose records an earlier release wrote; ("", []) when none are known.

        They are found as an index is loaded, and are handed out once.
        """
        for user_id, node_ids in self._outdated.items():
            taken = node_ids[-most:]
            del node_ids[-most:]
            if not node_ids:
                del self._outdated[user_id]
            return user_id, taken
        return "", []

    async def _append(self, user_id: str, changed: Sequence[tuple[str, Stored]]) -> None:
        entries = [LogEntry(node_id, *stored.stamp, stored.shown is not None) for node_id, stored in changed]
        waiting = self._unpublished.pop(user_id, {})
        waiting |= {entry.node_id: entry for entry in entries}
        try:
            await self._log.append(user_id, list(waiting.values()))
        except BaseException as error:
            # publish_pending() appends it later, also when the caller has gone: changes of other calls are among them.
            # Until then the other processes compare with the records.
            waiting |= self._unpublished.get(user_id, {})
            if len(waiting) > _MOST_UNPUBLISHED:
                waiting = {EVERYTHING: _LOAD_AGAIN}
            self._unpublished[user_id] = waiting
            if not isinstance(error, Unavailable):
                raise

    async def _fresh(self, user_id: str) -> CachedIndex:
        cached = self._cached.get(user_id)
        if cached is None:
            cached = await self._loading.do(user_id, lambda: self._load(user_id))
        else:
            self._cached.move_to_end(user_id)
        try:
            if cached.position is None:
                await self._compare(user_id, cached)
                return cached
            await self._catch_up(user_id, cached, await self._log.since(user_id, cached.position))
            await self._end_announcements(user_id, cached)
        except LogGap:
            log.info("the change log has a gap: the index is loaded again", extra={"user_id": user_id})
            self.drop(user_id)
            return await self._loading.do(user_id, lambda: self._load(user_id))
        except Unavailable:
            await self._compare(user_id, cached)
        if cached.index.waste > _WASTE_SHARE and cached.index.size - cached.index.live > _WASTE_NOTES:
            self.drop(user_id)
        return cached

    async def _load(self, user_id: str) -> CachedIndex:
        position, announced = await self._tail(user_id)
        async with self._slots:
            loading, links, outdated = Loading(), LinkIndex(), []
            async for page in self._records.all(user_id):
                loading.take(page)
                outdated += [packed.node_id for packed in page if is_outdated(packed)]
                for packed in page:
                    links.add(packed.node_id, title_of(packed), packed.links)
            index = UserIndex(loading.language)
            if len(loading) > _FEW:
                await asyncio.to_thread(index.load, loading)
            else:
                index.load(loading)
        cached = CachedIndex(index, links, position, self._clock.monotonic())
        await self._apply_announcements(user_id, cached, announced)
        self._cached[user_id] = cached
        if outdated:
            self._outdated[user_id] = outdated
        self.loads += 1
        self._bound(user_id, cached)
        return cached

    async def _tail(self, user_id: str) -> tuple[str | None, Sequence[LogEntry]]:
        """The end of the log, and the announcements before it that may not have ended."""
        try:
            position = await self._log.tail(user_id)
            return position, await self._log.announcements(user_id, position, ANNOUNCED_SECONDS)
        except Brain2Error:
            return None, ()

    async def _apply_announcements(self, user_id: str, cached: CachedIndex, entries: Sequence[LogEntry]) -> None:
        """Apply announcements to an index that was made from the records."""
        if entries:
            cached.add_announcements(entries, self._clock.monotonic())
            stored = await self._records.get_many(user_id, list(dict.fromkeys(entry.node_id for entry in entries)))
            await self._apply(cached, list(stored.items()))

    async def _end_announcements(self, user_id: str, cached: CachedIndex) -> None:
        """Apply the records of the notes whose announcements nobody has confirmed or withdrawn."""
        ended = cached.ended(self._clock.monotonic())
        if ended:
            async with cached.lock:
                await self._apply_records(user_id, cached, ended)
            self._bound(user_id, cached)

    async def _catch_up(self, user_id: str, cached: CachedIndex, entries: Sequence[LogEntry]) -> None:
        if not entries:
            return
        async with cached.lock:
            if cached.position is None:  # marked as stale since the query began: the next query compares
                return
            at = _place(cached.position)
            new = [entry for entry in entries if _place(entry.position) > at]
            if not new:
                return
            if any(entry.node_id == EVERYTHING for entry in new):
                raise LogGap("the user was indexed again")
            cached.add_announcements(new, self._clock.monotonic())
            # Not the last entry of a note alone: it may be of an older state, whose writer was slow to append it.
            unsure = []
            for entry in new:
                if entry.announcement is not None or not _known(cached, entry):
                    unsure.append(entry.node_id)
                elif not entry.visible:
                    cached.has_applied(entry.node_id, entry.incarnation, math.inf)
            if unsure:
                await self._apply_records(user_id, cached, list(dict.fromkeys(unsure)))
            cached.position = new[-1].position
        self._bound(user_id, cached)

    async def _apply_records(self, user_id: str, cached: CachedIndex, node_ids: Sequence[str]) -> None:
        """Read the records of some notes and apply them to an index whose lock is held."""
        stored = await self._records.get_many(user_id, node_ids)
        await self._apply(cached, [(node_id, stored.get(node_id, Stored())) for node_id in node_ids])

    async def _apply(self, cached: CachedIndex, changed: Sequence[tuple[str, Stored]]) -> None:
        """Apply records to an index whose lock is held."""
        index = cached.index
        for start in range(0, len(changed), _STEP):
            shown: list[Note] = []
            now = self._clock.monotonic()
            for node_id, stored in changed[start : start + _STEP]:
                cached.has_applied(node_id, stored.incarnation, stored.revision)
                note = cached.current(node_id, stored, now).shown
                cached.end_announcements(node_id, stored, now)
                known = index.stamp(node_id)
                linking = note or stored.shown
                if linking is None:
                    cached.links.remove(node_id)
                elif known is None or known <= linking.stamp:
                    cached.links.add(node_id, linking.title, linking.links)
                if note is None:
                    index.remove(node_id)
                elif known is None or known <= note.stamp:
                    shown.append(note)
            index.add_all([note for note in shown if not is_long(note)])
            for note in shown:
                if is_long(note):
                    await text_worker.run(partial(index.add, note))
            await asyncio.sleep(0)

    async def _compare(self, user_id: str, cached: CachedIndex) -> None:
        """Compare an index with the records and apply what differs, unless that was done too short a time ago."""
        now = self._clock.monotonic()
        if now - cached.compared_at < max(_COMPARE_SECONDS, _COMPARE_SHARE * cached.compare_seconds):
            return
        position, announced = await self._tail(user_id)
        async with cached.lock:
            cached.compared_at = now
            cached.add_announcements(announced, self._clock.monotonic())
            gone = set(cached.index.ids())
            wanted = []
            async for page in self._records.stamps(user_id):
                for node_id, record in page:
                    stored = cached.current(node_id, record, now)
                    if stored.visible and not stored.gone:
                        gone.discard(node_id)
                        if cached.index.stamp(node_id) != stored.stamp:
                            wanted.append(node_id)
                    elif record.visible and not record.gone:  # its deletion is announced
                        gone.discard(node_id)
                        wanted.append(node_id)
            found = await self._records.get_many(user_id, wanted) if wanted else {}
            await self._apply(cached, [(node_id, found.get(node_id, Stored())) for node_id in (*gone, *wanted)])
            if position is not None:
                cached.position = position
            cached.compare_seconds = self._clock.monotonic() - now
        self._bound(user_id, cached)

    def _bound(self, user_id: str, cached: CachedIndex) -> None:
        """Measure a changed index, and drop the least recently queried ones while memory is over its bound."""
        if cached.sized_at != cached.index.epoch:
            cached.sized_at = cached.index.epoch
            cached.bytes = cached.index.nbytes + cached.links.nbytes
        used = self.nbytes
        for other in list(self._cached):
            if used <= self._max_bytes:
                return
            if other != user_id and not self._cached[other].lock.locked():
                used -= self._cached.pop(other).bytes


def _is_slow(cached: CachedIndex) -> bool:
    """Whether any query of this index would hold the event loop for milliseconds."""
    return cached.index.live > _LARGE or cached.bytes > _LONG_NOTE_BYTES * cached.index.live


def is_long(note: Note) -> bool:
    """Whether work on a note's terms would hold the event loop for milliseconds."""
    return len(note.terms) > _MANY_TERMS


def _place(position: str) -> tuple[int, int]:
    first, _, second = position.partition("/")[0].partition("-")
    return int(first), int(second or 0)


def _known(cached: CachedIndex, entry: LogEntry) -> bool:
    """Whether the index already has the change of an entry (this process made it)."""
    stamp = cached.index.stamp(entry.node_id)
    if entry.visible:
        return stamp is not None and stamp >= (entry.incarnation, entry.version)
    return stamp is None and entry.node_id not in cached.links
