"""The ports of the graph context in memory, for unit tests. FakeLists passes the same suite as the Redis one
(tests/contract/graph/test_list_cache.py)."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.graph_service.model.edge import Edge, EdgeKey
from services.graph_service.model.neighbors import Neighbor, by_weight, seen_from
from services.graph_service.ports import HIDDEN, Block, Journal, Lease, Marker, Slice, Told, Touched, Write
from shared.errors import Unavailable


class FakeClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000
        self.seconds = 0.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.ms += int(1000 * seconds)


class FakeIds:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new_id(self) -> str:
        return f"id{next(self._numbers)}"


@dataclass
class FakeLists:
    """ListCache and Trust over dicts, without hubs. away: every call raises Unavailable."""

    away: bool = False
    space: str = "space"
    trusted: bool = True
    states: dict[tuple[str, str], Any] = field(default_factory=dict)
    marks: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    feed: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    now: int = 100

    def _call(self, name: str) -> int:
        self.calls.append(name)
        if self.away:
            raise Unavailable("away")
        self.now += 1
        return self.now

    def distrust(self) -> None:
        self.trusted, self.space = False, ""

    async def verify(self) -> None:
        self._call("verify")

    async def probe(self) -> None:
        self._call("probe")

    def trust(self) -> None:
        self.trusted, self.space = True, "space"

    async def read(self, user: str, notes: Sequence[str]) -> Sequence[Block | Told]:
        self._call("read")
        return [_said(self.states.get((user, note))) for note in notes]

    async def head(self, user: str, note: str) -> Block | None:
        nobody, block = await self.read(user, (HIDDEN, note))
        return block if isinstance(block, Block) and isinstance(nobody, Block) and not nobody.size else None

    async def lease(self, user: str, note: str, *, instead_of: int | None = None) -> Lease | Block | Told:
        stamp = self._call("lease")
        there = self.states.get((user, note))
        if there is not None and not (isinstance(there, Block) and there.stamp == instead_of):
            return _said(there)
        lease = Lease(user, note, str(stamp).encode(), stamp)
        self.states[user, note] = lease
        return lease

    async def store(self, lease: Lease, block: Block) -> bool:
        self._call("store")
        if self.states.get((lease.user, lease.note)) != lease:
            return False
        self.states[lease.user, lease.note] = block
        return True

    async def begin(self, touched: Touched, writer: str) -> None:
        self._call("begin")
        for note in touched.notes:
            self.states[touched.user, note] = "dirty"
            self.marks.setdefault((touched.user, note), set()).add(writer)
        self.told += touched.notes

    async def finish(self, touched: Touched, writer: str) -> int:
        stamp = self._call("finish")
        for note in touched.notes:
            marks = self.marks.get((touched.user, note), set())
            marks.discard(writer)
            if marks:
                self.states[touched.user, note] = "dirty"
            else:
                self.states.pop((touched.user, note), None)
        self.told += touched.notes
        self.feed += touched.feed
        return stamp

    async def announce_gone(self, user: str, notes: Sequence[str]) -> None:
        self._call("gone")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"unit tests of hubs belong to real Redis: {name}")


def _said(state: Any) -> Block | Told:
    if state is None:
        return Told.UNKNOWN
    if isinstance(state, Block):
        return state
    return Told.FILLING if isinstance(state, Lease) else Told.DIRTY


@dataclass
class FakeStore:
    """EdgeStore over dicts, as far as the caches need it. reads: notes whose lists were read; trouble: what the next
    commit raises, after it was done if done is set."""

    stored: dict[EdgeKey, Edge] = field(default_factory=dict)
    hidden_notes: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    journals: dict[str, Journal] = field(default_factory=dict)
    trouble: Exception | None = None
    markers: dict[str, Marker] = field(default_factory=dict)
    hold: Any = None

    async def commit(self, write: Write) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.writes.append(write)
        if write.journal is not None:
            self.journals[write.journal.id] = write.journal

    async def neighbors(self, user: str, note: str, *, after: str | None, limit: int) -> Slice:
        self.reads.append(note)
        found = sorted(
            (seen_from(note, edge) for edge in self.stored.values() if note in edge.key[:2]), key=lambda n: n.member
        )
        if self.hold is not None:
            await self.hold.wait()
        start = int(after or 0)
        rest = found[start + limit :]
        return Slice(found[start : start + limit], str(start + limit) if rest else None)

    async def hidden(self, user: str) -> Sequence[str]:
        self.reads.append("!hidden")
        return list(self.hidden_notes)

    async def journal(self, entry: Journal) -> None:
        self.journals[entry.id] = entry

    async def journaled(self) -> Sequence[Journal]:
        return list(self.journals.values())

    async def unjournal(self, entries: Iterable[Journal]) -> None:
        for entry in entries:
            self.journals.pop(entry.id, None)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"not needed here: {name}")


@dataclass
class FakeDirectory:
    """NodeDirectory: the notes that exist, with their titles."""

    titles: dict[str, str] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)

    async def live(self, user: str, notes: Collection[str]) -> Mapping[str, str]:
        self.asked.append(sorted(notes))
        return {note: self.titles[note] for note in notes if note in self.titles}

    async def count(self, user: str, most: int) -> tuple[int, bool]:
        return len(self.titles), True


def ordered(neighbors: Iterable[Neighbor]) -> list[Neighbor]:
    return sorted(neighbors, key=by_weight)
