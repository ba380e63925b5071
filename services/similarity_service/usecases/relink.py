"""Relinking: once a user's notes have been at rest for a moment, their automatic links are made what the rule says.

Every note that came is considered again, and those that it is linked to, by the whole rule (model/links.py) over the
notes as they are now. So a burst ends with the same links whatever its order. However many processes index a burst, one
of them relinks it. The states of a user's notes, the durable queue and its leases, and the takeover after a crash:
docs/relinking.md.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.links import RENEWED, Link, Linkers
from services.similarity_service.model.score import METHOD
from services.similarity_service.ports import CHANGED, Graph, PendingRelink, Records, Related
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.relink_leases import RelinkLease, RelinkLeases
from services.similarity_service.usecases.user_settings import UserSettingsCache
from shared.errors import Brain2Error, Unavailable
from shared.ids import Clock
from shared.tracer import NoTracer, Tracer

log = logging.getLogger(__name__)

# Notes whose links are read from the graph in one call.
_BATCH = 100
# All notes of a user are relinked in the end if there are at most this many: a second or two of work.
_WHOLE = 2_000
# Traces that one relinking is linked to at most.
_MOST_CAUSES = 100
# A user's notes must be at rest for at least this many times the seconds that their last relinking took: otherwise a
# slow stream of notes, or a busy machine, would relink the same notes again and again.
_REST = 3.0
# While notes keep coming, the user's entries are looked at so often.
_LOOK_SECONDS = 5.0
_NOTHING = Related({}, frozenset())
# The clocks of two machines may differ by this much.
_CLOCKS_MS = 60_000


@dataclass(slots=True, weakref_slot=True)
class PendingNotes:
    """A user whose notes changed. Times are monotonic seconds, unless they end in _ms (since 1970).

    since, changed_at: when the first note began to wait, and the last change. seen: (epoch, live) of the index then.
    waiting: notes to relink, and since when they may have been written. relinking: those that are being relinked now.
    relinked: those that were relinked lately, and when: they are relinked again when other notes change after them.
    relinked_all: the last relinking was of all notes of the index. relink_seconds: how long it took.
    looked_at: when this process looked at the user's entries.
    causes: the traceparents of the events that the waiting notes came with.
    """

    since: float
    changed_at: float
    lease: RelinkLease
    seen: tuple[int, int] = (-1, -1)
    relinked_seen: tuple[int, int] = (-1, -1)
    relinked_at: float = 0.0
    relinked_all: bool = False
    looked_at: float = -math.inf
    relink_seconds: float = 0.0
    waiting: dict[str, int] = field(default_factory=dict)
    relinking: dict[str, int] = field(default_factory=dict)
    relinked: dict[str, tuple[float, int]] = field(default_factory=dict)
    causes: set[str] = field(default_factory=set)

    @property
    def since_ms(self) -> float:
        """What was written before this time is relinked, and won't be relinked again. inf: everything is."""
        lately = [ms for _, ms in self.relinked.values()]
        times = [*self.waiting.values(), *self.relinking.values(), *self.lease.added.values(), *lately]
        return min(times, default=math.inf)

    def add(self, node_ids: Mapping[str, int]) -> None:
        """Notes wait, each written at this time (ms) or later. CHANGED is no note."""
        for node_id, ms in node_ids.items():
            if node_id != CHANGED:
                self.waiting[node_id] = min(ms, self.waiting.get(node_id, ms))


