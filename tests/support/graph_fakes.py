"""The ports of the graph context in memory, for unit tests. FakeLists passes the same suite as the one in Redis
(tests/contract/graph/test_list_cache.py)."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.graph_service.model.edge import Edge, EdgeKey
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import (
    HIDDEN,
    CacheState,
    Invalidation,
    JournalEntry,
    Lease,
    PackedList,
    Slice,
    VisibilityRecord,
    Write,
)
from shared.errors import Unavailable
from shared.revisions import Revision


def as_neighbor(node_id: str, edge: Edge) -> Neighbor:
    """An edge as seen from one of its two ends."""
    direction = Direction.BOTH
    if edge.directed:
        direction = Direction.OUT if edge.source == node_id else Direction.IN
    return Neighbor(edge.key.other(node_id), edge.weight, edge.type, direction, edge.metadata.auto, edge.create_ms)


class FakeIds:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new_id(self) -> str:
        return f"id{next(self._numbers)}"


@dataclass
class FakeLists:
    """A RecoverableCache in dicts, without hubs.

    away: calls raise Unavailable. published: the invalidated lists. instance: the space of what answers.
    """

    away: bool = False
    instance: str = "space"
    space: str = "space"
    enabled: bool = True
    states: dict[tuple[str, str], Any] = field(default_factory=dict)
    pending: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    visibilities: dict[tuple[str, str], VisibilityRecord] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    feed: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    now: int = 100

    def _call(self, name: str) -> int:
        self.calls.append(name)
        if self.away:
            raise Unavailable("away")
        self.now += 1
        return self.now

    def disable(self) -> None:
        self.enabled, self.space = False, ""

    async def check_instance(self) -> None:
        self._call("check_instance")

    async def identify_instance(self) -> None:
        self._call("identify_instance")

    def enable(self) -> None:
        self.enabled, self.space = True, self.instance

    async def read(self, user_id: str, node_ids: Sequence[str]) -> Sequence[PackedList | CacheState]:
        self._call("read")
        return [_state(self.states.get((user_id, node_id))) for node_id in node_ids]

    async def read_whole(self, user_id: str, node_id: str) -> PackedList | None:
        hidden, found = await self.read(user_id, (HIDDEN, node_id))
        if isinstance(hidden, PackedList) and not hidden.size and isinstance(found, PackedList):
            return found
        return None

    async def lease(
        self, user_id: str, node_id: str, *, instead_of: int | None = None
    ) -> Lease | PackedList | CacheState:
        stamp = self._call("lease")
        there = self.states.get((user_id, node_id))
        if there is not None and not (isinstance(there, PackedList) and there.stamp == instead_of):
            return _state(there)
        lease = Lease(user_id, node_id, str(stamp).encode(), stamp, self.space)
        self.states[user_id, node_id] = lease
        return lease

    async def store(self, lease: Lease, packed_list: PackedList) -> bool:
        self._call("store")
        if self.states.get((lease.user_id, lease.node_id)) != lease:
            return False
        self.states[lease.user_id, lease.node_id] = packed_list
        return True

    async def begin(self, invalidation: Invalidation, writer: str, visibility: VisibilityRecord | None = None) -> None:
        self._call("begin")
        if visibility is not None:
            self.visibilities[invalidation.user_id, writer] = visibility
        for node_id in invalidation.node_ids:
            self.states[invalidation.user_id, node_id] = "dirty"
            self.pending.setdefault((invalidation.user_id, node_id), set()).add(writer)
        self.published += invalidation.node_ids

    async def finish(self, invalidation: Invalidation, writer: str) -> int:
        stamp = self._call("finish")
        self.visibilities.pop((invalidation.user_id, writer), None)
        for node_id in invalidation.node_ids:
            writers = self.pending.get((invalidation.user_id, node_id), set())
            writers.discard(writer)
            if writers:
                self.states[invalidation.user_id, node_id] = "dirty"
            else:
                self.states.pop((invalidation.user_id, node_id), None)
        self.published += invalidation.node_ids
        self.feed += invalidation.feed
        return stamp

    async def pending_visibilities(self, user_id: str) -> Sequence[VisibilityRecord]:
        self._call("pending_visibilities")
        return [record for (user, _), record in self.visibilities.items() if user == user_id]

    async def invalidate_nodes(self, user_id: str, node_ids: Sequence[str]) -> None:
        self._call("invalidate_nodes")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"unit tests of hubs belong to real Redis: {name}")


def _state(state: Any) -> PackedList | CacheState:
    if state is None:
        return CacheState.MISSING
    if isinstance(state, PackedList):
        return state
    return CacheState.FILLING if isinstance(state, Lease) else CacheState.DIRTY


@dataclass
class FakeStore:
    """EdgeStore over dicts, as far as the caches need it. reads: notes whose lists were read. trouble: what commits
    raise. hold: reads wait for it. edges_between: what count_between() returns, None for the number of stored edges."""

    stored: dict[EdgeKey, Edge] = field(default_factory=dict)
    hidden_notes: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    journals: dict[str, JournalEntry] = field(default_factory=dict)
    trouble: Exception | None = None
    hold: Any = None
    edges_between: int | None = None

    async def commit(self, write: Write) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.writes.append(write)
        if write.journal is not None:
            self.journals[write.journal.id] = write.journal

    async def neighbors(self, user_id: str, node_id: str, *, after: str | None, limit: int) -> Slice:
        self.reads.append(node_id)
        found = sorted(
            (as_neighbor(node_id, edge) for edge in self.stored.values() if node_id in edge.key[:2]),
            key=lambda n: n.member,
        )
        if self.hold is not None:
            await self.hold.wait()
        start = int(after or 0)
        rest = found[start + limit :]
        return Slice(found[start : start + limit], str(start + limit) if rest else None)

    async def count_between(self, user_id: str, node_ids: Sequence[str], limit: int) -> int:
        if self.edges_between is not None:
            return min(limit, self.edges_between)
        ends = [end for key in self.stored for end in key[:2]]
        return min(limit, sum(min(node_ids) <= end <= max(node_ids) for end in ends))

    async def neighbors_between(
        self, user_id: str, node_ids: Sequence[str], limit: int
    ) -> Mapping[str, Sequence[Neighbor]]:
        self.reads.append(f"{min(node_ids)} to {max(node_ids)}")
        ends = [end for key in self.stored for end in key[:2]]
        count = sum(min(node_ids) <= end <= max(node_ids) for end in ends)
        found = {
            node_id: [as_neighbor(node_id, edge) for edge in self.stored.values() if node_id in edge.key[:2]]
            for node_id in node_ids
        }
        if self.hold is not None:
            await self.hold.wait()
        return found if count <= limit else {}

    async def visibilities(self, user_id: str) -> Sequence[VisibilityRecord]:
        self.reads.append("!hidden")
        return [VisibilityRecord(node_id, 1, hidden=True) for node_id in self.hidden_notes]

    async def add_journal_entry(self, entry: JournalEntry) -> None:
        self.journals[entry.id] = entry

    async def journal_entries(self, *, consistent: bool = True) -> Sequence[JournalEntry]:
        return list(self.journals.values())

    async def delete_journal_entries(self, entries: Iterable[JournalEntry]) -> None:
        for entry in entries:
            self.journals.pop(entry.id, None)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"not needed here: {name}")


@dataclass
class FakeDirectory:
    """NodeDirectory: the notes that exist, with their titles."""

    titles: dict[str, str] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    records: dict[str, VisibilityRecord] = field(default_factory=dict)

    async def visibility(self, user_id: str, node_id: str, seen: Revision) -> VisibilityRecord | None:
        return self.records.get(node_id)

    async def live_titles(self, user_id: str, node_ids: Collection[str]) -> Mapping[str, str]:
        self.asked.append(sorted(node_ids))
        return {node_id: self.titles[node_id] for node_id in node_ids if node_id in self.titles}

    async def count(self, user_id: str, maximum: int) -> tuple[int, bool]:
        return len(self.titles), True
