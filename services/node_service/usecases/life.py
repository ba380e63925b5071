"""The end of a note and the way back: delete, restore, fence, purge."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from services.node_service.model import Cascade, Node, NodeEvent, NodeEventType, Summary, etag_of
from services.node_service.ports import Change, NodeStore, Outcome, Receipt, Request, Retentions, Visibility
from services.node_service.usecases import rules
from services.node_service.usecases.turns import Optimist
from shared.errors import Aborted, Brain2Error, FailedPrecondition, Violations
from shared.ids import Clock

S = TypeVar("S", bound=Summary)


@dataclass(frozen=True, slots=True)
class Life:
    """delete_node, restore_node, fence_node, purge_node."""

    store: NodeStore
    retentions: Retentions
    visibility: Visibility
    clock: Clock
    optimist: Optimist

    async def delete_node(
        self, user_id: str, node_id: str, etag: str, cascade: Cascade, request: Request | None
    ) -> Summary:
        """Hide a note until it is restored or purged. Deleting it again answers the same again.

        NotFound, Aborted (ETAG_MISMATCH; CONTENTION without an etag).
        """
        rules.require_ids(user_id, node_id, request)
        retention_ms = await self.retentions.seconds(user_id) * 1000

        async def attempt() -> Summary | None:
            node = await self.store.current_summary(user_id, node_id)
            try:
                if node is None:
                    raise rules.not_found(node_id)
                # A deleted note has one version more than the one that was deleted: its etag is that of a retry.
                if etag and etag != node.etag and not (node.deleted and etag == etag_of(node.version - 1)):
                    raise rules.stale(node_id, node.etag)
            except Brain2Error:
                if former := await rules.former(self.store, user_id, request):
                    return former
                raise
            if node.deleted:
                return await self._unchanged(node, request)
            now = self.clock.now_ms()
            after = replace(node, version=node.version + 1, delete_ms=now, purge_ms=now + retention_ms, cascade=cascade)
            return await self._commit(user_id, node, after, NodeEventType.DELETED, now, request)

        return await self._shown(attempt, user_id, node_id)

    async def restore_node(self, user_id: str, node_id: str, request: Request | None) -> Node:
        """Bring a deleted note back; a live one is answered unchanged. NotFound, FailedPrecondition (PURGE_STARTED)."""
        rules.require_ids(user_id, node_id, request)

        async def attempt() -> Node | None:
            node = await self.store.current(user_id, node_id)
            try:
                if node is None:
                    raise rules.not_found(node_id)
                if node.fenced:
                    raise FailedPrecondition(
                        f"the note {node_id} is being purged", reason="PURGE_STARTED", metadata={"node_id": node_id}
                    )
            except Brain2Error:
                if isinstance(former := await rules.former(self.store, user_id, request), Node):
                    return former
                raise
            if not node.deleted:
                return await self._unchanged(node, request)
            after = replace(node, version=node.version + 1, delete_ms=None, purge_ms=None, cascade=Cascade.EDGES)
            now = self.clock.now_ms()
            return await self._commit(user_id, node, after, NodeEventType.RESTORED, now, request)

        return await self._shown(attempt, user_id, node_id)

    async def fence_node(self, user_id: str, node_id: str, version: int) -> Node | None:
        """Forbid a restore of a deleted note from now on; None when it's purged already. Idempotent.

        Aborted (VERSION_MISMATCH), FailedPrecondition (NOT_DELETED).
        """
        _require_version(user_id, node_id, version)

        async def attempt() -> tuple[Node | None] | None:
            node = _purgeable(await self.store.current(user_id, node_id), version)
            if node is None or node.fenced:
                return (node,)
            after = replace(node, fenced=True)
            outcome = await self.store.commit(Change(before=node, after=after, event=None))
            return (after,) if outcome is Outcome.DONE else None

        return (await self.optimist.run(user_id, node_id, attempt))[0]

    async def purge_node(self, user_id: str, node_id: str, version: int) -> bool:
        """Remove a fenced note for good; False when that was done already. Idempotent.

        Aborted (VERSION_MISMATCH), FailedPrecondition (NOT_DELETED, NOT_FENCED).
        """
        _require_version(user_id, node_id, version)

        async def attempt() -> bool | None:
            node = _purgeable(await self.store.current_summary(user_id, node_id), version)
            if node is None:
                return False
            if not node.fenced:
                raise FailedPrecondition(f"fence the note {node_id} first", reason="NOT_FENCED")
            now = self.clock.now_ms()
            told = replace(node, version=node.version + 1, purge_ms=now)
            event = NodeEvent(event_type=NodeEventType.PURGED, node=told, time_ms=now)
            outcome = await self.store.commit(Change(before=node, after=None, event=event))
            return True if outcome is Outcome.DONE else None

        return await self.optimist.run(user_id, node_id, attempt)

    async def _unchanged(self, node: S, request: Request | None) -> S | None:
        """The answer when there is nothing to do. With a request it's kept like any other: its repeat, which may come
        after somebody undid what was asked for, must not do it then."""
        if request is None:
            return node
        former = await rules.former(self.store, node.user_id, request)
        if former is None:
            kept = Change(before=node, after=node, event=None, receipt=Receipt(request, node))
            return node if await self.store.commit(kept) is Outcome.DONE else None
        return former if isinstance(former, type(node)) else None

    async def _commit(
        self, user_id: str, before: S, after: S, event_type: NodeEventType, now: int, request: Request | None
    ) -> S | None:
        change = Change(
            before=before,
            after=after,
            event=NodeEvent(event_type=event_type, node=after, time_ms=now),
            receipt=Receipt(request, after) if request else None,
        )
        if await self.store.commit(change) is Outcome.DONE:
            return after
        former = await rules.former(self.store, user_id, request)
        return former if isinstance(former, type(after)) else None

    async def _shown(self, attempt: Callable[[], Awaitable[S | None]], user_id: str, node_id: str) -> S:
        """Run the attempts, and tell the others the result. A repeat tells them again: the first may have died here."""
        node = await self.optimist.run(user_id, node_id, attempt)
        await self.visibility.announce(node)
        return node


def _require_version(user_id: str, node_id: str, version: int) -> None:
    violations = Violations()
    rules.check_ids(user_id, node_id, None, violations)
    if version < 1:
        violations.add("version", "must be the version of the deleted note, 1 or more")
    violations.raise_if_any()


def _purgeable(node: S | None, version: int) -> S | None:
    """The note if it's the deleted one that the caller saw; None when that one is gone."""
    # A lower version is a note that was created anew under the id of the purged one.
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
