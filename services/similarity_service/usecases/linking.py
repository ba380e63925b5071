"""Automatic links: at once when a note comes, and settled when a user's notes have come to rest.

At once, a note is linked to its best. Once nothing of the user has changed for a moment, every note that came is
considered again, and those it was linked to, by the whole rule (model/links.py) over the notes as they are now: links
that are due are made, or made anew if their score has changed; automatic ones that no longer are due are removed. So a
burst ends with the same links whatever its order, and however many processes shared it: each settles what it heard,
over the same notes, and does so again when more follows within a short while. In the end all notes are considered, if
the user has few. What a process has yet to settle is written down (marks.py): when it dies, another settles it.
"""

import asyncio
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.links import RENEWED, Link, Linker
from services.similarity_service.model.score import METHOD
from services.similarity_service.model.user_settings import Settings
from services.similarity_service.ports import Graph, Records, Unsettled
from services.similarity_service.usecases.library import Library
from services.similarity_service.usecases.marks import Mark, Marks
from services.similarity_service.usecases.preferences import Preferences
from shared.errors import Brain2Error
from shared.ids import Clock

log = logging.getLogger(__name__)

# Notes asked of the graph at once.
_BATCH = 100
# Users with so many notes at most are settled whole when they have come to rest: a second or two of work.
_WHOLE = 2_000
# How far the clocks of two machines may differ.
_CLOCKS_MS = 60_000


