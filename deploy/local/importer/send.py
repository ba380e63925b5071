"""Stores what a Source reads: notes in batches with a bounded number in flight, links, rejections, what was deleted.

Nothing is dropped in silence. A batch whose answer got lost is sent again under the same request_id, so it is stored
once; the ids of notes come from the file, so a whole import can be run again and finds what is there. Where a service
asks for time (RESOURCE_EXHAUSTED with RetryInfo), it gets it. The import ends only when nothing at all has succeeded
for `patience` seconds: as long as something succeeds, what does not is tried again.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC
from itertools import islice
from time import monotonic
from typing import Any, TypeVar

from google.protobuf import json_format

from clients.python.brain2 import (
    Brain2,
    Brain2Error,
    LinkResult,
    NewLink,
    NewNote,
    NoteResult,
    NoteSettings,
    NotFound,
    Reason,
    SearchSettings,
)
from clients.python.brain2 import Link as StoredLink
from clients.python.brain2 import Note as StoredNote
from deploy.local.importer.items import Item, Link, Note, Owned, Problem, Rejection, Settings, Source
from deploy.local.importer.report import Report
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.resilience.retry import Backoff

T = TypeVar("T")
Results = TypeVar("Results", NoteResult, LinkResult)
# Half of the 4 MiB that a server takes, since a limit is no place to live.
_BATCH_BYTES = 2 << 20
_BATCH_NOTES = 100
_BATCH_LINKS = 200
# Notes whose stored texts are compared at a time; so many of the largest size fit into one answer.
_BATCH_READS = 15
_CALL_SECONDS = 30.0
# Items of a source that are read at a time, in a thread, so that calls in flight go on meanwhile.
_READ_ITEMS = 256
_BACKOFF = Backoff(base=0.1, cap=5.0)
_INDEXED_POLL_SECONDS = 0.25


class GaveUpError(Exception):
    """Nothing succeeded for longer than the patience; the text says which error came last."""


class Importer:
    """One import for the user of a client. report fills up while run() goes on.

    update: replace stored notes whose text differs. in_flight: batches at a time.
    patience: seconds without any success after which the import ends. on_progress: called after every batch.
    """

    def __init__(
        self,
        brain: Brain2,
        *,
        update: bool = False,
        in_flight: int = 4,
        patience: float = 60.0,
        on_progress: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.report = Report()
        self._brain = brain
        self._update = update
        self._in_flight = in_flight
        self._patience = patience
        self._on_progress = on_progress
        self._sleep = sleep
        self._clock = clock
        # A call waits for a service that is away; it must not wait for longer than the import would.
        self._call_seconds = min(_CALL_SECONDS, max(patience, 1.0))
        # Shared by all calls: a long import must outlive hiccups, not a service that is gone.
        self._last_success = clock()

    async def run(self, source: Source) -> None:
        """Read and store everything. GaveUpError when a service stays away; the report is true all the same."""
        links: list[Link] = []
        rejections: list[Rejection] = []
        deleted: list[Note] = []
        owned: list[Owned] = []
        self._last_success = self._clock()
        async with _Flight(self._in_flight) as flight:
            batch: list[Note] = []
            size = 0
            async for item in _read(source):
                if isinstance(item, Note):
                    self.report.read_notes += 1
                    if item.deleted:
                        deleted.append(item)
                    grown = size + item.node.ByteSize() + 8
                    if batch and (len(batch) == _BATCH_NOTES or grown > _BATCH_BYTES):
                        await flight.add(self._notes, batch)
                        batch, grown = [], item.node.ByteSize() + 8
                    batch.append(item)
                    size = grown
                elif isinstance(item, Settings):
                    # They come first, and hold for what follows: whether and how links are made.
                    await self._settings(item)
                elif isinstance(item, Owned):
                    owned.append(item)
                elif isinstance(item, Rejection):
                    rejections.append(item)
                else:
                    self._other(item, links)
            if batch:
                await flight.add(self._notes, batch)
        if self._update:
            for item in owned:
                await self._remove_stale(item, links)
        async with _Flight(self._in_flight) as flight:
            for chunk in _chunks(links, _BATCH_LINKS):
                await flight.add(self._links, chunk)
        async with _Flight(self._in_flight) as flight:
            for rejection in rejections:
                await flight.add(self._reject, rejection)
        for note in deleted:
            await self._delete(note)

    async def _settings(self, item: Settings) -> None:
        update = {"node": self._note_settings, "similarity": self._search_settings}.get(item.context)
        if update is None:
            self.report.remarks.append((item.where, f"settings of {item.context!r} are not known here"))
            return
        try:
            await update(item)
        except (json_format.ParseError, ValueError) as error:
            self.report.fail(item.where, f"not settings: {error}")

    async def _note_settings(self, item: Settings) -> None:
        read = json_format.ParseDict(item.values, node_pb2.UserSettings(), ignore_unknown_fields=True)
        wanted = NoteSettings(read.retention.ToTimedelta() if read.HasField("retention") else None)
        request = self._request()
        await self._call(self._fail(item, "settings not stored"),
                         lambda: self._brain.notes.update_settings(wanted, **request))  # fmt: skip

    async def _search_settings(self, item: Settings) -> None:
        read = json_format.ParseDict(item.values, similarity_pb2.UserSettings(), ignore_unknown_fields=True)
        auto_link = read.auto_link if read.HasField("auto_link") else None
        wanted = SearchSettings(read.language, auto_link, read.link_threshold, read.max_links)
        request = self._request()
        await self._call(self._fail(item, "settings not stored"),
                         lambda: self._brain.search.update_settings(wanted, **request))  # fmt: skip

    def _other(self, item: Item, links: list[Link]) -> None:
        if isinstance(item, Link):
            self.report.read_links += 1
            links.append(item)
        elif isinstance(item, Problem):
            (self.report.failures if item.fatal else self.report.remarks).append((item.where, item.reason))

    async def _notes(self, notes: Sequence[Note]) -> None:
        existing: list[Note] = []

        def record(note: Note, result: NoteResult) -> None:
            if result.error is None:
                self.report.created += 1
                self.report.stored.add(note.node.node_id)
            elif result.error.reason == "NODE_EXISTS":
                existing.append(note)
            else:
                self.report.fail_note(note.where, _why(result.error))

        async def send(some: Sequence[Note]) -> Sequence[NoteResult] | None:
            wanted, request = [_new_note(note.node) for note in some], self._request()
            return await self._call(
                self._fail_notes(some), lambda: self._brain.notes.create_many(wanted, **request), is_batch=True
            )

        await self._batch(notes, send, record)
        for chunk in _chunks(existing, _BATCH_READS):
            await self._compare(chunk)
        self._on_progress()

    async def _links(self, links: Sequence[Link]) -> None:
        weightless: list[Link] = []

        def record(link: Link, result: LinkResult) -> None:
            if result.link is not None:
                if link.zero and result.link.weight:
                    weightless.append(link)
                self.report.linked += result.created
                self.report.linked_before += not result.created
            elif result.error is not None:
                self.report.fail(link.where, _why(result.error))

        async def send(some: Sequence[Link]) -> Sequence[LinkResult] | None:
            wanted, request = [_new_link(link.edge) for link in some], self._request()

            def fail(why: str) -> None:
                for link in some:
                    self.report.fail(link.where, why)

            return await self._call(fail, lambda: self._brain.links.create_many(wanted, **request), is_batch=True)

        await self._batch(links, send, record)
        for link in weightless:
            await self._set_weight_zero(link)

    async def _set_weight_zero(self, link: Link) -> None:
        edge, request = link.edge, self._request()
        await self._call(
            self._fail(link),
            lambda: self._brain.links.update(edge.source_id, edge.target_id, type=edge.type, weight=0.0, **request),
        )

    async def _reject(self, rejection: Rejection) -> None:
        """Reject a link. One that a person has made in this graph stays: only automatic ones are rejected."""
        ends, type_ = (rejection.source_id, rejection.target_id), rejection.edge_type
        fail = self._fail(rejection, "the link is not rejected")

        async def person_made() -> bool:
            try:
                found = await self._brain.links.get(*ends, type=type_, timeout=self._call_seconds)
            except NotFound:
                return False
            return not found.auto_generated

        made = await self._call(fail, person_made)
        if made:
            self.report.remarks.append((rejection.where, "the link is not rejected: a person has made it here"))
        if made is not False:
            return
        request = self._request()
        await self._call(fail, lambda: self._brain.links.reject(*ends, type=type_, **request))

    async def _batch(
        self,
        items: Sequence[T],
        send: Callable[[Sequence[T]], Awaitable[Sequence[Results] | None]],
        record: Callable[[T, Results], None],
    ) -> None:
        """Send items, and those whose own result is transient again while anything succeeds.

        record() gets the last result of each.
        """
        began = self._clock()
        attempt = 0
        while items:
            results = await send(items)
            if results is None:
                return
            again: list[T] = []
            if any(result.error is None or not result.error.transient for result in results):
                self._last_success = self._clock()
            out_of_patience = self._clock() - max(self._last_success, began) > self._patience
            for item, result in zip(items, results, strict=True):
                if result.error is not None and result.error.transient and not out_of_patience:
                    again.append(item)
                else:
                    record(item, result)
            self._on_progress()
            if again:
                await self._sleep(_BACKOFF.delay(attempt))
                attempt += 1
            items = again

    async def _compare(self, notes: Sequence[Note]) -> None:
        """Notes whose id is taken: by themselves, by an older text, or by a note that is deleted."""
        ids = [note.node.node_id for note in notes]
        stored = await self._call(
            self._fail_notes(notes), lambda: self._brain.notes.get_many(ids, timeout=self._call_seconds)
        )
        if stored is None:
            return
        for note in notes:
            found = stored.get(note.node.node_id)
            if found is None and not note.deleted:
                self.report.fail_note(
                    note.where, f"NODE_DELETED: {note.node.node_id} is a deleted note, restore it first"
                )
            elif found is None or _same(found, note.node):
                self.report.present += 1
            elif self._update:
                if not await self._replace(note):
                    continue
            else:
                self.report.differing.append((note.where, note.node.node_id))
            if found is not None:
                self.report.stored.add(note.node.node_id)

    async def _replace(self, note: Note) -> bool:
        new, request = _new_note(note.node), self._request()

        def update() -> Awaitable[StoredNote]:
            return self._brain.notes.update(
                new.node_id,
                title=new.title,
                content=new.content,
                tags=new.tags,
                # A file without aliases leaves those that somebody gave the note.
                aliases=new.aliases or None,
                metadata=new.metadata,
                **request,
            )

        if await self._call(self._fail_notes([note]), update) is None:
            return False
        self.report.updated += 1
        return True

    async def _delete(self, note: Note) -> None:
        node_id, request = note.node.node_id, self._request()
        deleted = await self._call(
            self._fail(note, "not deleted again"), lambda: self._brain.notes.delete(node_id, **request)
        )
        if deleted is not None:
            self.report.stored.discard(node_id)

    async def _remove_stale(self, owned: Owned, links: Sequence[Link]) -> None:
        """Delete the edges that the texts of updated notes no longer name, or name in another direction.

        An edge without a direction stays as long as one of its ends is no note of this import: only that one knows.
        """
        wanted = {
            frozenset((link.edge.source_id, link.edge.target_id)): (link.edge.source_id, link.edge.directed)
            for link in links
            if link.edge.type == owned.edge_type
        }
        ours = owned.node_ids & self.report.stored
        for edge in await self._edges(owned.edge_type):
            source, target = edge.source_id, edge.target_id
            wish = wanted.get(frozenset((source, target)))
            same = wish is not None and wish[1] == edge.directed and (not edge.directed or wish[0] == source)
            if same or source not in ours or (not edge.directed and target not in ours):
                continue
            if edge.labels.get("source") == "text" and (
                target not in ours or frozenset((source, target)) in owned.from_text
            ):
                # The similarity service follows this link by its own rules, or to a note that is not of this source.
                continue

            def fail(why: str, where: str = f"{source} -> {target}") -> None:
                self.report.fail(where, f"the stale link is not removed: {why}")

            if await self._call(fail, self._deletion(edge)) and wish is None:
                self.report.unlinked += 1

    def _deletion(self, edge: StoredLink) -> Callable[[], Awaitable[bool]]:
        request = self._request()
        return lambda: self._brain.links.delete(edge.source_id, edge.target_id, type=edge.type, **request)

    async def _edges(self, edge_type: str) -> list[StoredLink]:
        """The stored edges of a type that people made; none, and a failure in the report, if they can't be read."""

        async def read() -> list[StoredLink]:
            return [
                link async for link in self._brain.links.all(timeout=self._call_seconds)
                if link.type == edge_type and not link.auto_generated
            ]  # fmt: skip

        def fail(why: str) -> None:
            self.report.fail("links", f"stale ones are not removed: {why}")

        return await self._call(fail, read) or []

    def _request(self) -> dict[str, Any]:
        """The arguments of a change: all its repetitions have the same request_id, so it happens once."""
        return {"request_id": uuid.uuid4().hex, "timeout": self._call_seconds}

    async def _call(
        self, fail: Callable[[str], None], call: Callable[[], Awaitable[T]], *, is_batch: bool = False
    ) -> T | None:
        """The answer, or None: it can't succeed, and fail() was told why. GaveUpError when nobody answers."""
        began = self._clock()
        attempt = 0
        while True:
            try:
                answer = await call()
            except Brain2Error as error:
                if not error.transient:
                    fail(_why(error))
                    return None
                # Reading the source takes time, too: a call has its patience from its own beginning.
                if self._clock() - max(self._last_success, began) > self._patience:
                    raise GaveUpError(_why(error)) from None
                await self._sleep(_BACKOFF.delay(attempt, at_least=error.retry_after))
                attempt += 1
            else:
                # A batch whose items were all refused for now is no success: _batch() decides by its items.
                if not is_batch:
                    self._last_success = self._clock()
                return answer

    def _fail(self, item: Settings | Link | Rejection | Note, what: str = "") -> Callable[[str], None]:
        return lambda why: self.report.fail(item.where, f"{what}: {why}" if what else why)

    def _fail_notes(self, notes: Sequence[Note]) -> Callable[[str], None]:
        def fail(why: str) -> None:
            for note in notes:
                self.report.fail_note(note.where, why)

        return fail

    async def wait_until_indexed(self, seconds: float, on_progress: Callable[[int, int], None]) -> int:
        """Poll until the similarity service knows every stored note; the number of those that it does not know.

        seconds: how long it waits without any further note becoming known. GaveUpError when the service stays away.
        """
        ids = sorted(self.report.stored)
        ends = self._clock() + seconds
        known = 0
        self._last_success = self._clock()

        async def until_known(node_id: str) -> None:
            nonlocal known, ends
            while self._clock() < ends:
                try:
                    await self._brain.search.keywords(node_id, limit=1, timeout=self._call_seconds)
                except NotFound:
                    self._last_success = self._clock()
                except Brain2Error as error:
                    if not error.transient:
                        raise
                    if self._clock() - self._last_success > self._patience:
                        raise GaveUpError(_why(error)) from None
                else:
                    self._last_success = self._clock()
                    known += 1
                    ends = self._clock() + seconds
                    on_progress(known, len(ids))
                    return
                # Few questions: each of them is a line in the service's log.
                await self._sleep(_INDEXED_POLL_SECONDS)
                on_progress(known, len(ids))

        async with _Flight(self._in_flight) as flight:
            for node_id in ids:
                await flight.add(until_known, node_id)
        return len(ids) - known


