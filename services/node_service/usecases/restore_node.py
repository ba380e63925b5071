"""RestoreNode: make a deleted note live again."""

from dataclasses import replace

from services.node_service.model import Cascade, Node, NodeEvent, NodeEventType, Summary
from services.node_service.usecases.errors import node_not_found
from services.node_service.usecases.notes import Notes, WriteCall
from services.node_service.usecases.validation import check_ids
from services.node_service.usecases.visibility_write import VisibilityWrite
from shared.errors import Brain2Error, FailedPrecondition
from shared.idempotent import IdempotentRequest


async def restore_node(notes: Notes, user_id: str, node_id: str, request: IdempotentRequest | None) -> Node:
    """Restoring a live note changes nothing and returns it.

    Raises InvalidArgument, NotFound, FailedPrecondition (PURGE_STARTED), Aborted (CONTENTION).
    """
    check_ids(user_id, node_id, request)
    call = WriteCall(request, Node)
    write = VisibilityWrite(notes, user_id, node_id, call)

    async def restore(node: Node) -> Node | None:
        after = replace(node, version=node.version + 1, delete_ms=None, purge_ms=None, cascade=Cascade.EDGES)
        event = NodeEvent(event_type=NodeEventType.RESTORED, node=after, time_ms=notes.clock.now_ms())
        return await write.commit(node, after, event)

    async def attempt_likely(node: Summary) -> Node | None:
        return await restore(node) if isinstance(node, Node) and node.deleted and not node.fenced else None

    async def attempt() -> Node | None:
        node = await notes.store.current(user_id, node_id)
        try:
            if node is None:
                raise node_not_found(node_id)
            if node.fenced:
                raise FailedPrecondition(
                    f"the note {node_id} is being purged", reason="PURGE_STARTED", metadata={"node_id": node_id}
                )
        except Brain2Error:
            if previous := await notes.previous_answer(call):
                return previous
            raise
        if not node.deleted:
            return await notes.keep_unchanged(call, node)
        return await restore(node)

    return await write.run(attempt_likely, attempt)
