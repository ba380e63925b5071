"""GetDeletion: state, step and history of one deletion."""

from services.cleanup_service.model.saga import Saga
from services.cleanup_service.usecases.deletions import Deletions
from shared.errors import NotFound


async def get_deletion(deletions: Deletions, user_id: str, node_id: str) -> Saga:
    """Raises NotFound (DELETION_NOT_FOUND) when there is no deletion of the note."""
    saga = await deletions.store.get(user_id, node_id)
    if saga is None:
        raise NotFound("there is no deletion of this note", reason="DELETION_NOT_FOUND")
    return saga
