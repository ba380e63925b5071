"""RetryDeletion: runs a failed deletion again from the step at which it failed."""

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Saga, State
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.get_deletion import get_deletion
from shared.errors import FailedPrecondition, NotFound


async def retry_deletion(deletions: Deletions, user_id: str, node_id: str) -> Saga:
    """Returns the saga, which is due now.

    A deletion whose event ended in the dead letters has no saga, or the saga of an earlier deletion: then its saga is
    made as the event would have made it. Raises NotFound and FailedPrecondition (NOT_FAILED; NOT_DELETED: the note is
    live and has no saga).
    """
    saga = await deletions.store.get(user_id, node_id)
    if saga is None:
        deletion = await deletions.deletion_of_deleted_note(user_id, node_id)
        made = await deletions.record(deletion, "made up for a lost event")
        return made or await get_deletion(deletions, user_id, node_id)
    if saga.ended and (made := await _record_later_deletion(deletions, user_id, node_id)):
        return made

    def change(found: Saga | None) -> Saga:
        if found is None or found.state is not State.FAILED:
            raise FailedPrecondition("the deletion has not failed", reason="NOT_FAILED")
        return sagas.retried(found, deletions.clock.now_ms())

    changed = await deletions.update(user_id, node_id, change)
    assert changed is not None
    return changed


async def _record_later_deletion(deletions: Deletions, user_id: str, node_id: str) -> Saga | None:
    """The saga of a deletion that is newer than the known one; None when there is no such deletion."""
    try:
        deletion = await deletions.nodes.get_deletion(user_id, node_id)
    except NotFound:
        return None
    return None if deletion is None else await deletions.record(deletion, "made up for a lost event")
