"""How a write reaches DynamoDB so that no cache keeps what it replaced, wherever the process dies (docs/adr/0020).

begin in Redis (the lists become unusable) > commit in DynamoDB > finish in Redis (usable again, everybody told). A
crash in between leaves the mark, which expires. When Redis can't be told, the transaction itself carries a journal
entry, and every process replays the journal before and while it trusts Redis.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from services.graph_service.model.token import Token, token_for
from services.graph_service.ports import EdgeStore, Journal, ListCache, Refused, Touched
from services.graph_service.usecases.adjacency import Adjacency
from shared.errors import Brain2Error, DeadlineExceeded, Unavailable
from shared.ids import Clock, IdFactory

log = logging.getLogger(__name__)
T = TypeVar("T")
Commit = Callable[[Journal | None], Awaitable[T]]


class Committer:
    """Runs commits between begin and finish. seconds: a commit may take; must be well under the dirty mark's life."""

    def __init__(
        self,
        store: EdgeStore,
        cache: ListCache,
        adjacency: Adjacency,
        ids: IdFactory,
        clock: Clock,
        *,
        seconds: float = 8.0,
    ) -> None:
        self._store = store
        self._cache = cache
        self._adjacency = adjacency
        self._ids = ids
        self._clock = clock
        self._seconds = seconds
        self._running: set[asyncio.Task[object]] = set()

    async def run(self, touched: Touched, commit: Commit[T]) -> tuple[T, Token]:
        """commit(journal), and the token that stands for it. Goes on to its end even if the caller goes away."""
        task = asyncio.create_task(self._run(touched, commit))
        self._remember(task)
        return await asyncio.shield(task)

    async def again(self, touched: Touched) -> Token:
        """A token for a write that was committed before, perhaps by a process that died: its lists are renewed."""
        return await self._finish(replace(touched, feed=()), self._ids.new_id(), journaled=False)

    async def drain(self) -> None:
        """Wait for the writes that run."""
        while self._running:
            await asyncio.wait(tuple(self._running))

    async def _run(self, touched: Touched, commit: Commit[T]) -> tuple[T, Token]:
        writer = self._ids.new_id()
        journal: Journal | None = None
        try:
            await self._cache.begin(touched, writer)
        except Unavailable:
            journal = Journal(writer, touched)
        self._adjacency.invalidate(touched.user, touched.notes)
        try:
            async with asyncio.timeout(self._seconds):
                result = await commit(journal)
        except TimeoutError:
            raise DeadlineExceeded("the write took too long; whether it was done is not known") from None
        except (Unavailable, DeadlineExceeded):
            # It may still be done: the mark stays until it expires, then the lists are read again.
            raise
        except (Brain2Error, Refused):
            if journal is None:
                await self._undo(touched, writer)
            raise
        return result, await self._finish(touched, writer, journaled=journal is not None)

    async def _undo(self, touched: Touched, writer: str) -> None:
        """Nothing was written: only take the mark away."""
        try:
            await self._cache.finish(replace(touched, feed=()), writer)
        except Unavailable:
            pass  # the mark expires by itself

    async def _finish(self, touched: Touched, writer: str, *, journaled: bool) -> Token:
        stamp, space = 0, self._cache.space
        try:
            stamp = await self._cache.finish(touched, writer)
            if journaled:
                self._later(self._store.unjournal([Journal(writer, touched)]))
        except Unavailable:
            if not journaled:
                await self._journal(Journal(writer, touched))
        self._adjacency.invalidate(touched.user, touched.notes)
        if space != self._cache.space:
            stamp = 0
        return token_for(space, stamp, self._clock.now_ms(), touched.notes)

    async def _journal(self, entry: Journal) -> None:
        try:
            await self._store.journal(entry)
        except Brain2Error as error:
            # Redis and DynamoDB failed one after the other; the mark that begin() left is what holds now.
            log.warning(
                "an invalidation could not be journaled", extra={"user": entry.touched.user, "error": repr(error)}
            )

    def _later(self, work: Awaitable[None]) -> None:
        async def quiet() -> None:
            try:
                await work
            except Brain2Error:
                pass  # it stays in the journal; replaying it again does no harm

        self._remember(asyncio.create_task(quiet()))

    def _remember(self, task: "asyncio.Task[object]") -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)
