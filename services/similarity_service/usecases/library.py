"""The indexes of the users who are active, in memory within a bound, each as fresh as the change log at each question.

An index is loaded from the records when it is first asked for, and kept up by the log: before a question is answered,
what was logged since the last one is read and applied. When the log has a gap, the index is loaded again. When the log
can't be reached, the records are compared instead, at most every few seconds, so answers may then lag behind other
processes by that much; what this process itself writes is applied at once in any case.
"""

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.loading import Loading
from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import Change, ChangeLog, LogGap, Records
from shared.errors import Brain2Error, Unavailable
from shared.ids import Clock
from shared.resilience.singleflight import SingleFlight

log = logging.getLogger(__name__)
T = TypeVar("T")

# Notes applied before others get their turn on the event loop.
_STEP = 8
# Indexes loaded at the same time: each takes about twice its memory meanwhile.
_LOADS = 4
# So many notes are loaded faster than a thread is started.
_FEW = 50
# From this size on a question takes long enough to be worth a thread.
_LARGE = 150_000
# Without the log: seconds between comparisons with the records, and how many times longer than a comparison takes.
_COMPARE_SECONDS = 3.0
_COMPARE_SHARE = 20.0
# An index with so many removed notes, and such a share of them, is loaded again.
_WASTE_NOTES = 1_000
_WASTE_SHARE = 0.3
# In the log in the place of a note's id (no id has an asterisk): load everything again.
EVERYTHING = "*"


class _Shelf:
    def __init__(self, index: UserIndex, position: str | None, now: float) -> None:
        self.index = index
        # None: the log wasn't there when the index was loaded.
        self.position = position
        self.compared_at = now
        self.compare_seconds = 0.0
        self.lock = asyncio.Lock()
        self.bytes = index.nbytes
        self.sized_at = index.epoch


