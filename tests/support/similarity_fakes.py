"""The ports of similarity in memory, as far as their contract suites ask (tests/contract/similarity)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.codec import Packed
from services.similarity_service.model.links import RENEWED, Link
from services.similarity_service.model.note import Note, analyse
from services.similarity_service.model.stored import Stored
from services.similarity_service.model.user_settings import SavedUserSettings
from services.similarity_service.ports import (
    Direction,
    LogEntry,
    LogGap,
    NodeState,
    NodeText,
    NodeUpdate,
    PendingRelink,
    Related,
    TextLink,
    WrittenNode,
)
from shared.errors import Unavailable
from shared.ids import Clock, SystemClock
from shared.revisions import Revision


@dataclass
class FakeRecords:
    """ports.Records. reads counts calls by name."""

    items: dict[tuple[str, str], Stored] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    contended: int = 0
    clock: Clock = field(default_factory=SystemClock)
    times: dict[tuple[str, str], int] = field(default_factory=dict)

    async def get(self, user_id: str, node_id: str) -> Stored:
        return self.items.get((user_id, node_id), Stored())

    async def get_many(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Stored]:
        self.reads.append("get_many")
        await asyncio.sleep(0)
        return {each: self.items[user_id, each] for each in node_ids if (user_id, each) in self.items}

    async def put(self, user_id: str, node_id: str, old: Stored, new: Stored) -> bool:
        if self.contended:
            self.contended -= 1
            return False
        if self.items.get((user_id, node_id), Stored()).revision != old.revision:
            return False
        self.items[user_id, node_id] = new
        self.times[user_id, node_id] = self.clock.now_ms()
        return True

    async def put_many(self, user_id: str, changes: Mapping[str, tuple[Stored, Stored]]) -> Collection[str]:
        self.reads.append("put_many")
        await asyncio.sleep(0)
        return [node_id for node_id, (old, new) in changes.items() if await self.put(user_id, node_id, old, new)]

    async def repair_postings(self, user_id: str, node_id: str, stored: Stored) -> None:
        self.reads.append("repair_postings")  # the postings here are the records themselves

    async def set_visibility(
        self, user_id: str, node_id: str, version: int, *, visible: bool, incarnation: int | None
    ) -> Stored | None:
        old = self.items.get((user_id, node_id))
        if old is None or old.note is None or old.gone or old.state_version >= version:
            return None
        if incarnation is not None and incarnation != old.incarnation:
            return None
        new = replace(old, visible=visible, state_version=version, revision=old.revision + 1)
        self.items[user_id, node_id] = new
        self.times[user_id, node_id] = self.clock.now_ms()
        return new

    async def all(self, user_id: str) -> AsyncIterator[Sequence[Packed]]:
        self.reads.append("all")
        async for page in self._pages(user_id):
            yield [codec.packed(stored.shown) for _, stored in page if stored.shown is not None]

    async def stamps(self, user_id: str) -> AsyncIterator[Sequence[tuple[str, Stored]]]:
        self.reads.append("stamps")
        async for page in self._pages(user_id):
            yield [(node_id, replace(stored, note=None)) for node_id, stored in page]

    async def _pages(self, user_id: str) -> AsyncIterator[Sequence[tuple[str, Stored]]]:
        found = [(node_id, stored) for (user, node_id), stored in sorted(self.items.items(), key=lambda i: i[0])
                 if user == user_id]  # fmt: skip
        for start in range(0, len(found), 3):
            await asyncio.sleep(0)
            yield found[start : start + 3]

    async def written_since(self, user_id: str, ms: int) -> Sequence[str]:
        return [
            node_id
            for (user, node_id), stored in self.items.items()
            if user == user_id and stored.visible and not stored.gone and self.times.get((user, node_id), ms) >= ms
        ]

    async def with_keyword(
        self, user_id: str, term: str, limit: int, after: str
    ) -> tuple[Sequence[tuple[str, float]], bool]:
        found = sorted(
            (node_id, weight / 255)
            for (user, node_id), stored in self.items.items()
            if user == user_id and stored.note is not None and node_id > after
            for number, weight in stored.note.salient
            if stored.note.terms[number] == term
        )
        return found[:limit], len(found) > limit


@dataclass
class FakeLog:
    """ports.ChangeLog. down: as if it couldn't be reached. hold: appends wait for it.

    appended: when each entry was appended, by position, in seconds.
    """

    entries: dict[str, list[LogEntry]] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    appended: dict[str, float] = field(default_factory=dict)
    trimmed: dict[str, int] = field(default_factory=dict)
    down: bool = False
    hold: asyncio.Event | None = None
    number: int = 0

    async def append(self, user_id: str, changes: Sequence[LogEntry]) -> None:
        self._reach()
        if self.hold is not None:
            await self.hold.wait()
        for change in changes:
            self.number += 1
            position = f"{self.number}-0"
            self.appended[position] = self.clock.monotonic()
            self.entries.setdefault(user_id, []).append(replace(change, position=position))

    async def tail(self, user_id: str) -> str:
        self._reach()
        if not self.entries.get(user_id):
            await self.append(user_id, [LogEntry("-", 0, 0, False)])
        return self.entries[user_id][-1].position

    async def since(self, user_id: str, position: str) -> Sequence[LogEntry]:
        self._reach()
        entries = self.entries.get(user_id, [])
        places = [entry.position for entry in entries]
        if position not in places:
            raise LogGap("gone")
        return [self._aged(entry) for entry in entries[places.index(position) + 1 :]]

    async def announcements(self, user_id: str, position: str, seconds: float) -> Sequence[LogEntry]:
        self._reach()
        entries = self.entries.get(user_id, [])
        last = [entry.position for entry in entries].index(position)
        found = [self._aged(entry) for entry in entries[: last + 1] if entry.announcement is not None]
        return [entry for entry in found if entry.age <= seconds]

    def lose(self, user_id: str) -> None:
        """As if the server had lost it, or trimmed it all."""
        self.entries.pop(user_id, None)

    def _aged(self, entry: LogEntry) -> LogEntry:
        return replace(entry, age=self.clock.monotonic() - self.appended[entry.position])

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("the log is down")


@dataclass
class FakePendingRelinks:
    """ports.PendingRelinkStore. writes counts; down: as if it couldn't be reached."""

    items: dict[tuple[str, str], PendingRelink] = field(default_factory=dict)
    writes: int = 0
    down: bool = False

    async def put(self, mine: PendingRelink) -> bool:
        await self._write()
        return self._put(mine)

    async def renew(self, mine: PendingRelink) -> bool:
        await self._write()
        return (mine.user_id, mine.owner) in self.items and self._put(mine)

    async def remove(self, user_id: str, owner: str) -> bool:
        await self._write()
        if self._has_added(user_id, owner):
            return False
        self.items.pop((user_id, owner), None)
        return True

    async def get(self, user_id: str, owner: str) -> PendingRelink | None:
        await self._read()
        return self.items.get((user_id, owner))

    async def remove_added(self, mine: PendingRelink) -> bool:
        await self._write()
        there = self.items.get((mine.user_id, mine.owner))
        if there is None or (there.since_ms, there.added) != (mine.since_ms, mine.added):
            return False
        self.items[mine.user_id, mine.owner] = replace(there, added=frozenset())
        return True

    async def of_user(self, user_id: str) -> Sequence[PendingRelink]:
        await self._read()
        return [each for each in self.items.values() if each.user_id == user_id]

    async def add(self, theirs: PendingRelink, since_ms: int, node_ids: Collection[str], now_ms: int) -> bool:
        await self._write()
        return self._add(theirs, since_ms, node_ids, now_ms)

    async def hand_over(self, mine: PendingRelink, theirs: PendingRelink, now_ms: int) -> bool:
        await self._write()
        if self._has_added(mine.user_id, mine.owner) or not self._add(theirs, mine.since_ms, mine.added, now_ms):
            return False
        self.items.pop((mine.user_id, mine.owner), None)
        return True

    async def expired(self, now_ms: int) -> Sequence[PendingRelink]:
        await self._read()
        return [each for each in self.items.values() if each.until_ms < now_ms]

    async def take(self, theirs: PendingRelink, mine: PendingRelink) -> bool:
        await self._write()
        there = self.items.get((theirs.user_id, theirs.owner))
        if there is None or replace(there, open=theirs.open) != theirs:
            return False
        if not self._put(mine):
            return False
        del self.items[theirs.user_id, theirs.owner]
        return True

    def _has_added(self, user_id: str, owner: str) -> bool:
        there = self.items.get((user_id, owner))
        return there is not None and bool(there.added)

    def _put(self, mine: PendingRelink) -> bool:
        if self._has_added(mine.user_id, mine.owner):
            return False
        self.items[mine.user_id, mine.owner] = replace(mine, added=frozenset(), open=True)
        return True

    def _add(self, theirs: PendingRelink, since_ms: int, node_ids: Collection[str], now_ms: int) -> bool:
        there = self.items.get((theirs.user_id, theirs.owner))
        if there is None or not there.open or there.until_ms <= now_ms or there.since_ms != theirs.since_ms:
            return False
        since_ms = min(since_ms, there.since_ms)
        self.items[theirs.user_id, theirs.owner] = replace(there, since_ms=since_ms, added=there.added | set(node_ids))
        return True

    async def _read(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("the store is down")

    async def _write(self) -> None:
        await self._read()
        self.writes += 1


@dataclass
class FakeUserSettings:
    """ports.UserSettingsStore."""

    items: dict[str, SavedUserSettings] = field(default_factory=dict)

    async def get(self, user_id: str) -> SavedUserSettings | None:
        return self.items.get(user_id)

    async def put(self, user_id: str, choices: SavedUserSettings) -> None:
        self.items[user_id] = choices


async def _nothing() -> None:
    pass


@dataclass
class FakeNodes:
    """ports.Nodes.

    cached: states that a cache of the service still has. listed: the live notes of a list that was read earlier.
    on_state: awaited after a state was read.
    """

    items: dict[str, dict[str, NodeText]] = field(default_factory=dict)
    down: bool = False
    states: dict[str, NodeState] = field(default_factory=dict)
    cached: dict[str, NodeState] = field(default_factory=dict)
    listed: Sequence[str] | None = None
    on_state: Callable[[], Awaitable[None]] = _nothing

    async def state(self, user_id: str, node_id: str, seen: Revision) -> NodeState | None:
        if self.down:
            raise Unavailable("the node service is down")
        found = self._cached(node_id, seen) or self.states.get(node_id)
        await self.on_state()
        return found

    async def texts(
        self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision] | None = None
    ) -> Mapping[str, NodeText]:
        if self.down:
            raise Unavailable("the node service is down")
        known = self.items.get(user_id, {})
        cached = {each: self._cached(each, (seen or {}).get(each, (0, 0))) for each in node_ids}
        deleted = {each for each, state in cached.items() if state is not None and not state.visible}
        return {each: known[each] for each in node_ids if each in known and each not in deleted}

    def _cached(self, node_id: str, seen: Revision) -> NodeState | None:
        found = self.cached.get(node_id)
        return None if found is None or (found.incarnation, found.version) < seen else found

    async def update(self, user_id: str, node_id: str, etag: str, change: NodeUpdate) -> WrittenNode:
        raise AssertionError("no use case that has this fake writes notes")

    async def ids(self, user_id: str) -> AsyncIterator[Sequence[str]]:
        yield list(self.items.get(user_id, {}) if self.listed is None else self.listed)


