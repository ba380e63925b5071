"""SetNodeVisibility: a note was deleted (hidden) or restored (shown)."""

import asyncio

from services.similarity_service.ports import Records
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.validation import check_ids


class SetNodeVisibility:
    """Hides and shows notes."""

    def __init__(self, records: Records, changes: RecordChanges, cache: IndexCache) -> None:
        self._records = records
        self._changes = changes
        self._cache = cache
        self._running: set[asyncio.Task[bool]] = set()

    async def __call__(
        self, user_id: str, node_id: str, version: int, visible: bool, incarnation: int | None = None
    ) -> bool:
        """Hide or show a note. False when a newer state is known.

        incarnation: None means the one that is known.
        """
        check_ids(user_id, node_id=node_id)
        task = asyncio.ensure_future(self._set(user_id, node_id, version, visible, incarnation))
        self._running.add(task)
        task.add_done_callback(self._finished)
        # A deletion waits for some milliseconds only. The work goes on when that time is over.
        return await asyncio.shield(task)

    def _finished(self, task: "asyncio.Task[bool]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # the caller gets it, if it still waits; the event of the deletion sets it right

    async def _set(self, user_id: str, node_id: str, version: int, visible: bool, incarnation: int | None) -> bool:
        stored = await self._records.set_visibility(user_id, node_id, visible, version, incarnation)
        if stored is not None:
            await self._cache.publish(user_id, [(node_id, stored)])
            return True
        return await self._changes.change(
            user_id, node_id, lambda old: old.with_visibility(visible, version, incarnation)
        )