class Library:
    """Answers questions to users' indexes: `await library.ask(user_id, lambda index: ...)`."""

    def __init__(
        self,
        records: Records,
        changes: ChangeLog,
        clock: Clock,
        *,
        max_bytes: int,
    ) -> None:
        self._records = records
        self._changes = changes
        self._clock = clock
        self._max_bytes = max_bytes
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()
        self._loading: SingleFlight[_Shelf] = SingleFlight()
        self._slots = asyncio.Semaphore(_LOADS)
        self._unsaid: dict[str, dict[str, Change]] = {}
        self.loads = 0

    @property
    def nbytes(self) -> int:
        """Memory of all indexes, bytes."""
        return sum(shelf.bytes for shelf in self._shelves.values())

    @property
    def users(self) -> list[str]:
        """Whose indexes are in memory, the least recently asked first."""
        return list(self._shelves)

    async def ask(self, user_id: str, question: Callable[[UserIndex], T]) -> T:
        """question(index), the index being as fresh as the log is now; it must not keep the index or change it."""
        shelf = await self._fresh(user_id)
        async with shelf.lock:
            if shelf.index.live > _LARGE:
                return await asyncio.to_thread(question, shelf.index)
            return question(shelf.index)

    async def tell(self, user_id: str, changed: Sequence[tuple[str, Stored]]) -> None:
        """Tell everybody, and the index here, what the records now say of some notes."""
        await self._say(user_id, changed)
        shelf = self._shelves.get(user_id)
        if shelf is not None:
            async with shelf.lock:
                await self._apply(shelf, changed)
            self._bound(user_id, shelf)

    async def remind(self, user_id: str, node_id: str, stored: Stored) -> None:
        """Tell everybody again what the record of a note says: whoever wrote it may have died before it told."""
        await self._say(user_id, [(node_id, stored)])

    async def tell_everything(self, user_id: str) -> None:
        """Make every process load the user's index again (its language changed)."""
        self.forget(user_id)
        try:
            await self._changes.append(user_id, [Change(EVERYTHING, 0, 0, True)])
        except Unavailable:
            self._unsaid.setdefault(user_id, {})[EVERYTHING] = Change(EVERYTHING, 0, 0, True)

    async def say_again(self) -> None:
        """Append what couldn't be appended when it happened."""
        for user_id in list(self._unsaid):
            await self.tell(user_id, ())

    def distrust(self) -> None:
        """The connection to the log was lost, and perhaps with it what others had said: compare with the records."""
        for shelf in self._shelves.values():
            shelf.position = None
            shelf.compared_at = -math.inf

    def forget(self, user_id: str) -> None:
        """Drop a user's index; the next question loads it again."""
        self._shelves.pop(user_id, None)
        self._loading.forget(user_id)

    # --- parts

    async def _say(self, user_id: str, changed: Sequence[tuple[str, Stored]]) -> None:
        changes = [Change(node_id, *stored.stamp, stored.shown is not None) for node_id, stored in changed]
        waiting = self._unsaid.pop(user_id, {})
        waiting |= {change.node_id: change for change in changes}
        try:
            await self._changes.append(user_id, list(waiting.values()))
        except Unavailable:
            # Said later; until then the others compare with the records.
            self._unsaid[user_id] = waiting | self._unsaid.get(user_id, {})

    async def _fresh(self, user_id: str) -> _Shelf:
        shelf = self._shelves.get(user_id)
        if shelf is None:
            shelf = await self._loading.do(user_id, lambda: self._load(user_id))
        else:
            self._shelves.move_to_end(user_id)
        try:
            if shelf.position is None:
                await self._compare(user_id, shelf)
                return shelf
            await self._catch_up(user_id, shelf, await self._changes.since(user_id, shelf.position))
        except LogGap:
            log.info("the change log has a gap: the index is loaded again", extra={"user": user_id})
            self.forget(user_id)
            return await self._loading.do(user_id, lambda: self._load(user_id))
        except Unavailable:
            await self._compare(user_id, shelf)
        if shelf.index.waste > _WASTE_SHARE and shelf.index.size - shelf.index.live > _WASTE_NOTES:
            self.forget(user_id)
        return shelf

    async def _load(self, user_id: str) -> _Shelf:
        try:
            position: str | None = await self._changes.tail(user_id)
        except (Unavailable, LogGap):
            position = None
        async with self._slots:
            loading = Loading()
            async for page in self._records.all(user_id):
                loading.take(page)
            index = UserIndex(loading.language)
            if len(loading) > _FEW:
                await asyncio.to_thread(index.load, loading)
            else:
                index.load(loading)
        shelf = _Shelf(index, position, self._clock.monotonic())
        self._shelves[user_id] = shelf
        self.loads += 1
        self._bound(user_id, shelf)
        return shelf

    async def _catch_up(self, user_id: str, shelf: _Shelf, changes: Sequence[Change]) -> None:
        if not changes:
            return
        async with shelf.lock:
            if shelf.position is None:  # distrusted since the question came: the next one compares
                return
            at = _place(shelf.position)
            news = [change for change in changes if _place(change.position) > at]
            if not news:
                return
            if any(change.node_id == EVERYTHING for change in news):
                raise LogGap("the user was indexed anew")
            latest = {change.node_id: change for change in news}
            wanted = [change.node_id for change in latest.values() if not _known(shelf.index, change)]
            if wanted:
                stored = await self._records.get_many(user_id, wanted)
                await self._apply(shelf, [(node_id, stored.get(node_id, Stored())) for node_id in wanted])
            shelf.position = news[-1].position
        self._bound(user_id, shelf)

    async def _apply(self, shelf: _Shelf, changed: Sequence[tuple[str, Stored]]) -> None:
        """Under the shelf's lock."""
        index = shelf.index
        for count, (node_id, stored) in enumerate(changed, 1):
            note = stored.shown
            known = index.stamp(node_id)
            if note is None:
                index.remove(node_id)
            elif known is None or known <= note.stamp:
                index.add(note)
            if count % _STEP == 0:
                await asyncio.sleep(0)

    async def _compare(self, user_id: str, shelf: _Shelf) -> None:
        """Bring an index up to the records, one by one; not more often than the bound says."""
        now = self._clock.monotonic()
        if now - shelf.compared_at < max(_COMPARE_SECONDS, _COMPARE_SHARE * shelf.compare_seconds):
            return
        try:
            position = await self._changes.tail(user_id)
        except Brain2Error:
            position = None
        async with shelf.lock:
            shelf.compared_at = now
            gone = set(shelf.index.ids())
            wanted = []
            async for page in self._records.stamps(user_id):
                for node_id, stored in page:
                    if stored.visible and not stored.gone:
                        gone.discard(node_id)
                        if shelf.index.stamp(node_id) != stored.stamp:
                            wanted.append(node_id)
            found = await self._records.get_many(user_id, wanted) if wanted else {}
            await self._apply(shelf, [*((node_id, Stored()) for node_id in gone), *found.items()])
            if position is not None:
                shelf.position = position
            shelf.compare_seconds = self._clock.monotonic() - now
        self._bound(user_id, shelf)

    def _bound(self, user_id: str, shelf: _Shelf) -> None:
        """Measure a changed index, and let the least recently asked go while memory is over its bound."""
        if shelf.sized_at != shelf.index.epoch:
            shelf.sized_at = shelf.index.epoch
            shelf.bytes = shelf.index.nbytes
        used = self.nbytes
        for other in list(self._shelves):
            if used <= self._max_bytes:
                return
            if other != user_id and not self._shelves[other].lock.locked():
                used -= self._shelves.pop(other).bytes


def _place(position: str) -> tuple[int, int]:
    first, _, second = position.partition("/")[0].partition("-")
    return int(first), int(second or 0)


def _known(index: UserIndex, change: Change) -> bool:
    """Whether the index already shows the change (it was this process's own)."""
    stamp = index.stamp(change.node_id)
    if change.visible:
        return stamp is not None and stamp >= (change.incarnation, change.version)
    return stamp is None
