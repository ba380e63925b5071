"""The whole graph of a user: streamed, counted, warmed. Memory is bounded by a page, whatever the graph's size."""

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from services.graph_service.model.edge import Edge
from services.graph_service.model.walks import Stats
from services.graph_service.ports import EdgeStore, NodeDirectory
from services.graph_service.usecases.adjacency import Adjacency
from services.graph_service.usecases.hubs import Hubs
from shared.errors import DeadlineExceeded, Unavailable, Violations
from shared.ids import Clock, check_id, check_user_id

_WARM_CHUNK = 100
_WARM_PARALLEL = 4
_PAGE = 1000
# Notes that GetGraphStats counts, by pages of 200, beside its pass over the edges; graph.proto states the number.
_MOST_COUNTED = 50_000


class _Note(NamedTuple):
    """Counts of one note while its incidences pass by."""

    id: str
    degree: int


class Whole:
    """Reads that are about everything."""

    def __init__(
        self, store: EdgeStore, adjacency: Adjacency, hubs: Hubs, directory: NodeDirectory, clock: Clock
    ) -> None:
        self._store = store
        self._adjacency = adjacency
        self._hubs = hubs
        self._directory = directory
        self._clock = clock

    async def edges(
        self, user: str, note: str = "", *, min_weight: float = 0.0, show_hidden: bool = False
    ) -> AsyncIterator[Sequence[Edge]]:
        """Every edge once (or those at one note), in batches. See ListEdges."""
        _check(user, note)
        hidden = frozenset[str]() if show_hidden else await self._adjacency.hidden(user)
        batches = self._edges_at(user, note) if note else self._store.edges(user)
        async for batch in batches:
            wanted = [
                edge
                for edge in batch
                if edge.weight >= min_weight and edge.source not in hidden and edge.target not in hidden
            ]
            if wanted:
                yield wanted

    async def _edges_at(self, user: str, note: str) -> AsyncIterator[Sequence[Edge]]:
        after: str | None = None
        while True:
            batch, after = await self._store.edges_at(user, note, after=after, limit=_PAGE)
            yield batch
            if after is None:
                return

    async def stats(self, user: str, top: int) -> Stats:
        """One pass over the edges, in which those of one note come together. See GetGraphStats."""
        _check(user, "")
        hidden = await self._adjacency.hidden(user)
        live = asyncio.ensure_future(self._counted(user))
        try:
            ends = automatic = linked = 0
            degrees: Counter[int] = Counter()
            hubs: list[tuple[int, str]] = []
            note = _Note("", 0)

            def close() -> None:
                nonlocal linked
                if note.degree:
                    linked += 1
                    degrees[note.degree.bit_length() - 1] += 1
                    heapq.heappush(hubs, (note.degree, note.id))
                    if len(hubs) > top:
                        heapq.heappop(hubs)

            async for batch in self._store.incidences(user):
                for end in batch:
                    if end.note != note.id:
                        close()
                        note = _Note(end.note, 0)
                    if end.note not in hidden and end.other not in hidden:
                        note = _Note(note.id, note.degree + 1)
                        ends += 1
                        automatic += end.auto
                await asyncio.sleep(0)
            close()
            ranked = sorted(((id, degree) for degree, id in hubs), key=lambda hub: (-hub[1], hub[0]))
            counted, complete = await live
        finally:
            live.cancel()
        orphans = max(counted - linked, 0)
        now = self._clock.now_ms()
        return Stats(linked, ends // 2, automatic // 2, degrees, ranked, orphans, not complete, now)

    async def _counted(self, user: str) -> tuple[int, bool]:
        try:
            return await self._directory.count(user, _MOST_COUNTED)
        except (Unavailable, DeadlineExceeded):
            return 0, False  # what is asked of the edges is known all the same

    async def warm(self, user: str, notes: Sequence[str], most: int) -> tuple[int, bool]:
        """How many lists are in the caches now, and whether there were more notes than `most`. See WarmCache."""
        _check(user, "")
        for note in notes:
            _check(user, note)
        warmed, truncated, chunk = 0, False, list[str]()
        running: set[asyncio.Task[int]] = set()

        async def load(some: Sequence[str]) -> int:
            found = (await self._adjacency.look(user, some)).found
            hubs = [note for note, list in found.items() if list.block is None]
            # One after the other: each is many reads and many commands.
            return len(found) - len(hubs) + sum([await self._hubs.warm(user, note) for note in hubs])

        async def start(some: list[str]) -> int:
            done: set[asyncio.Task[int]] = set()
            if len(running) >= _WARM_PARALLEL:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running.difference_update(done)
            running.add(asyncio.create_task(load(some)))
            return sum(task.result() for task in done)

        try:
            seen = 0
            async for note in self._notes(user, notes):
                if seen >= most:
                    truncated = True
                    break
                seen += 1
                chunk.append(note)
                if len(chunk) == _WARM_CHUNK:
                    warmed += await start(chunk)
                    chunk = []
            if chunk:
                warmed += await start(chunk)
            warmed += sum(await asyncio.gather(*running))
        finally:
            for task in running:
                task.cancel()
        return warmed, truncated

    async def _notes(self, user: str, notes: Sequence[str]) -> AsyncIterator[str]:
        if notes:
            for note in dict.fromkeys(notes):
                yield note
            return
        last = ""
        async for batch in self._store.incidences(user):
            for end in batch:
                if end.note != last:
                    last = end.note
                    yield last


def _check(user: str, note: str) -> None:
    violations = Violations()
    check_user_id("user_id", user, violations)
    if note:
        check_id("node_id", note, violations)
    violations.raise_if_any()
