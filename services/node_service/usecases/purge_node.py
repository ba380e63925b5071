"""PurgeNode, for the cleanup service: fence a deleted note, which forbids its restore, then remove it for good."""

from dataclasses import replace
from typing import TypeVar

from services.node_service.model import Node, NodeEvent, NodeEventType, Summary
from services.node_service.ports import NodeWrite, Outcome
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.validation import check_purge_node
from shared.errors import Aborted, FailedPrecondition

S = TypeVar("S", bound=Summary)


async def fence_node(notes: Notes, user_id: str, node_id: str, version: int) -> Node | None:
    """Forbid a restore of a deleted note from now on; None when it is purged already. Idempotent.

    version: of the deleted note that the caller has seen.
    Raises InvalidArgument, Aborted (VERSION_MISMATCH, CONTENTION), FailedPrecondition (NOT_DELETED).
    """
    check_purge_node(user_id, node_id, version)

    async def attempt() -> tuple[Node | None] | None:
        node = _purgeable(await notes.store.current(user_id, node_id), version)
        if node is None or node.fenced:
            return (node,)
        after = replace(node, fenced=True)
        outcome = await notes.store.commit(NodeWrite(before=node, after=after, event=None))
        return (after,) if outcome is Outcome.DONE else None

    return (await notes.concurrency.run(user_id, node_id, attempt))[0]


async def purge_node(notes: Notes, user_id: str, node_id: str, version: int) -> bool:
    """Remove a fenced note; False when it is purged already. Idempotent.

    version: of the deleted note that the caller has seen.
    Raises InvalidArgument, Aborted (VERSION_MISMATCH, CONTENTION), FailedPrecondition (NOT_DELETED, NOT_FENCED).
    """
    check_purge_node(user_id, node_id, version)

    async def attempt() -> bool | None:
        node = _purgeable(await notes.store.current_summary(user_id, node_id), version)
        if node is None:
            return False
        if not node.fenced:
            raise FailedPrecondition(f"fence the note {node_id} first", reason="NOT_FENCED")
        now = notes.clock.now_ms()
        purged = replace(node, version=node.version + 1, purge_ms=now)
        event = NodeEvent(event_type=NodeEventType.PURGED, node=purged, time_ms=now)
        outcome = await notes.store.commit(NodeWrite(before=node, after=None, event=event))
        return True if outcome is Outcome.DONE else None

    return await notes.concurrency.run(user_id, node_id, attempt)


def _purgeable(node: S | None, version: int) -> S | None:
    """The note if it is the deleted one that the caller has seen; None when that one is purged."""
    # A lower version is that of a note which was created under the id after the purge.
    if node is None or node.version < version:
        return None
    if node.version > version:
        raise Aborted(
            f"the note {node.node_id} is at version {node.version}, not {version}",
            reason="VERSION_MISMATCH",
            metadata={"version": str(node.version)},
        )
    if not node.deleted:
        raise FailedPrecondition(f"the note {node.node_id} isn't deleted", reason="NOT_DELETED")
    return node
