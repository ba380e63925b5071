"""Everything around the cleanup core as plain dicts, with a checkpoint before and after every effect.

A test crashes a run at any checkpoint (Crash is no Exception: nothing of the core may catch it) and goes on with
another runner, as another replica would after a kill -9.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.cleanup_service.model.erasure import Erasure, ErasureRecord
from services.cleanup_service.model.saga import Cascade, Deletion, Saga, State
from services.cleanup_service.ports import (
    ALWAYS,
    Archived,
    Fenced,
    NodeKey,
    QueueEntry,
    Record,
    Similarity,
    Superseded,
    TimeRange,
    WriteConflict,
    edge_key,
)
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.erase_user import UserEraser
from services.cleanup_service.usecases.run_deletion import DeletionRunner, RetryPolicy
from shared.errors import NotFound
from shared.resilience.retry import Sleep
from tests.support.clock import ManualClock


class Crash(BaseException):
    """The process is gone."""


class Ids:
    """Ids in the order of a world."""

    def __init__(self, world: "World") -> None:
        self.w = world

    def new_id(self) -> str:
        return f"id{next(self.w._ids)}"


@dataclass
class Note:
    version: int = 1
    title: str = "a note"
    deleted: bool = False
    fenced: bool = False
    delete_ms: int = 0
    purge_ms: int = 0
    cascade: Cascade = Cascade.EDGES


@dataclass
class World:
    """The stores and the other services. `at` is called with the name of each checkpoint."""

    clock: ManualClock = field(default_factory=ManualClock)
    notes: dict[NodeKey, Note] = field(default_factory=dict)
    links: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    hidden: dict[NodeKey, int] = field(default_factory=dict)
    index: set[NodeKey] = field(default_factory=set)
    sagas: dict[NodeKey, Saga] = field(default_factory=dict)
    published: list[Saga] = field(default_factory=list)
    archived: dict[str, dict[str, Any]] = field(default_factory=dict)
    erasing: set[str] = field(default_factory=set)
    at: Callable[[str], None] = lambda _: None
    detach_limit: int = 2
    calls: list[str] = field(default_factory=list)
    offered: list[NodeKey] = field(default_factory=list)
    erasures: dict[str, Erasure] = field(default_factory=dict)
    ledger: list[ErasureRecord] = field(default_factory=list)
    rest: dict[tuple[str, str], int] = field(default_factory=dict)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def add_note(self, node_id: str, user_id: str = "u", **values: Any) -> Note:
        note = self.notes[(user_id, node_id)] = Note(**values)
        self.index.add((user_id, node_id))
        return note

    def link(self, a: str, b: str, user_id: str = "u") -> None:
        low, high = sorted((a, b))
        self.links.setdefault(user_id, set()).add((low, high))

    def delete(
        self, node_id: str, user_id: str = "u", retention: int = 0, cascade: Cascade = Cascade.EDGES
    ) -> Deletion:
        note = self.notes[(user_id, node_id)]
        now = self.clock.now_ms()
        note.version += 1
        note.deleted, note.delete_ms, note.purge_ms, note.cascade = True, now, now + retention, cascade
        return Deletion(user_id, node_id, note.version, now, now + retention, cascade)

    def restore(self, node_id: str, user_id: str = "u") -> int | None:
        """The new version; None when the cleanup has won."""
        note = self.notes.get((user_id, node_id))
        if note is None or note.fenced:
            return None
        if note.deleted:
            note.deleted = False
            note.version += 1
            self.hidden.pop((user_id, node_id), None)
        return note.version

    def runner(
        self,
        owner: str = "a",
        *,
        archives: bool = True,
        policy: RetryPolicy | None = None,
        sleep: Sleep = asyncio.sleep,
        similarity: Similarity | None = None,
    ) -> DeletionRunner:
        return DeletionRunner(
            store=FakeSagas(self),
            nodes=FakeNodes(self),
            graph=FakeGraph(self),
            similarity=similarity or FakeSimilarity(self),
            archives=FakeArchives(self) if archives else None,
            observer=FakeObserver(self),
            clock=self.clock,
            owner=owner,
            policy=policy or RetryPolicy(),
            rng=random.Random(7),
            sleep=sleep,
        )

    def deletions(self) -> Deletions:
        def offer(user_id: str, node_id: str) -> bool:
            self.offered.append((user_id, node_id))
            return True

        return Deletions(
            store=FakeSagas(self),
            nodes=FakeNodes(self),
            erasures=FakeErasureStatus(self),
            clock=self.clock,
            offer=offer,
        )

    def eraser(self, owner: str = "a", *, quiet_ms: int = 5000) -> UserEraser:
        return UserEraser(
            store=FakeErasures(self),
            ledger=FakeErasureLedger(self),
            partition=FakeUserPartition(self),
            nodes=FakeNodes(self),
            graph=FakeGraph(self),
            similarity=FakeSimilarity(self),
            clock=self.clock,
            ids=Ids(self),
            owner=owner,
            quiet_ms=quiet_ms,
            rng=random.Random(7),
        )

    def pass_point(self, name: str) -> None:
        self.calls.append(name)
        self.at(name)


class FakeSagas:
    shards = 16

    def __init__(self, world: World) -> None:
        self.w = world

    async def get(self, user_id: str, node_id: str) -> Saga | None:
        self.w.pass_point("sagas.get")
        return self.w.sagas.get((user_id, node_id))

    async def get_many(self, keys: Sequence[NodeKey]) -> dict[NodeKey, Saga]:
        self.w.pass_point("sagas.get_many")
        return {key: self.w.sagas[key] for key in keys if key in self.w.sagas}

    async def save(self, saga: Saga) -> Saga:
        self.w.pass_point("sagas.save")
        saved = self._save(saga)
        self.w.pass_point("sagas.saved")
        return saved

    async def finish(self, saga: Saga) -> Saga:
        self.w.pass_point("sagas.finish")
        saved = self._save(saga)
        self.w.published.append(saved)
        self.w.pass_point("sagas.finished")
        return saved

    async def list_by_state(
        self, state: State, shard: int, until_ms: int | None, after: str, limit: int
    ) -> list[QueueEntry]:
        found = [
            (QueueEntry(*key, f"{saga.queue_time_ms:013d}#{key[0]}#{key[1]}"), saga)
            for key, saga in self.w.sagas.items()
            if saga.state is state and sum(map(ord, key[0] + key[1])) % self.shards == shard
        ]
        found.sort(key=lambda one: one[0].position)
        return [
            due for due, saga in found if due.position > after and (until_ms is None or saga.queue_time_ms <= until_ms)
        ][:limit]

    async def list_by_user(self, user_id: str, after: str, limit: int, times: TimeRange = ALWAYS) -> list[QueueEntry]:
        found = [
            QueueEntry(*key, f"{saga.delete_ms:013d}#{key[1]}")
            for key, saga in self.w.sagas.items()
            if key[0] == user_id and saga.delete_ms in times
        ]
        found.sort(key=lambda due: due.position)
        return [due for due in found if due.position > after][:limit]

    def _save(self, saga: Saga) -> Saga:
        key = (saga.user_id, saga.node_id)
        stored = self.w.sagas.get(key)
        if saga.revision != (stored.revision if stored else ""):
            raise WriteConflict("written by another")
        saved = replace(saga, revision=f"r{next(self.w._ids)}")
        self.w.sagas[key] = saved
        return saved


class FakeNodes:
    def __init__(self, world: World) -> None:
        self.w = world

    async def get_deletion(self, user_id: str, node_id: str) -> Deletion | None:
        self.w.pass_point("nodes.deletion")
        note = self.w.notes.get((user_id, node_id))
        if note is None:
            raise NotFound("no such note")
        if not note.deleted:
            return None
        return Deletion(user_id, node_id, note.version, note.delete_ms, note.purge_ms, note.cascade)

    async def fence(self, user_id: str, node_id: str, version: int) -> Fenced:
        self.w.pass_point("nodes.fence")
        note = self.w.notes.get((user_id, node_id))
        if note is None:
            return Fenced(None, None)
        if not note.deleted or note.version != version:
            raise Superseded("the note was restored")
        note.fenced = True
        self.w.pass_point("nodes.fenced")
        return Fenced({"kind": "note", "id": node_id, "title": note.title, "text": ""}, note.cascade)

    async def purge(self, user_id: str, node_id: str, version: int) -> None:
        self.w.pass_point("nodes.purge")
        note = self.w.notes.get((user_id, node_id))
        if note is not None:
            if note.version != version:
                raise Superseded("another note")
            assert note.fenced
            del self.w.notes[(user_id, node_id)]
        self.w.pass_point("nodes.purged")

    async def unchanged(self, user_id: str, node_ids: Sequence[str]) -> dict[str, str]:
        self.w.pass_point("nodes.unchanged")
        notes = {node_id: self.w.notes.get((user_id, node_id)) for node_id in node_ids}
        return {
            node_id: str(note.version)
            for node_id, note in notes.items()
            if note and note.version == 1 and not note.deleted
        }

    async def delete_unchanged(self, user_id: str, node_id: str, etag: str) -> bool:
        self.w.pass_point("nodes.delete")
        note = self.w.notes.get((user_id, node_id))
        if note is None or note.deleted or str(note.version) != etag:
            return False
        self.w.delete(node_id, user_id, retention=1000)
        self.w.pass_point("nodes.deleted")
        return True

    async def delete(self, user_id: str, node_id: str) -> int | None:
        self.w.pass_point("nodes.delete_any")
        note = self.w.notes.get((user_id, node_id))
        if note is None:
            return None
        if not note.deleted:
            self.w.delete(node_id, user_id, retention=1000)
        return note.version


class FakeGraph:
    def __init__(self, world: World) -> None:
        self.w = world

    def _at(self, user_id: str, node_id: str) -> list[tuple[str, str]]:
        return sorted(link for link in self.w.links.get(user_id, set()) if node_id in link)

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        self.w.pass_point("graph.set_visibility")
        self.w.hidden[(user_id, node_id)] = max(version, self.w.hidden.get((user_id, node_id), 0))
        self.w.pass_point("graph.hidden")

    async def edges(self, user_id: str, node_id: str) -> AsyncIterator[list[Record]]:
        for link in self._at(user_id, node_id):
            self.w.pass_point("graph.edges")
            yield [_edge(link)]

    async def detach(self, user_id: str, node_id: str, version: int) -> tuple[list[Record], bool]:
        self.w.pass_point("graph.detach")
        gone = self._at(user_id, node_id)[: self.w.detach_limit]
        self.w.links.get(user_id, set()).difference_update(gone)
        self.w.pass_point("graph.detached")
        return [_edge(link) for link in gone], not self._at(user_id, node_id)


class FakeSimilarity:
    def __init__(self, world: World) -> None:
        self.w = world

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        self.w.pass_point("similarity.set_visibility")

    async def keywords(self, user_id: str, note: Record) -> list[Record]:
        self.w.pass_point("similarity.keywords")
        return [{"keyword": note["title"], "weight": 1.0}]

    async def remove_node(self, user_id: str, node_id: str, version: int) -> None:
        self.w.pass_point("similarity.remove")
        self.w.index.discard((user_id, node_id))
        self.w.pass_point("similarity.removed")


class FakeArchives:
    def __init__(self, world: World) -> None:
        self.w = world

    async def write(
        self, saga: Saga, note: Record, keywords: Sequence[Record], edges: AsyncIterator[list[Record]]
    ) -> Archived:
        self.w.pass_point("archives.write")
        found = [edge async for batch in edges for edge in batch]
        uri = f"s3://archives/{saga.user_id}/{saga.node_id}/{saga.revision}"
        self.w.archived[uri] = {"note": note, "keywords": keywords, "edges": {edge_key(edge) for edge in found}}
        self.w.pass_point("archives.written")
        return Archived(uri, len(found))

    async def edge_keys(self, uri: str) -> set[str]:
        self.w.pass_point("archives.edge_keys")
        return set(self.w.archived[uri]["edges"])

    async def append(self, uri: str, edges: Sequence[Record]) -> None:
        self.w.pass_point("archives.append")
        self.w.archived[uri]["edges"] |= {edge_key(edge) for edge in edges}
        self.w.pass_point("archives.appended")


class FakeErasures:
    """usecases.erase.ErasureStore."""

    def __init__(self, world: World) -> None:
        self.w = world

    async def begin(self, erasure: Erasure) -> Erasure:
        for known in self.w.erasures.values():
            if known.user_id == erasure.user_id and not known.done:
                return known
        self.w.erasing.add(erasure.user_id)
        return self._save(erasure)

    async def get(self, erasure_id: str) -> Erasure | None:
        return self.w.erasures.get(erasure_id)

    async def save(self, erasure: Erasure) -> Erasure:
        self.w.pass_point("erasures.save")
        saved = self._save(erasure)
        self.w.pass_point("erasures.saved")
        return saved

    async def finish(self, erasure: Erasure) -> Erasure:
        self.w.pass_point("erasures.finish")
        self.w.erasing.discard(self.w.erasures[erasure.erasure_id].user_id)
        saved = self._save(erasure)
        self.w.pass_point("erasures.finished")
        return saved

    async def due(self, now_ms: int) -> list[str]:
        return [one.erasure_id for one in self.w.erasures.values() if not one.done and one.queue_time_ms <= now_ms]

    def _save(self, erasure: Erasure) -> Erasure:
        stored = self.w.erasures.get(erasure.erasure_id)
        if erasure.revision != (stored.revision if stored else ""):
            raise WriteConflict("written by another")
        saved = replace(erasure, revision=f"r{next(self.w._ids)}")
        self.w.erasures[erasure.erasure_id] = saved
        return saved


class FakeErasureLedger:
    """ports.erase_user.ErasureLedger."""

    def __init__(self, world: World) -> None:
        self.w = world

    async def write(self, record: ErasureRecord) -> None:
        self.w.pass_point("ledger.write")
        self.w.ledger.append(record)
        self.w.pass_point("ledger.written")

    async def read(self) -> AsyncIterator[ErasureRecord]:
        for record in self.w.ledger:
            yield record


class FakeUserPartition:
    """usecases.erase.UserPartition; `rest` is what the stores hold by kind."""

    def __init__(self, world: World) -> None:
        self.w = world

    async def note_ids(self, user_id: str) -> AsyncIterator[list[str]]:
        found = sorted(node_id for user, node_id in self.w.notes if user == user_id)
        for start in range(0, len(found), 3):
            self.w.pass_point("partition.note_ids")
            yield found[start : start + 3]

    async def remove_edges(self, user_id: str) -> int:
        return self._take("edges", user_id)

    async def remove_index(self, user_id: str) -> int:
        return self._take("index", user_id)

    async def remove_cache(self, user_id: str) -> int:
        return self._take("cache", user_id)

    async def remove_archives(self, user_id: str) -> int:
        return self._take("archives", user_id)

    async def remove_records(self, user_id: str) -> int:
        gone = [key for key in self.w.sagas if key[0] == user_id]
        for key in gone:
            del self.w.sagas[key]
        return len(gone) + self._take("records", user_id)

    def _take(self, kind: str, user_id: str) -> int:
        self.w.pass_point(f"partition.{kind}")
        count = self.w.rest.pop((kind, user_id), 0)
        self.w.pass_point(f"partition.{kind} gone")
        return count


class FakeErasureStatus:
    def __init__(self, world: World) -> None:
        self.w = world

    async def is_erasing(self, user_id: str) -> bool:
        return user_id in self.w.erasing


class FakeObserver:
    def __init__(self, world: World) -> None:
        self.w = world

    def step_done(self, saga: Saga, seconds: float) -> None: ...

    def attempt_failed(self, saga: Saga, seconds: float) -> None: ...

    def stopped(self, saga: Saga) -> None: ...


def _edge(link: tuple[str, str]) -> Record:
    return {"kind": "edge", "source_id": link[0], "target_id": link[1], "type": "related", "weight": 1.0}
