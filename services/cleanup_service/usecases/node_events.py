"""Reactions to node.deleted and node.restored, and to deleted notes whose event was lost.

Events arrive late, twice and in any order: the model compares (incarnation, version) of the note.
"""

from collections.abc import Sequence

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Deletion, Restore, Saga
from services.cleanup_service.ports import NodeKey
from services.cleanup_service.usecases.deletions import Deletions
from shared.errors import NotFound


async def on_node_deleted(deletions: Deletions, deletion: Deletion) -> Saga | None:
    """Makes the saga of the deletion; None when the event changes nothing, or the user is being erased."""
    if await deletions.erasures.is_erasing(deletion.user_id):
        return None
    return await deletions.record(deletion, "deleted")


async def on_node_restored(deletions: Deletions, restore: Restore) -> Saga | None:
    """Cancels the saga; without a saga it writes a cancelled one, so that a late node.deleted has no effect.

    None when the event changes nothing, or the user is being erased.
    """
    if await deletions.erasures.is_erasing(restore.user_id):
        return None
    return await deletions.update(
        restore.user_id, restore.node_id, lambda saga: sagas.restored(saga, restore, deletions.clock.now_ms())
    )


async def record_lost_deletions(deletions: Deletions, keys: Sequence[NodeKey]) -> None:
    """Makes sagas for notes of the deletion queue that have no unfinished saga: their events were lost.

    The queue is an index and may be out of date, so the node service is asked for the note itself.
    """
    known = await deletions.store.get_many(keys)
    for key in keys:
        saga = known.get(key)
        if saga is not None and not saga.ended:
            continue
        try:
            deletion = await deletions.nodes.get_deletion(*key)
        except NotFound:
            continue
        if deletion is not None:
            await on_node_deleted(deletions, deletion)
