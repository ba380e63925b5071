"""Stores what a Source reads: notes in batches with a bounded number in flight, links, rejections, what was deleted.

Nothing is dropped in silence. A batch whose answer got lost is sent again under the same request_id, so it is stored
once; the ids of notes come from the file, so a whole import can be run again and finds what is there. Where a service
asks for time (RESOURCE_EXHAUSTED with RetryInfo), it gets it. The import ends only when nothing at all has succeeded
for `patience` seconds: as long as something succeeds, what does not is tried again.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from deploy.local.importer.items import Item, Link, Note, Owned, Problem, Rejection, Settings, Source
from deploy.local.importer.report import Report
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import Brain2Error, NotFound
from shared.resilience.retry import Backoff

T = TypeVar("T")
# Half of the 4 MiB that a server takes, since a limit is no place to live.
_BATCH_BYTES = 2 << 20
_BATCH_NOTES = 100
_BATCH_LINKS = 200
# So many stored notes of the largest size fit into one answer.
_BATCH_READS = 15
_CALL_SECONDS = 30.0
_STREAM_SECONDS = 600.0
# Items of a source that are read at a time, in a thread, so that calls in flight go on meanwhile.
_READ_ITEMS = 256
_BACKOFF = Backoff(base=0.1, cap=5.0)
_INDEXED_POLL_SECONDS = 0.25
# google.rpc.Code of results that may be better next time: DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE.
_TRANSIENT = {4, 8, 10, 14}


class GaveUpError(Exception):
    """Nothing succeeded for longer than the patience; the text says which error came last."""


@dataclass(frozen=True)
class Stubs:
    """shared.grpc.client stubs of the services that an import calls."""

    node: Any
    graph: Any
    similarity: Any


class Importer:
    """One import for one user. report fills up while run() goes on; on_progress is called after every batch."""

    def __init__(
        self,
        stubs: Stubs,
        user: str,
        *,
        update: bool = False,
        in_flight: int = 4,
        patience: float = 60.0,
        on_progress: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.report = Report()
        self._stubs = stubs
        self._user = user
        self._update = update
        self._in_flight = in_flight
        self._patience = patience
        self._on_progress = on_progress
        self._sleep = sleep
        self._clock = clock
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
        known: dict[str, tuple[Any, Any]] = {
            "node": (node_pb2, self._stubs.node),
            "similarity": (similarity_pb2, self._stubs.similarity),
        }
        if item.context not in known:
            self.report.remarks.append((item.where, f"settings of {item.context!r} are not known here"))
            return
        package, stub = known[item.context]
        request = package.UpdateUserSettingsRequest(user_id=self._user)
        try:
            json_format.ParseDict(item.values, request.settings, ignore_unknown_fields=True)
        except json_format.ParseError as error:
            self.report.fail(item.where, f"not settings: {error}")
            return
        method = stub.UpdateUserSettings
        await self._call(lambda why: self.report.fail(item.where, f"settings not stored: {why}"), method, request)

    def _other(self, item: Item, links: list[Link]) -> None:
        if isinstance(item, Link):
            self.report.read_links += 1
            links.append(item)
        elif isinstance(item, Problem):
            (self.report.failures if item.fatal else self.report.remarks).append((item.where, item.reason))

    async def _notes(self, notes: Sequence[Note]) -> None:
        existing: list[Note] = []

        def record(note: Note, result: node_pb2.CreateNodeResult) -> None:
            if result.code == 0:
                self.report.created += 1
                self.report.stored.add(note.node.node_id)
            elif result.reason == "NODE_EXISTS":
                existing.append(note)
            else:
                self.report.fail_note(note.where, f"{result.reason}: {result.message}")

        async def send(some: Sequence[Note]) -> node_pb2.BatchCreateNodesResponse | None:
            request = node_pb2.BatchCreateNodesRequest(
                user_id=self._user, nodes=[note.node for note in some], request_id=uuid.uuid4().hex
            )
            return await self._call(self._fail_notes(some), self._stubs.node.BatchCreateNodes, request)

        await self._batch(notes, send, record)
        for chunk in _chunks(existing, _BATCH_READS):
            await self._compare(chunk)
        self._on_progress()

    async def _links(self, links: Sequence[Link]) -> None:
        weightless: list[Link] = []

        def record(link: Link, result: graph_pb2.CreateEdgeResult) -> None:
            if result.code == 0:
                if link.zero and result.edge.weight:
                    weightless.append(link)
                self.report.linked += result.created
                self.report.linked_before += not result.created
            else:
                self.report.fail(link.where, f"{result.reason}: {result.message}")

        async def send(some: Sequence[Link]) -> graph_pb2.BatchCreateEdgesResponse | None:
            request = graph_pb2.BatchCreateEdgesRequest(
                user_id=self._user, edges=[link.edge for link in some], request_id=uuid.uuid4().hex
            )

            def fail(why: str) -> None:
                for link in some:
                    self.report.fail(link.where, why)

            return await self._call(fail, self._stubs.graph.BatchCreateEdges, request)

        await self._batch(links, send, record)
        for link in weightless:
            await self._set_weight_zero(link)

    async def _set_weight_zero(self, link: Link) -> None:
        edge = link.edge
        request = graph_pb2.UpdateEdgeRequest(
            user_id=self._user, source_id=edge.source_id, target_id=edge.target_id, type=edge.type,
            update_mask=FieldMask(paths=["weight"]), request_id=uuid.uuid4().hex,
        )  # fmt: skip
        await self._call(lambda why: self.report.fail(link.where, why), self._stubs.graph.UpdateEdge, request)

    async def _reject(self, rejection: Rejection) -> None:
        """Reject a link. One that a person has made in this graph stays: only automatic ones are rejected."""

        async def person_made(request: graph_pb2.GetEdgeRequest, **options: Any) -> bool:
            try:
                found = await self._stubs.graph.GetEdge(request, **options)
            except NotFound:
                return False
            return not found.edge.metadata.auto_generated

        def fail(why: str) -> None:
            self.report.fail(rejection.where, f"the link is not rejected: {why}")

        ends = {"source_id": rejection.source_id, "target_id": rejection.target_id, "type": rejection.edge_type}
        made = await self._call(fail, person_made, graph_pb2.GetEdgeRequest(user_id=self._user, **ends))
        if made:
            self.report.remarks.append((rejection.where, "the link is not rejected: a person has made it here"))
        if made is not False:
            return
        request = graph_pb2.SuppressEdgeRequest(user_id=self._user, request_id=uuid.uuid4().hex, **ends)
        await self._call(fail, self._stubs.graph.SuppressEdge, request)

    async def _batch(
        self, items: Sequence[T], send: Callable[[Sequence[T]], Awaitable[Any]], record: Callable[[T, Any], None]
    ) -> None:
        """Send items, and those whose own result is transient again while anything succeeds.

        record() gets the last result of each.
        """
        began = self._clock()
        attempt = 0
        while items:
            answer = await send(items)
            if answer is None:
                return
            again: list[T] = []
            results = list(zip(items, answer.results, strict=True))
            if any(result.code not in _TRANSIENT for _, result in results):
                self._last_success = self._clock()
            out_of_patience = self._clock() - max(self._last_success, began) > self._patience
            for item, result in results:
                if result.code in _TRANSIENT and not out_of_patience:
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
        request = node_pb2.BatchGetNodesRequest(user_id=self._user, node_ids=[note.node.node_id for note in notes])
        answer = await self._call(self._fail_notes(notes), self._stubs.node.BatchGetNodes, request)
        if answer is None:
            return
        stored = {node.node_id: node for node in answer.nodes}
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
        request = node_pb2.UpdateNodeRequest(
            user_id=self._user, node_id=note.node.node_id, node=note.node,
            update_mask=FieldMask(paths=_changed_by(note.node)), request_id=uuid.uuid4().hex,
        )  # fmt: skip
        if await self._call(self._fail_notes([note]), self._stubs.node.UpdateNode, request) is None:
            return False
        self.report.updated += 1
        return True

    async def _delete(self, note: Note) -> None:
        request = node_pb2.DeleteNodeRequest(user_id=self._user, node_id=note.node.node_id, request_id=uuid.uuid4().hex)
        deleted = await self._call(
            lambda why: self.report.fail(note.where, f"not deleted again: {why}"), self._stubs.node.DeleteNode, request
        )
        if deleted is not None:
            self.report.stored.discard(note.node.node_id)

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
            if edge.metadata.labels.get("source") == "text" and (
                target not in ours or frozenset((source, target)) in owned.from_text
            ):
                # The similarity service follows this link by its own rules, or to a note that is not of this source.
                continue
            request = graph_pb2.DeleteEdgeRequest(
                user_id=self._user, source_id=source, target_id=target, type=edge.type, request_id=uuid.uuid4().hex
            )

            def fail(why: str, where: str = f"{source} -> {target}") -> None:
                self.report.fail(where, f"the stale link is not removed: {why}")

            answer = await self._call(fail, self._stubs.graph.DeleteEdge, request)
            if answer is not None and answer.deleted and wish is None:
                self.report.unlinked += 1

    async def _edges(self, edge_type: str) -> list[graph_pb2.Edge]:
        """The stored edges of a type that people made; none, and a failure in the report, if they can't be read."""

        async def read(request: graph_pb2.ListEdgesRequest, **_: Any) -> list[graph_pb2.Edge]:
            answers = self._stubs.graph.ListEdges(request, timeout=_STREAM_SECONDS)
            return [
                edge
                async for answer in answers
                for edge in answer.edges
                if edge.type == edge_type and not edge.metadata.auto_generated
            ]

        def fail(why: str) -> None:
            self.report.fail("links", f"stale ones are not removed: {why}")

        return await self._call(fail, read, graph_pb2.ListEdgesRequest(user_id=self._user)) or []

    async def _call(self, fail: Callable[[str], None], method: Callable[..., Awaitable[T]], request: Any) -> T | None:
        """The answer, or None: it can't succeed, and fail() was told why. GaveUpError when nobody answers."""
        began = self._clock()
        attempt = 0
        while True:
            try:
                answer = await method(request, timeout=_CALL_SECONDS, idempotent=True)
            except Brain2Error as error:
                if not error.transient:
                    fail(f"{error.reason}: {error.message}")
                    return None
                # Reading the source takes time, too: a call has its patience from its own beginning.
                if self._clock() - max(self._last_success, began) > self._patience:
                    raise GaveUpError(f"{error.reason}: {error.message}") from None
                await self._sleep(_BACKOFF.delay(attempt, at_least=error.retry_after))
                attempt += 1
            else:
                # A batch whose items were all refused for now is no success: _batch() decides by its items.
                if not hasattr(answer, "results"):
                    self._last_success = self._clock()
                return answer

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
            request = similarity_pb2.ExtractKeywordsRequest(user_id=self._user, node_id=node_id, limit=1)
            while self._clock() < ends:
                try:
                    await self._stubs.similarity.ExtractKeywords(request, timeout=_CALL_SECONDS)
                except NotFound:
                    self._last_success = self._clock()
                except Brain2Error as error:
                    if not error.transient:
                        raise
                    if self._clock() - self._last_success > self._patience:
                        raise GaveUpError(f"{error.reason}: {error.message}") from None
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


def _changed_by(new: node_pb2.NewNode) -> list[str]:
    """The fields that an update writes. A file without aliases leaves those that somebody gave the note."""
    return ["title", "content", "tags", "metadata", *(["aliases"] if new.aliases else [])]


def _same(stored: node_pb2.Node, new: node_pb2.NewNode) -> bool:
    """Whether a stored note holds what the file has; entries of its metadata that somebody added do not count."""
    if new.aliases and list(stored.aliases) != list(new.aliases):
        return False
    return (stored.title.strip(), stored.content.strip(), set(stored.tags)) == (
        new.title.strip(),
        new.content.strip(),
        set(new.tags),
    ) and all(stored.metadata.get(key) == value for key, value in new.metadata.items())
