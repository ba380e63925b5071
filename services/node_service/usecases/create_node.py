"""CreateNode: store a new note in one transaction, without reading first."""

from services.node_service.model import UPDATABLE_FIELDS, Draft, Node, NodeEvent, NodeEventType, text
from services.node_service.ports import NodeWrite, Outcome, Receipt
from services.node_service.usecases.errors import node_exists
from services.node_service.usecases.notes import Notes, WriteCall
from services.node_service.usecases.validation import check_create_node
from shared.idempotent import IdempotentRequest


async def create_node(notes: Notes, user_id: str, draft: Draft, request: IdempotentRequest | None) -> Node:
    """Raises InvalidArgument, AlreadyExists (NODE_EXISTS, also when the note is deleted)."""
    now_ms = notes.clock.now_ms()
    check_create_node(user_id, draft, now_ms, request)
    node = new_node(notes, user_id, draft, now_ms)
    # A repeated request has the content, so the receipt goes without it.
    receipt = Receipt(request, node.summary()) if request else None
    if await notes.store.commit(creation(node, receipt)) is Outcome.DONE:
        return node
    if previous := await notes.previous_answer(WriteCall(request, Node, draft.content)):
        return previous
    raise node_exists(node.node_id)


def new_node(notes: Notes, user_id: str, draft: Draft, now_ms: int) -> Node:
    """The note that a checked draft becomes."""
    return Node(
        user_id=user_id,
        node_id=draft.node_id or notes.ids.new_id(),
        version=1,
        incarnation=now_ms,
        create_ms=now_ms if draft.create_ms is None else draft.create_ms,
        update_ms=now_ms,
        **{name: getattr(draft, name) for name in UPDATABLE_FIELDS if name != "content"},
        **text(draft.content),
    )


def creation(node: Node, receipt: Receipt | None) -> NodeWrite:
    """The write of a new note with its event."""
    event = NodeEvent(event_type=NodeEventType.CREATED, node=node, time_ms=node.incarnation)
    return NodeWrite(before=None, after=node, event=event, receipt=receipt)