@dataclass(slots=True)
class _Restless:
    """A user whose notes changed: since when, when last, and what the index was then.

    waiting: notes to be settled, and since when they may have been written (ms since 1970). settling: those that are
    just being settled. settled: those that were, lately, and when; they are settled again when more news follows.
    """

    since: float
    changed_at: float
    marked: Mark
    mark: tuple[int, int] = (-1, -1)
    settled_mark: tuple[int, int] = (-1, -1)
    settled_at: float = 0.0
    waiting: dict[str, int] = field(default_factory=dict)
    settling: dict[str, int] = field(default_factory=dict)
    settled: dict[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def since_ms(self) -> float:
        """What was written before is settled, and won't be settled again."""
        lately = [ms for _, ms in self.settled.values()]
        return min([*self.waiting.values(), *self.settling.values(), *lately], default=math.inf)


class Linking:
    """quiet_seconds: how long nothing must change before links are settled; most_seconds: how long that is put off.

    linger_seconds: how long notes are settled again when others change after them, here or in another process.
    """

    def __init__(
        self,
        library: Library,
        preferences: Preferences,
        graph: Graph,
        records: Records,
        marks: Marks,
        clock: Clock,
        *,
        quiet_seconds: float = 1.5,
        most_seconds: float = 30.0,
        linger_seconds: float = 20.0,
    ) -> None:
        self._library = library
        self._preferences = preferences
        self._graph = graph
        self._records = records
        self._marks = marks
        self._clock = clock
        self._quiet = quiet_seconds
        self._most = most_seconds
        self._linger = linger_seconds
        self._restless: dict[str, _Restless] = {}
        self._wake = asyncio.Event()
        self._leaving = False
        self.settled = 0

    @property
    def pending(self) -> int:
        """Notes whose links are still to be settled."""
        return sum(len(user.waiting) + len(user.settling) for user in self._restless.values())

    @property
    def users(self) -> list[str]:
        """The users who are watched: notes to settle, or settled lately."""
        return list(self._restless)

    async def link(self, user_id: str, node_id: str, since_ms: int) -> Sequence[Link]:
        """Link a note that was just indexed to its best, and have it settled later, whatever happens to this process.

        since_ms: a time at or before which it was written.
        """
        settings = (await self._preferences.of(user_id)).settings
        if not settings.auto_link:
            return []
        found = await self._library.ask(user_id, lambda index: Linker(index, settings).best(node_id))
        await self.consider(user_id, [node_id, *(link.node_id for link in found)], since_ms)
        if found:
            await self._graph.link(user_id, node_id, found, METHOD)
        return found

    async def removed(self, user_id: str, since_ms: int) -> None:
        """A note was deleted: others may take its places. Durable when it returns."""
        links = (await self._preferences.of(user_id)).settings.auto_link
        if links and await self._library.ask(user_id, lambda index: index.live > 0):
            await self.consider(user_id, (), since_ms)

    async def consider(self, user_id: str, node_ids: Iterable[str], since_ms: int) -> None:
        """Have the links of some notes settled when the user's notes have come to rest. Durable when it returns."""
        user = self._note(user_id, node_ids, since_ms)
        await self._marks.cover(user.marked, since_ms)

    def _note(self, user_id: str, node_ids: Iterable[str], since_ms: int) -> _Restless:
        now = self._clock.monotonic()
        user = self._restless.setdefault(user_id, _Restless(now, now, Mark(user_id)))
        if not user.waiting:
            user.since = now
        user.changed_at = now
        for node_id in node_ids:
            user.waiting[node_id] = min(since_ms, user.waiting.get(node_id, since_ms))
        self._wake.set()
        return user

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            if not self._restless:
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(min(0.25, self._quiet / 2))
            for user_id in list(self._restless):
                try:
                    await self.settle_if_quiet(user_id)
                except Brain2Error as error:
                    log.warning("links could not be settled yet", extra={"user": user_id, "error": str(error)})
                    if user_id in self._restless:
                        self._restless[user_id].changed_at = self._clock.monotonic()

    async def keep(self) -> None:
        """For ever: renew what says that there are notes to settle here, and take over what others left behind."""
        while not self._leaving:
            try:
                await self.keep_once()
            except Brain2Error as error:
                log.warning("what is to be settled could not be renewed", extra={"error": str(error)})
            await asyncio.sleep(self._marks.lease_seconds / 6)

    async def keep_once(self) -> None:
        """One round of keep()."""
        for user in list(self._restless.values()):
            await self._marks.renew(user.marked, user.since_ms)
        for entry in await self._marks.expired():
            await self._adopt(entry)

    async def hand_over(self) -> None:
        """Leave what isn't settled to others, at once: this process ends."""
        self._leaving = True
        try:
            for user in list(self._restless.values()):
                await self._marks.hand_over(user.marked)
        except Brain2Error as error:
            log.warning("others settle what is left when its lease is over", extra={"error": str(error)})

    async def _adopt(self, entry: Unsettled) -> None:
        node_ids = await self._records.written_since(entry.user_id, entry.since_ms - _CLOCKS_MS)
        user = self._note(entry.user_id, (), entry.since_ms)
        if await self._marks.take(user.marked, entry):
            log.info("settling what another process left", extra={"user": entry.user_id, "notes": len(node_ids)})
            self._note(entry.user_id, node_ids, entry.since_ms)

    async def settle_if_quiet(self, user_id: str) -> bool:
        """Settle a user's links if its notes have rested long enough, here and elsewhere."""
        user = self._restless[user_id]
        mark = await self._library.ask(user_id, lambda index: (index.epoch, index.live))
        now = self._clock.monotonic()
        if mark != user.mark:
            user.mark, user.changed_at = mark, now
            if not user.waiting:
                user.since = now
        if not user.waiting and mark == user.settled_mark:
            if now - user.settled_at > self._linger:
                await self._settle_whole(user_id)
                if user.waiting:
                    return False
                await self._marks.release(user.marked)
                if not user.waiting:  # something may have come meanwhile, and is covered again
                    del self._restless[user_id]
            return False
        if now - user.changed_at < self._quiet and now - user.since < self._most:
            return False
        recent = {node_id: ms for node_id, (at, ms) in user.settled.items() if now - at <= self._linger}
        user.settling, user.waiting = recent | user.waiting, {}
        try:
            await self.settle(user_id, list(user.settling))
        except BaseException:
            user.waiting |= user.settling
            user.settling = {}
            raise
        notes, user.settling = user.settling, {}
        user.settled_mark, user.settled_at = mark, now
        # Those that were settled before keep their time: a trickle of news must not keep them for ever.
        user.settled = {node_id: (user.settled.get(node_id, (now, 0))[0], ms) for node_id, ms in notes.items()}
        return True

    async def _settle_whole(self, user_id: str) -> None:
        """Settle all of a user with few notes: what drifted with the counts, and places that deletions left."""
        if (await self._preferences.of(user_id)).settings.auto_link:
            found = await self._library.ask(user_id, lambda index: list(index.ids()) if index.live <= _WHOLE else [])
            await self.settle(user_id, found)

    async def settle(self, user_id: str, node_ids: Sequence[str]) -> None:
        """Make the automatic links of some notes what the rule says, over the notes as they are now."""
        settings = (await self._preferences.of(user_id)).settings
        linker: list[Linker] = []
        asked = set(node_ids)
        # A note that takes a place in another's list takes it from a third: so partners are looked at, too.
        partners: dict[str, None] = {}
        for start in range(0, len(node_ids), _BATCH):
            for other in await self._settle(user_id, node_ids[start : start + _BATCH], settings, linker):
                if other not in asked:
                    partners[other] = None
        others = list(partners)
        for start in range(0, len(others), _BATCH):
            await self._settle(user_id, others[start : start + _BATCH], settings, linker)
        self.settled += len(node_ids)

    async def _settle(self, user_id: str, batch: Sequence[str], settings: Settings, linker: list[Linker]) -> set[str]:
        """Settle some notes; the notes at the other ends of their links."""
        due = {node_id: await self._due(user_id, node_id, settings, linker) for node_id in batch}
        there = await self._graph.automatic(user_id, batch)
        others: set[str] = set()
        for node_id, links in due.items():
            if links is None:
                continue  # hidden meanwhile: its edges are hidden too, and come back with it
            wanted = {link.node_id for link in links}
            known = there.get(node_id, {})
            if news := [link for link in links if abs(known.get(link.node_id, math.inf) - link.score) >= RENEWED]:
                await self._graph.link(user_id, node_id, news, METHOD)
            if undue := sorted(known.keys() - wanted):
                await self._graph.unlink(user_id, node_id, undue)
            others |= wanted
        return others

    async def _due(self, user_id: str, node_id: str, settings: Settings, linker: list[Linker]) -> Sequence[Link] | None:
        """The links that a note should have; None if it isn't there. Others get their turn in between."""

        def question(index: UserIndex) -> Sequence[Link] | None:
            # The lists that the rule compares are kept from note to note, as long as the index stays the same.
            if not linker or linker[0].index is not index:
                linker[:] = [Linker(index, settings)]
            return linker[0].links(node_id) if node_id in index else None

        found = await self._library.ask(user_id, question)
        await asyncio.sleep(0)
        return found
