"""Creating and changing notes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.node_service.model import (
    PATHS,
    Draft,
    Node,
    NodeEvent,
    NodeEventType,
    Summary,
    blank,
    check_draft,
    check_new,
    text,
)
from services.node_service.ports import Change, NodeStore, Outcome, Receipt, Request
from services.node_service.usecases import rules
from services.node_service.usecases.turns import Optimist
from shared.errors import AlreadyExists, Brain2Error, Internal, Violations
from shared.ids import Clock, IdFactory


@dataclass(frozen=True, slots=True)
class Writing:
    """create_node, update_node."""

    store: NodeStore
    clock: Clock
    ids: IdFactory
    optimist: Optimist

    async def create_node(self, user_id: str, draft: Draft, request: Request | None) -> Node:
        """Store a note; without reading first. InvalidArgument, AlreadyExists (NODE_EXISTS, also when it's deleted)."""
        now = self.clock.now_ms()
        violations = Violations()
        rules.check_ids(user_id, None, request, violations)
        check_new(draft, now, "node", violations)
        violations.raise_if_any()
        node = self.made(user_id, draft, now)
        outcome = await self.store.commit(creation(node, now, request))
        if outcome is Outcome.DONE:
            return node
        if former := await rules.former(self.store, user_id, request):
            return _as_node(former)
        raise taken(node.node_id)

    async def update_node(
        self, user_id: str, node_id: str, draft: Draft, mask: Sequence[str], etag: str, request: Request | None
    ) -> Node:
        """Change the fields that the mask names (empty: those that the draft sets), and raise the version.

        InvalidArgument, NotFound, FailedPrecondition (NODE_DELETED), Aborted (ETAG_MISMATCH, CONTENTION).
        """
        paths = _paths(draft, mask)
        violations = Violations()
        rules.check_ids(user_id, node_id, request, violations)
        for path in sorted(set(mask) - set(PATHS)):
            violations.add("update_mask", f"{path!r} can't be updated, only {', '.join(PATHS)} can")
        if not paths:
            violations.add("update_mask", "names nothing to update, and node sets nothing")
        check_draft(draft, paths, "node", violations)
        violations.raise_if_any()

        async def attempt() -> Node | None:
            node = await self.store.current(user_id, node_id)
            try:
                changed = _updatable(node, node_id, etag)
                after = self._updated(changed, draft, paths)
            except Brain2Error:
                # What is refused now may have been done before: its repeat gets the answer, not the refusal.
                if former := await rules.former(self.store, user_id, request):
                    return _as_node(former)
                raise
            event = NodeEvent(
                event_type=NodeEventType.UPDATED,
                node=after,
                time_ms=after.update_ms,
                changed=tuple(path for path in PATHS if getattr(after, path) != getattr(changed, path)),
            )
            receipt = Receipt(request, after) if request else None
            outcome = await self.store.commit(Change(before=changed, after=after, event=event, receipt=receipt))
            if outcome is Outcome.DONE:
                return after
            former = await rules.former(self.store, user_id, request)
            return None if former is None else _as_node(former)

        return await self.optimist.run(user_id, node_id, attempt)

    def made(self, user_id: str, draft: Draft, now: int) -> Node:
        """The note that a checked draft becomes."""
        return Node(
            user_id=user_id,
            node_id=draft.node_id or self.ids.new_id(),
            title=draft.title,
            tags=draft.tags,
            metadata=draft.metadata,
            version=1,
            incarnation=now,
            create_ms=now if draft.create_ms is None else draft.create_ms,
            update_ms=now,
            **text(draft.content),
        )

    def _updated(self, node: Node, draft: Draft, paths: Collection[str]) -> Node:
        values: dict[str, Any] = {path: getattr(draft, path) for path in paths if path != "content"}
        if "content" in paths:
            values |= text(draft.content)
        after = replace(node, version=node.version + 1, update_ms=max(self.clock.now_ms(), node.update_ms), **values)
        if blank(after.title, after.content):
            violations = Violations()
            violations.add("node", "title or content must not be blank")
            violations.raise_if_any()
        return after


def creation(node: Node, now: int, request: Request | None, *, keep_content: bool = True) -> Change:
    """The write of a new note, its event and (with a request) the answer to keep."""
    event = NodeEvent(event_type=NodeEventType.CREATED, node=node, time_ms=now)
    receipt = Receipt(request, node if keep_content else node.summary()) if request else None
    return Change(before=None, after=node, event=event, receipt=receipt)


def _paths(draft: Draft, mask: Sequence[str]) -> list[str]:
    """What to update; the unknown paths of a mask are left in, for the violations."""
    return [path for path in PATHS if (path in mask if mask else getattr(draft, path))]


def _updatable(node: Node | None, node_id: str, etag: str) -> Node:
    if node is None:
        raise rules.not_found(node_id)
    if node.deleted:
        raise rules.deleted(node_id)
    if etag and etag != node.etag:
        raise rules.stale(node_id, node.etag)
    return node


def _as_node(answer: Summary) -> Node:
    if not isinstance(answer, Node):
        raise Internal("the kept answer has no content")
    return answer


def taken(node_id: str) -> AlreadyExists:
    return AlreadyExists(
        f"there is a note {node_id} already (it may be a deleted one)",
        reason="NODE_EXISTS",
        metadata={"node_id": node_id},
    )