class Relinker:
    """Relinks the notes that this process is responsible for.

    quiet_seconds: links are made again when nothing has changed for this long.
    most_seconds: a stream of changes delays that by this much at most.
    linger_seconds: for this long, relinked notes are relinked again when others change, here or in another process.
    """

    def __init__(
        self,
        cache: IndexCache,
        settings: UserSettingsCache,
        graph: Graph,
        records: Records,
        leases: RelinkLeases,
        clock: Clock,
        *,
        tracer: Tracer | None = None,
        quiet_seconds: float = 1.5,
        most_seconds: float = 30.0,
        linger_seconds: float = 20.0,
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._graph = graph
        self._records = records
        self._leases = leases
        self._clock = clock
        self._tracer = tracer or NoTracer()
        self._quiet = quiet_seconds
        self._most = most_seconds
        self._linger = linger_seconds
        self._pending: dict[str, PendingNotes] = {}
        # Also of those that are no longer pending, while a call still uses them: a user has one object and one lease.
        self._used: WeakValueDictionary[str, PendingNotes] = WeakValueDictionary()
        self._wake = asyncio.Event()
        self._stopping = False

    @property
    def pending(self) -> int:
        """Notes that are still to be relinked."""
        return sum(len(user.waiting) + len(user.relinking) for user in self._pending.values())

    @property
    def users(self) -> list[str]:
        """The users with notes that wait, or that were relinked lately."""
        return list(self._pending)

    async def schedule(self, user_id: str, node_ids: Iterable[str], since_ms: int) -> None:
        """Have notes relinked, here or by the process that relinks this user's notes now, when they have come to rest.

        The order is durable when the call returns.
        since_ms: a time at or before which the notes were written.
        """
        notes = dict.fromkeys(node_ids, since_ms)
        user = self._add(user_id, notes)
        if await self._leases.cover(user.lease, since_ms, notes):
            # Without this they would be lost if their user was handed over, and dropped here, in the meantime.
            self._add(user_id, notes)
        else:
            self._given_away(user_id, user, notes)

    async def schedule_after_removal(self, user_id: str, since_ms: int) -> None:
        """Have a user relinked after a note was deleted: others may take its places. Durable when the call returns."""
        links = (await self._settings.get(user_id)).settings.auto_link
        if links and await self._cache.query(user_id, lambda index: index.live > 0):
            await self.schedule(user_id, (), since_ms)

    def _user(self, user_id: str) -> PendingNotes:
        user = self._used.get(user_id)
        if user is None:
            now = self._clock.monotonic()
            self._used[user_id] = user = PendingNotes(now, now, RelinkLease(user_id))
        return user

    def _add(self, user_id: str, notes: Mapping[str, int]) -> PendingNotes:
        user = self._pending[user_id] = self._user(user_id)
        self._wait_with(user, notes)
        if len(user.causes) < _MOST_CAUSES and (trace := self._tracer.current()):
            user.causes.add(trace)
        self._wake.set()
        return user

    def _wait_with(self, user: PendingNotes, notes: Mapping[str, int]) -> None:
        """Notes wait, and the quiet time begins again."""
        now = self._clock.monotonic()
        if not user.waiting:
            user.since = now
        user.changed_at = now
        user.add(notes)

    def _take_added(self, user: PendingNotes) -> bool:
        """Have the notes relinked that other processes have added to the entry. Whether there are any."""
        added = user.lease.take_added()
        if added:
            self._wait_with(user, added)  # another process is at work, perhaps with more
        return bool(added)

    def _given_away(self, user_id: str, user: PendingNotes, notes: Iterable[str]) -> None:
        """Another process relinks these notes."""
        for node_id in notes:
            user.waiting.pop(node_id, None)
        if not (user.waiting or user.relinking or user.relinked):
            self._pending.pop(user_id, None)

    async def run(self) -> None:
        """Relink users whose notes are at rest, without end."""
        while True:
            if not self._pending:
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(min(0.25, self._quiet / 2))
            for user_id in list(self._pending):
                try:
                    await self.relink_if_quiet(user_id)
                except Brain2Error as error:
                    log.warning("notes could not be relinked yet", extra={"user_id": user_id, "error": str(error)})
                    if user_id in self._pending:
                        self._pending[user_id].changed_at = self._clock.monotonic()

    async def run_leases(self) -> None:
        """Renew the leases of this process and take over expired ones of others, until stop()."""
        while not self._stopping:
            try:
                await self.renew_and_take_over()
            except Brain2Error as error:
                log.warning("the leases of relinking could not be renewed", extra={"error": str(error)})
            await asyncio.sleep(self._leases.lease_seconds / 6)

    async def renew_and_take_over(self) -> None:
        """One round of run_leases(). An error that concerns one user does not keep it from the others."""
        await _each(self._renew(user) for user in list(self._pending.values()))
        await _each(self._take_over(entry) for entry in await self._leases.expired())

    async def stop(self) -> None:
        """Let all leases expire, because this process ends: another process takes them over at once."""
        self._stopping = True
        # What can't be ended is taken over when it expires.
        await _each(self._leases.expire(user.lease) for user in list(self._pending.values()))

    async def _renew(self, user: PendingNotes) -> None:
        if not self._stopping:
            await self._leases.renew(user.lease, user.since_ms)
            self._take_added(user)

    async def _take_over(self, entry: PendingRelink) -> None:
        written = await self._records.written_since(entry.user_id, entry.since_ms - _CLOCKS_MS)
        node_ids = entry.added | set(written)
        user = self._user(entry.user_id)
        taken = True
        try:
            taken = await self._leases.take(user.lease, entry)
        finally:
            # Also after an error: the entry may have been taken over all the same, and then no other process has its
            # notes.
            if taken:
                self._add(entry.user_id, dict.fromkeys(node_ids, entry.since_ms))
        if taken:
            log.info(
                "relinking notes of a process that ended", extra={"user_id": entry.user_id, "notes": len(node_ids)}
            )

    async def relink_if_quiet(self, user_id: str) -> bool:
        """Relink a user's notes if nothing has changed for long enough, here and in other processes."""
        seen = await self._cache.query(user_id, lambda index: (index.epoch, index.live))
        user = self._pending.get(user_id)
        if user is None:
            return False  # given to another process in the meantime
        now = self._clock.monotonic()
        if seen != user.seen:
            user.seen, user.changed_at = seen, now
            if not user.waiting:
                user.since = now
        if not user.waiting and seen == user.relinked_seen:
            if now - user.relinked_at > self._linger:
                if not user.relinked_all:
                    await self._relink_whole(user_id)
                if user.waiting:
                    return False
                await self._leases.release(user.lease)
                # Whatever was added, the entry is still there. A note may also have come here; it has a new lease.
                if not self._take_added(user) and not user.waiting:
                    self._pending.pop(user_id, None)
            return False
        quiet = max(self._quiet, _REST * user.relink_seconds)
        most = now - user.since >= self._most
        is_due = most or now - user.changed_at >= quiet
        # Two processes that began at the same time find each other early, while they have few notes to hand over. Later
        # looks collect what others add, so that it does not become too much for an entry.
        if is_due or now - user.looked_at >= _LOOK_SECONDS:
            user.looked_at = now
            handed: set[str] = set()

            def notes_now() -> set[str]:
                handed.update(user.waiting, user.relinked)
                return handed

            if not await self._leases.look(user.lease, notes_now):
                user.relinked.clear()
                user.looked_at = -math.inf
                self._given_away(user_id, user, handed)
                return False
            if self._take_added(user):
                is_due = most
        if not is_due:
            return False
        recent = {node_id: ms for node_id, (at, ms) in user.relinked.items() if now - at <= self._linger}
        user.relinking, user.waiting = recent | user.waiting, {}
        try:
            causes, user.causes = user.causes, set()
            links = [{"traceparent": each} for each in sorted(causes)]
            with self._tracer.span("relink", links=links, attributes={"brain2.notes": len(user.relinking)}):
                await self.relink(user_id, list(user.relinking))
        except BaseException:
            user.waiting |= user.relinking
            user.relinking = {}
            raise
        notes, user.relinking = user.relinking, {}
        user.relinked_seen, user.relinked_at = seen, now
        user.relink_seconds = self._clock.monotonic() - now
        user.relinked_all = await self._cache.query(
            user_id, lambda index: index.live <= len(notes) and notes.keys() >= set(index.ids())
        )
        # The time of a note that was relinked before stays as it is. Renewed each time, it would never grow old while
        # notes keep coming.
        user.relinked = {node_id: (user.relinked.get(node_id, (now, 0))[0], ms) for node_id, ms in notes.items()}
        return True

    async def _relink_whole(self, user_id: str) -> None:
        """Relink all notes of a user who has few: counts have drifted, and deletions have left places."""
        if (await self._settings.get(user_id)).settings.auto_link:
            found = await self._cache.query(user_id, lambda index: list(index.ids()) if index.live <= _WHOLE else [])
            await self.relink(user_id, found)

    async def relink(self, user_id: str, node_ids: Sequence[str]) -> None:
        """Make the automatic links of some notes what the rule says over the notes as they are now."""
        linkers = Linkers((await self._settings.get(user_id)).settings)
        asked = set(node_ids)
        # A note that takes a place in another's list takes it from a third one: so partners are considered, too.
        partners: dict[str, None] = {}
        for start in range(0, len(node_ids), _BATCH):
            for other in await self._relink_batch(user_id, node_ids[start : start + _BATCH], linkers):
                if other not in asked:
                    partners[other] = None
        others = list(partners)
        for start in range(0, len(others), _BATCH):
            await self._relink_batch(user_id, others[start : start + _BATCH], linkers)
        self._cache.forget_computed(user_id)

    async def _relink_batch(self, user_id: str, batch: Sequence[str], linkers: Linkers) -> set[str]:
        """Relink some notes. Returns the notes at the other ends of their links."""

        there = await self._graph.related(user_id, batch)
        # Of each pair of notes one link is written, with the contributions as they are from one of the two.
        explained: set[tuple[str, str]] = set()

        def links(index: UserIndex, node_id: str) -> tuple[set[str], Sequence[Link]] | None:
            """The notes to which the note is to be linked, and the links that are new or have another score."""
            if node_id not in index:
                return None
            related = there.get(node_id, _NOTHING)
            new: set[str] = set()

            def is_new(other: str, score: float) -> bool:
                known = related.automatic.get(other, math.inf)
                pair = _pair(node_id, other)
                # Notes that a person has linked need no automatic link.
                if other in related.linked or pair in explained or abs(known - score) < RENEWED:
                    return False
                explained.add(pair)
                new.add(other)
                return True

            # The lists that the rule compares are kept from note to note, as long as the index stays the same.
            found = linkers.of(index).links(node_id, is_new)
            wanted = {link.node_id for link in found if link.node_id not in related.linked}
            return wanted, [link for link in found if link.node_id in new]

        due = dict(zip(batch, await self._cache.query_each(user_id, batch, links), strict=True))
        others: set[str] = set()
        changed: dict[str, Sequence[Link]] = {}
        undue: set[tuple[str, str]] = set()
        kept: set[tuple[str, str]] = set()
        for node_id, found in due.items():
            if found is None:
                continue  # the note was hidden meanwhile: its edges are hidden too, and are shown again with it
            wanted, new = found
            if new:
                changed[node_id] = new
            undue |= {_pair(node_id, other) for other in there.get(node_id, _NOTHING).automatic.keys() - wanted}
            kept |= {_pair(node_id, other) for other in wanted}
            others |= wanted
        if changed and await self._graph.link(user_id, changed, METHOD):
            raise Unavailable("the graph service could not make some links now")
        # The index may have changed between two notes. What the rule says of the later one holds: a link that it keeps
        # stays.
        if undue := undue - kept:
            await self._graph.unlink(user_id, sorted(undue))
        return others


async def _each(works: Iterable[Awaitable[None]]) -> None:
    """Await one after the other. One that fails, for its user's sake perhaps, does not keep the others from it."""
    failed = []
    for work in works:
        try:
            await work
        except Brain2Error as error:
            failed.append(error)
    if failed:
        fields = {"leases": len(failed), "error": str(failed[0])}
        log.warning("leases of relinking could not be renewed, ended or taken over", extra=fields)


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)
