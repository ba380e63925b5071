"""UpdateNode: change some fields of a live note."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from services.node_service.model import UPDATABLE_FIELDS, Draft, Node, NodeEvent, NodeEventType, text
from services.node_service.usecases.errors import etag_mismatch, node_deleted, node_not_found
from services.node_service.usecases.notes import Notes, WriteCall
from services.node_service.usecases.validation import check_not_blank, check_update_node
from shared.errors import Brain2Error
from shared.idempotent import IdempotentRequest


async def update_node(
    notes: Notes,
    user_id: str,
    node_id: str,
    draft: Draft,
    mask: Sequence[str],
    etag: str,
    request: IdempotentRequest | None,
) -> Node:
    """Change the fields that the mask names and raise the version.

    mask: names of UPDATABLE_FIELDS; empty = those that the draft sets.
    etag: "" = whatever the note's version is.
    Raises InvalidArgument, NotFound, FailedPrecondition (NODE_DELETED), Aborted (ETAG_MISMATCH, CONTENTION).
    """
    # Names that the mask has by mistake are reported by the check.
    names = [name for name in UPDATABLE_FIELDS if (name in mask if mask else getattr(draft, name))]
    check_update_node(user_id, node_id, draft, names, mask, request)
    call = WriteCall(request, Node, draft.content if "content" in names else None)

    async def attempt() -> Node | None:
        node = await notes.store.current(user_id, node_id)
        try:
            before = _updatable(node, node_id, etag)
            after = _updated(before, draft, names, notes.clock.now_ms())
        except Brain2Error:
            # The same request may have been carried out before: then its answer is given instead of the error.
            if previous := await notes.previous_answer(call):
                return previous
            raise
        event = NodeEvent(
            event_type=NodeEventType.UPDATED,
            node=after,
            time_ms=after.update_ms,
            changed=tuple(name for name in UPDATABLE_FIELDS if getattr(after, name) != getattr(before, name)),
        )
        return await notes.commit(call, before, after, event)

    return await notes.concurrency.run(user_id, node_id, attempt)


def _updatable(node: Node | None, node_id: str, etag: str) -> Node:
    if node is None:
        raise node_not_found(node_id)
    if node.deleted:
        raise node_deleted(node_id)
    if etag and etag != node.etag:
        raise etag_mismatch(node)
    return node


def _updated(node: Node, draft: Draft, names: Collection[str], now_ms: int) -> Node:
    values: dict[str, Any] = {name: getattr(draft, name) for name in names if name != "content"}
    if "content" in names:
        values |= text(draft.content)
    after = replace(node, version=node.version + 1, update_ms=max(now_ms, node.update_ms), **values)
    check_not_blank(after.title, after.content)
    return after
