"""QueueDeletion: starts the cleanup of a deleted note now instead of at the end of its retention."""

from dataclasses import replace

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Saga, State
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.get_deletion import get_deletion
from shared.errors import NotFound


async def queue_deletion(deletions: Deletions, user_id: str, node_id: str) -> Saga:
    """Makes the saga due now. A saga that is done is returned as it is; a saga that is missing is made.

    Raises NotFound (no such note) and FailedPrecondition (NOT_DELETED: the note is live).
    """
    saga = await deletions.store.get(user_id, node_id)
    if saga is None or saga.ended:
        try:
            deletion = await deletions.deletion_of_deleted_note(user_id, node_id)
        except NotFound:
            if saga is not None and saga.state is State.DONE:
                return saga
            raise
        now = deletions.clock.now_ms()
        await deletions.record(replace(deletion, purge_ms=min(deletion.purge_ms, now)), "queued by request")
    changed = await deletions.update(
        user_id, node_id, lambda found: None if found is None else sagas.made_due(found, deletions.clock.now_ms())
    )
    return changed or await get_deletion(deletions, user_id, node_id)
