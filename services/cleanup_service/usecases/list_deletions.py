"""ListDeletions: the deletions of one user, or of all users in one state, page by page."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from services.cleanup_service.model.saga import Saga, State
from services.cleanup_service.ports import ALWAYS, NodeKey, QueueEntry, TimeRange
from services.cleanup_service.usecases.deletions import Deletions

# A page that is filtered reads at most this many sagas, so it may hold fewer than were asked for.
_MAX_READ = 1000


@dataclass(frozen=True, slots=True)
class DeletionPage:
    """position: where the next page begins, "" after the last page."""

    sagas: Sequence[Saga]
    position: str


async def list_deletions_of_user(
    deletions: Deletions, user_id: str, state: State | None, position: str, limit: int, times: TimeRange = ALWAYS
) -> DeletionPage:
    """A user's deletions by the time of the delete, oldest first.

    state: only those in it, None for all. times: only those of notes that were deleted in this range.
    """
    found: list[Saga] = []
    read = 0
    while not times.empty:
        page = await deletions.store.list_by_user(user_id, position, limit, times)
        for entry, saga in await _read(deletions, page):
            position = entry.position
            read += 1
            if saga is not None and state in (None, saga.state):
                found.append(saga)
            if len(found) == limit:
                return DeletionPage(found, position)
        if len(page) < limit:
            return DeletionPage(found, "")
        if read >= _MAX_READ:
            return DeletionPage(found, position)
    return DeletionPage(found, "")


async def all_deletions_of_user(deletions: Deletions, user_id: str) -> AsyncIterator[Sequence[Saga]]:
    """All deletions of a user, in pages of at most 200."""
    position = ""
    while True:
        page = await list_deletions_of_user(deletions, user_id, None, position, 200)
        yield page.sagas
        position = page.position
        if not position:
            return


async def list_deletions_in_state(
    deletions: Deletions, state: State, position: str, limit: int, times: TimeRange = ALWAYS
) -> DeletionPage:
    """The deletions of all users in a state, by Saga.queue_time_ms, oldest first.

    times: only those of notes that were deleted in this range. The queue is not in the order of the deletes, so all of
    it is read.
    """
    found: list[Saga] = []
    read = 0
    while not times.empty:
        merged: list[QueueEntry] = []
        for shard in range(deletions.store.shards):
            merged += await deletions.store.list_by_state(state, shard, None, position, limit)
        merged.sort(key=lambda entry: entry.position)
        page = merged[:limit]
        for entry, saga in await _read(deletions, page):
            position = entry.position
            read += 1
            if saga is not None and saga.state is state and saga.delete_ms in times:
                found.append(saga)
            if len(found) == limit:
                is_last = len(merged) <= limit and entry is page[-1]
                return DeletionPage(found, "" if is_last else position)
        if len(merged) <= limit:
            return DeletionPage(found, "")
        if read >= _MAX_READ:
            return DeletionPage(found, position)
    return DeletionPage(found, "")


async def _read(deletions: Deletions, page: Sequence[QueueEntry]) -> list[tuple[QueueEntry, Saga | None]]:
    keys: list[NodeKey] = [(entry.user_id, entry.node_id) for entry in page]
    found = await deletions.store.get_many(keys)
    return [(entry, found.get(key)) for entry, key in zip(page, keys, strict=True)]