class _Flight:
    """Runs coroutines, at most so many at a time: add() waits for a place; the block ends when all have ended."""

    def __init__(self, limit: int) -> None:
        self._places = asyncio.Semaphore(limit)
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> "_Flight":
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        try:
            await self._group.__aexit__(*exc)
        except BaseExceptionGroup as failures:
            # One reason is enough for a person; the others are the same or follow from it.
            raise failures.exceptions[0] from None

    async def add(self, fn: Callable[[T], Awaitable[None]], argument: T) -> None:
        await self._places.acquire()

        async def fly() -> None:
            try:
                await fn(argument)
            finally:
                self._places.release()

        self._group.create_task(fly())


async def _read(source: Source) -> AsyncIterator[Item]:
    """The items of a source, read in a thread: a file is parsed while calls are in flight."""
    items = iter(source)
    while chunk := await asyncio.to_thread(lambda: list(islice(items, _READ_ITEMS))):
        for item in chunk:
            yield item


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _why(error: Brain2Error) -> str:
    return f"{error.reason}: {error.message}"


def _new_note(node: node_pb2.NewNode) -> NewNote:
    create_time = node.create_time.ToDatetime(tzinfo=UTC) if node.HasField("create_time") else None
    return NewNote(
        node.title,
        node.content,
        tuple(node.tags),
        node.metadata,
        node.node_id,
        create_time,
        tuple(node.aliases),
    )


def _new_link(edge: graph_pb2.NewEdge) -> NewLink:
    meta = edge.metadata
    return NewLink(
        edge.source_id,
        edge.target_id,
        edge.type,
        edge.directed,
        edge.weight or 1.0,
        meta.labels,
        meta.auto_generated,
        meta.confirmed,
        meta.score,
        tuple(Reason(shared.keyword, shared.contribution) for shared in meta.shared_keywords),
        meta.method,
    )


def _same(stored: StoredNote, new: node_pb2.NewNode) -> bool:
    """Whether a stored note holds what the file has; entries of its metadata that somebody added do not count."""
    if new.aliases and stored.aliases != tuple(new.aliases):
        return False
    return (stored.title.strip(), stored.content.strip(), set(stored.tags)) == (
        new.title.strip(),
        new.content.strip(),
        set(new.tags),
    ) and all(stored.metadata.get(key) == value for key, value in new.metadata.items())
