"""Commits writes so that no cache keeps what they replace, wherever the process dies (docs/list-cache.md).

begin() in Redis makes the lists unusable, then the transaction is committed in DynamoDB, then finish() in Redis makes
the lists usable again and publishes the invalidation. After a crash in between, the pending write in Redis expires.
When Redis is away, the transaction itself stores a journal entry, which every process replays (cache_recovery.py).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from services.graph_service.model.consistency_token import Token, token_for
from services.graph_service.model.edge import EdgeKey
from services.graph_service.ports import (
    Codec,
    EdgeStore,
    Invalidation,
    JournalEntry,
    ListCache,
    VisibilityRecord,
    Write,
    WriteRejected,
)
from services.graph_service.usecases.list_lookup import ListLookup
from shared.errors import Brain2Error, DeadlineExceeded, Unavailable
from shared.ids import Clock, IdFactory
from shared.resilience.background import BackgroundTasks
from shared.resilience.slices import in_slices

log = logging.getLogger(__name__)
T = TypeVar("T")
Commit = Callable[[JournalEntry | None], Awaitable[T]]


class Committer:
    """commit_seconds: the longest time for a transaction; it must be well below the life of a pending write."""

    def __init__(
        self,
        store: EdgeStore,
        cache: ListCache,
        lookup: ListLookup,
        codec: Codec,
        ids: IdFactory,
        clock: Clock,
        *,
        commit_seconds: float = 8.0,
    ) -> None:
        self._store = store
        self._cache = cache
        self._lookup = lookup
        self._codec = codec
        self._ids = ids
        self._clock = clock
        self._commit_seconds = commit_seconds
        self._running = BackgroundTasks()

    async def commit_edges(self, write: Write, keys: Iterable[EdgeKey] = ()) -> Token:
        """Commit a write of edges. keys: edges to invalidate besides the changed ones. Raises as EdgeStore.commit."""
        changed = [change.edge.key for change in write.changes]
        shown = [(change.change_type, change.shown) for change in write.changes]
        entries = [(change_type, edge) for change_type, edge in shown if edge is not None]
        feed = tuple(await in_slices(lambda entry: self._codec.feed_entry(*entry), entries))

        async def commit(journal: JournalEntry | None) -> None:
            await self._store.commit(replace(write, journal=journal))

        _, token = await self.run(edge_invalidation(write.user_id, (*changed, *keys), feed), commit)
        return token

    async def run(
        self,
        invalidation: Invalidation,
        commit: Commit[T],
        visibility: VisibilityRecord | None = None,
        writer: str = "",
    ) -> tuple[T, Token]:
        """The result of commit(journal), and the token of the write. It ends even if the caller is cancelled.

        visibility: what the commit stores; readers see it before, unless Redis is away.
        writer: the name of a pending write that has begun, and ends with this one; "" = none has.
        DeadlineExceeded: the commit took too long, and may still be done. Otherwise raises as `commit`.
        """
        task = self._running.start(self._run(invalidation, commit, visibility, writer or self._ids.new_id()))
        try:
            # Not shield(), which reads no exception of a task whose caller has gone: asyncio would log a traceback.
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise
        return task.result()

    async def begin(self, invalidation: Invalidation, writer: str, visibility: VisibilityRecord | None = None) -> bool:
        """Make the lists unusable in every process, and let readers see the visibility. Whether Redis did it.

        writer: the name of the pending write.
        """
        begun = True
        try:
            await self._cache.begin(invalidation, writer, visibility)
        except Unavailable:
            begun = False
        self._lookup.invalidate(invalidation.user_id, invalidation.node_ids)
        return begun

    async def undo(self, invalidation: Invalidation, writer: str) -> None:
        """Nothing was written: remove the pending write, and add nothing to the feed."""
        try:
            await self._cache.finish(replace(invalidation, feed=()), writer)
        except Unavailable:
            pass  # the pending write expires
        self._lookup.invalidate(invalidation.user_id, invalidation.node_ids)

    async def renew_token(self, user_id: str, keys: Iterable[EdgeKey]) -> Token:
        """Invalidate the lists of a write that was committed before, and return a token for it.

        The process that committed it may have died before it called finish().
        """
        return await self._finish(edge_invalidation(user_id, keys), self._ids.new_id(), in_journal=False)

    async def drain(self) -> None:
        """Wait for the writes that run."""
        await self._running.drain()

    async def _run(
        self,
        invalidation: Invalidation,
        commit: Commit[T],
        visibility: VisibilityRecord | None,
        writer: str,
    ) -> tuple[T, Token]:
        begun = await self.begin(invalidation, writer, visibility)
        journal = None if begun else JournalEntry(writer, invalidation)
        try:
            async with asyncio.timeout(self._commit_seconds):
                result = await commit(journal)
        except TimeoutError:
            raise DeadlineExceeded("the write took too long; whether it was done is not known") from None
        except (Unavailable, DeadlineExceeded):
            # The write may still be done: the pending write stays in Redis until it expires.
            raise
        except (Brain2Error, WriteRejected):
            if journal is None:
                await self.undo(invalidation, writer)
            raise
        return result, await self._finish(invalidation, writer, in_journal=journal is not None)

    async def _finish(self, invalidation: Invalidation, writer: str, *, in_journal: bool) -> Token:
        stamp, space = 0, self._cache.space
        try:
            stamp = await self._cache.finish(invalidation, writer)
            if in_journal:
                self._running.start(self._delete_journal_entry(JournalEntry(writer, invalidation)))
        except Unavailable:
            if not in_journal:
                await self._add_journal_entry(JournalEntry(writer, invalidation))
        self._lookup.invalidate(invalidation.user_id, invalidation.node_ids)
        if not space or space != self._cache.space:
            stamp = 0  # no process could tell by which clock it is
        return token_for(space, stamp, self._clock.now_ms(), invalidation.node_ids)

    async def _add_journal_entry(self, entry: JournalEntry) -> None:
        try:
            await self._store.add_journal_entry(entry)
        except Brain2Error as error:
            # Redis and DynamoDB failed one after the other; the pending write in Redis still protects the lists.
            fields = {"user_id": entry.invalidation.user_id, "error": repr(error)}
            log.warning("an invalidation could not be journaled", extra=fields)

    async def _delete_journal_entry(self, entry: JournalEntry) -> None:
        try:
            await self._store.delete_journal_entries([entry])
        except Brain2Error:
            pass  # it is replayed once more, which does no harm


def _log_failure(task: "asyncio.Task[object]") -> None:
    """Log the error of a write whose caller has gone: nobody else reads it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        known = isinstance(error, Brain2Error | WriteRejected)
        fields = {"error": repr(error)}
        log.warning("a write failed after its caller had gone", extra=fields, exc_info=None if known else error)


def edge_invalidation(user_id: str, keys: Iterable[EdgeKey], feed: tuple[bytes, ...] = ()) -> Invalidation:
    """The list entries of some edges: one at each end."""
    members = [(end, f"{key.other(end)}#{key.type}") for key in dict.fromkeys(keys) for end in (key.a, key.b)]
    return Invalidation(user_id, tuple(members), feed)