@dataclass
class FakeGraph:
    """ports.Graph: automatic links, those that a person made or confirmed, and those of texts."""

    auto: dict[str, dict[frozenset[str], Link]] = field(default_factory=dict)
    firm: dict[str, set[frozenset[str]]] = field(default_factory=dict)
    texts: dict[str, dict[tuple[str, str], TextLink]] = field(default_factory=dict)
    # Notes that graph does not know.
    unknown: set[str] = field(default_factory=set)
    # Notes whose edges graph hides, because it has not heard yet that they were restored.
    hidden: set[str] = field(default_factory=set)
    # Notes whose automatic links can't be made now.
    busy: set[str] = field(default_factory=set)
    down: bool = False
    # Edges for wiki links that were written or removed.
    calls: int = 0
    on_link: Callable[[], Awaitable[None]] = _nothing

    def pairs(self, user_id: str) -> set[tuple[str, ...]]:
        return {tuple(sorted(pair)) for pair in self.auto.get(user_id, {})}

    async def related(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Related]:
        auto = self.auto.get(user_id, {})
        firm = dict.fromkeys([*self.firm.get(user_id, set()), *map(frozenset, self.texts.get(user_id, {}))])
        return {
            each: Related(
                {other: auto[frozenset((each, other))].score for other in self._others(auto, each)},
                frozenset(self._others(firm, each)),
            )
            for each in node_ids
        }

    async def show(self, user_id: str, notes: Mapping[str, Revision]) -> None:
        self.hidden -= notes.keys()

    async def text_links(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Mapping[str, Direction]]:
        return {node_id: self._text_links(user_id, node_id) for node_id in node_ids}

    def _text_links(self, user_id: str, node_id: str) -> Mapping[str, Direction]:
        return {
            b if a == node_id else a: link.direction(node_id)
            for (a, b), link in self.texts.get(user_id, {}).items()
            if node_id in (a, b) and self.hidden.isdisjoint((a, b))
        }

    async def link_texts(self, user_id: str, links: Sequence[TextLink]) -> Sequence[tuple[str, str]]:
        self.calls += len(links)
        if self.down:
            raise Unavailable("the graph service is down")
        for link in links:
            if link.source not in self.unknown and link.target not in self.unknown:
                pair = (min(link.source, link.target), max(link.source, link.target))
                self.texts.setdefault(user_id, {})[pair] = link
        await self.on_link()
        return [(link.source, link.target) for link in links if {link.source, link.target} & self.unknown]

    async def unlink_texts(self, user_id: str, pairs: Sequence[tuple[str, str]]) -> None:
        self.calls += len(pairs)
        for pair in pairs:
            self.texts.get(user_id, {}).pop(pair, None)

    def arrows(self, user_id: str) -> set[str]:
        """The edges for wiki links: a>b, or a-b without direction."""
        return {f"{x.source}{'>' if x.directed else '-'}{x.target}" for x in self.texts.get(user_id, {}).values()}

    async def linked(self, user_id: str, node_id: str) -> frozenset[str]:
        every = [*self.auto.get(user_id, {}), *self.firm.get(user_id, set())]
        return frozenset(self._others(dict.fromkeys(every), node_id))

    async def rejected(self, user_id: str, node_id: str) -> frozenset[str]:
        return frozenset()

    async def link(self, user_id: str, links: Mapping[str, Sequence[Link]], method: str) -> Collection[str]:
        if self.down:
            raise Unavailable("the graph service is down")
        for node_id, some in links.items():
            for link in some:
                pair = frozenset((node_id, link.node_id))
                if pair not in self.firm.get(user_id, set()) and self.hidden.isdisjoint(pair):
                    auto = self.auto.setdefault(user_id, {})
                    if pair not in auto or abs(auto[pair].score - link.score) >= RENEWED:
                        auto[pair] = link
        return links.keys() & self.busy

    async def unlink(self, user_id: str, pairs: Sequence[tuple[str, str]]) -> None:
        for pair in pairs:
            self.auto.get(user_id, {}).pop(frozenset(pair), None)

    @staticmethod
    def _others(pairs: Mapping[frozenset[str], object], node_id: str) -> set[str]:
        return {other for pair in pairs if node_id in pair for other in pair if other != node_id}


def note(node_id: str, title: str = "", text: str = "", *, version: int = 1, **fields: object) -> Note:
    """A note, analysed as English."""
    return analyse(analyser("english"), node_id=node_id, version=version, title=title, text=text, **fields)  # type: ignore[arg-type]
