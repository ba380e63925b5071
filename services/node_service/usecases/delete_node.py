"""DeleteNode: hide a note until it is restored or purged."""

from dataclasses import replace

from services.node_service.model import Cascade, NodeEvent, NodeEventType, Summary, etag_of
from services.node_service.usecases.errors import etag_mismatch, node_not_found
from services.node_service.usecases.notes import Notes, WriteCall
from services.node_service.usecases.validation import check_ids
from services.node_service.usecases.visibility_write import VisibilityWrite
from shared.errors import Brain2Error
from shared.idempotent import IdempotentRequest


async def delete_node(
    notes: Notes, user_id: str, node_id: str, etag: str, cascade: Cascade, request: IdempotentRequest | None
) -> Summary:
    """Deleting a deleted note changes nothing and returns it.

    etag: "" = whatever the note's version is.
    Raises InvalidArgument, NotFound, Aborted (ETAG_MISMATCH; CONTENTION when there is no etag).
    """
    check_ids(user_id, node_id, request)
    call = WriteCall(request, Summary)
    write = VisibilityWrite(notes, user_id, node_id, call)
    retention_ms = await notes.retentions.seconds(user_id) * 1000

    async def delete(node: Summary) -> Summary | None:
        now = notes.clock.now_ms()
        after = replace(node, version=node.version + 1, delete_ms=now, purge_ms=now + retention_ms, cascade=cascade)
        event = NodeEvent(event_type=NodeEventType.DELETED, node=after, time_ms=now)
        return await write.commit(node, after, event)

    async def attempt_likely(node: Summary) -> Summary | None:
        return None if node.deleted or (etag and etag != node.etag) else await delete(node)

    async def attempt() -> Summary | None:
        node = await notes.store.current_summary(user_id, node_id)
        try:
            if node is None:
                raise node_not_found(node_id)
            # The deletion has raised the version by 1, so a repeated call has the etag of the version before it.
            repeated = node.deleted and etag == etag_of(node.incarnation, node.version - 1)
            if etag and etag != node.etag and not repeated:
                raise etag_mismatch(node)
        except Brain2Error:
            if previous := await notes.previous_answer(call):
                return previous
            raise
        if node.deleted:
            return await notes.keep_unchanged(call, node)
        return await delete(node)

    return await write.run(attempt_likely, attempt)
