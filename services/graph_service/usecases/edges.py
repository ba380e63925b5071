"""CreateEdge, GetEdge, UpdateEdge, DeleteEdge and SuppressEdge: the RPCs about one edge.

A write reads what is stored, decides, and commits on the condition that nobody has written in between (optimistic
concurrency). With a request_id, the commit stores the result as well, and a repeated request returns it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from services.graph_service.model.consistency_token import Token
from services.graph_service.model.edge import (
    Edge,
    EdgeKey,
    NewEdge,
    edge_key,
    first_version,
    merge_into_existing,
    suppression,
)
from services.graph_service.ports import ChangeType, EdgeChange, EdgeStore, Write, WriteRejected
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.neighbor_pages import NeighborPages
from services.graph_service.usecases.validation import check_create_edge, check_edge_key, check_update_edge
from shared.errors import Aborted, FailedPrecondition, NotFound
from shared.idempotent import IdempotentRequest
from shared.ids import Clock
from shared.resilience.retry import Backoff, retry

T = TypeVar("T")
_ATTEMPTS = 5
_NO_WAIT = Backoff(base=0.0, cap=0.0)
# The result that is stored with a request_id: (created, edge), (deleted, edge) and so on.
Result = tuple[bool, Edge | None]


@dataclass(frozen=True, slots=True)
class EdgePatch:
    """New values of an edge; None leaves a value as it is."""

    weight: float | None = None
    labels: dict[str, str] | None = None
    confirmed: bool | None = None


@dataclass(frozen=True, slots=True)
class Edges:
    """The methods are named as the RPCs. auto_cap: the most automatic edges of a note."""

    store: EdgeStore
    committer: Committer
    lookup: ListLookup
    pages: NeighborPages
    existence: Existence
    clock: Clock
    auto_cap: int = 50

    async def create_edge(
        self, user_id: str, new: NewEdge, request: IdempotentRequest | None = None
    ) -> tuple[Edge, bool, Token]:
        """The edge, whether this call created it, and the token."""
        check_create_edge(user_id, new)
        if (stored := await self._stored_result(request, new.key)) is not None:
            (created, edge), token = stored
            assert edge is not None
            return edge, created, token
        await self._check_ends_exist(user_id, new)
        if new.metadata.auto:
            await self._check_automatic(user_id, new)

        async def attempt(found: Edge | None) -> tuple[Edge, bool, Token]:
            existing = found if found is not None and found.key == new.key else None
            change = creation(user_id, new, existing, self.clock.now_ms())
            replaced = replacements((new,), await self.store.get_many(user_id, automatic_beside((new,))))
            if change is None and request is None and not replaced:
                assert existing is not None
                return existing, False, await self.committer.renew_token(user_id, (new.key,))
            edge = existing if change is None else change.edge
            assert edge is not None
            created = change is not None and change.change_type is ChangeType.CREATED
            changes = (*(() if change is None else (change,)), *replaced.values())
            write = Write(user_id, changes=changes, response=_response(request, created, edge))
            return edge, created, await self.committer.commit_edges(write, (new.key,))

        return await _retry_conflicts(attempt)

    async def get_edge(self, user_id: str, key: EdgeKey) -> Edge:
        """One edge, by a consistent read. NotFound also while one of its notes is hidden."""
        check_edge_key(user_id, key)
        edge = await self.store.get(user_id, key)
        hidden = await self.lookup.hidden(user_id)
        if edge is None or edge.suppressed or key.a in hidden or key.b in hidden:
            raise NotFound("there is no such edge", reason="EDGE_NOT_FOUND")
        return edge

    async def update_edge(
        self, user_id: str, key: EdgeKey, patch: EdgePatch, etag: str = "", request: IdempotentRequest | None = None
    ) -> tuple[Edge, Token]:
        """The changed edge. Aborted ETAG_MISMATCH: it has another etag."""
        check_update_edge(user_id, key, patch.weight, patch.labels)
        if (stored := await self._stored_result(request, key)) is not None:
            (_, edge), token = stored
            assert edge is not None
            return edge, token

        async def attempt(_: Edge | None) -> tuple[Edge, Token]:
            before = await self.get_edge(user_id, key)
            _check_etag(before, etag)
            metadata = before.metadata
            if patch.labels is not None:
                metadata = replace(metadata, labels=patch.labels)
            if patch.confirmed is not None:
                metadata = replace(metadata, confirmed=patch.confirmed)
            after = before.changed(self.clock.now_ms(), weight=patch.weight, metadata=metadata)
            change = EdgeChange(ChangeType.UPDATED, after, before)
            write = Write(user_id, changes=(change,), response=_response(request, True, after))
            return after, await self.committer.commit_edges(write)

        return await _retry_conflicts(attempt)

    async def delete_edge(
        self,
        user_id: str,
        key: EdgeKey,
        etag: str = "",
        *,
        only_automatic: bool = False,
        only_from_text: bool = False,
        request: IdempotentRequest | None = None,
    ) -> tuple[bool, Token]:
        """Whether an edge was deleted.

        only_automatic: an edge that a person made or confirmed is left alone.
        only_from_text: an edge that no link in a text has made is left alone.
        """
        check_edge_key(user_id, key)
        if (stored := await self._stored_result(request, key)) is not None:
            return stored[0][0], stored[1]

        cause = "relink" if only_automatic else "text" if only_from_text else "request"

        async def attempt(_: Edge | None) -> tuple[bool, Token]:
            before = await self.store.get(user_id, key)
            if (
                before is None
                or before.suppressed
                or (only_automatic and not before.metadata.replaceable)
                or (only_from_text and not before.metadata.from_text)
            ):
                if request is not None:
                    await self.store.commit(Write(user_id, response=_response(request, False, None)))
                return False, await self.committer.renew_token(user_id, (key,))
            _check_etag(before, etag)
            change = EdgeChange(ChangeType.DELETED, before, before, cause)
            write = Write(user_id, changes=(change,), response=_response(request, True, before))
            return True, await self.committer.commit_edges(write)

        return await _retry_conflicts(attempt)

    async def suppress_edge(
        self, user_id: str, key: EdgeKey, request: IdempotentRequest | None = None
    ) -> tuple[bool, Token]:
        """Delete the edge if it exists, and store that it must not be created automatically; whether it existed."""
        check_edge_key(user_id, key)
        if (stored := await self._stored_result(request, key)) is not None:
            return stored[0][0], stored[1]

        async def attempt(_: Edge | None) -> tuple[bool, Token]:
            before = await self.store.get(user_id, key)
            removed = before is not None and not before.suppressed
            after = suppression(user_id, key, before, self.clock.now_ms())
            change = EdgeChange(ChangeType.DELETED, after, before, "suppressed")
            # A suppressed edge stays as it is.
            changes = () if before is not None and before.suppressed else (change,)
            if not changes and request is None:
                return False, await self.committer.renew_token(user_id, (key,))
            write = Write(user_id, changes=changes, response=_response(request, removed, before if removed else None))
            return removed, await self.committer.commit_edges(write, (key,))

        return await _retry_conflicts(attempt)

    async def _check_ends_exist(self, user_id: str, new: NewEdge) -> None:
        ends = (new.source, new.target)
        hidden = await self.lookup.hidden(user_id)
        missing = [end for end in ends if end in hidden] or await self.existence.missing(user_id, ends)
        if missing:
            raise node_missing(new, missing)

    async def _check_automatic(self, user_id: str, new: NewEdge) -> None:
        """Refuse an automatic edge beside a person's edge, and one above the cap. An existing edge is no new one."""
        counts = await self.pages.automatic_counts(user_id, (new.source, new.target))
        full = [node_id for node_id, count in counts.items() if count >= self.auto_cap]
        ends = (new.key.a, new.key.b)
        linked = bool(await self.pages.linked_by_person(user_id, (ends,)))
        if (full or linked) and await self.store.get(user_id, new.key) is None:
            raise already_linked() if linked else cap_reached(full[0], self.auto_cap)

    async def _stored_result(self, request: IdempotentRequest | None, key: EdgeKey) -> tuple[Result, Token] | None:
        """The result of the same request before, with a token that can be verified now."""
        stored = None if request is None else await self.store.find_response(request)
        if request is None or stored is None:
            return None
        result: Result = request.decode(stored)
        return result, await self.committer.renew_token(request.user_id, (key,))


def creation(user_id: str, new: NewEdge, existing: Edge | None, now_ms: int) -> EdgeChange | None:
    """The change that creates an edge, or that adapts an existing one; None: it stays as it is.

    FailedPrecondition EDGE_SUPPRESSED: the edge is suppressed, and this one is automatic.
    """
    if existing is None:
        return EdgeChange(ChangeType.CREATED, first_version(user_id, new, now_ms))
    if existing.suppressed:
        if new.metadata.auto:
            raise suppressed()
        # Later than the suppressed edge, so that no version of the two is the same.
        now_ms = max(now_ms, existing.create_ms + 1)
        return EdgeChange(ChangeType.CREATED, first_version(user_id, new, now_ms), existing)
    after = merge_into_existing(existing, new, now_ms)
    return None if after is None else EdgeChange(ChangeType.UPDATED, after, existing)


def automatic_beside(news: Iterable[NewEdge]) -> set[EdgeKey]:
    """The keys of the automatic edges that these edges replace, if there are such edges."""
    return {edge_key(new.source, new.target) for new in news if not new.metadata.auto} - {new.key for new in news}


def replacements(news: Iterable[NewEdge], stored: Mapping[EdgeKey, Edge]) -> dict[EdgeKey, EdgeChange]:
    """By key of the new edge, the deletion of the automatic edge beside it, which adds nothing to a person's edge.

    An automatic edge that a person has confirmed stays. stored: the edges of automatic_beside(news).
    """
    left = automatic_beside(news)
    found = {}
    for new in news:
        beside = edge_key(new.source, new.target)
        edge = stored.get(beside)
        if not new.metadata.auto and beside in left and edge is not None and edge.metadata.replaceable:
            left.remove(beside)
            found[new.key] = EdgeChange(ChangeType.DELETED, edge, edge, "linked")
    return found


def _response(
    request: IdempotentRequest | None, flag: bool, edge: Edge | None
) -> tuple[IdempotentRequest, bytes] | None:
    return None if request is None else (request, request.encode((flag, edge)))


async def _retry_conflicts(attempt: Callable[[Edge | None], Awaitable[T]]) -> T:
    """attempt(existing), again with the stored edge after each conflict with another writer."""
    existing: Edge | None = None

    async def step() -> T:
        nonlocal existing
        try:
            return await attempt(existing)
        except WriteRejected as error:
            for rejected in error.rejections:
                if rejected.condition == "request":
                    raise Aborted(
                        "the same request runs at the same time", reason="REQUEST_IN_PROGRESS", retry_after=0.1
                    ) from None
            existing = next((rejected.found for rejected in error.rejections if rejected.found is not None), None)
            raise

    try:
        return await retry(step, attempts=_ATTEMPTS, on=(WriteRejected,), backoff=_NO_WAIT)
    except WriteRejected:
        raise Aborted(
            "the edge is being changed by others: try again", reason="EDGE_CONTENDED", retry_after=0.1
        ) from None


def _check_etag(edge: Edge, etag: str) -> None:
    if etag and etag != edge.etag:
        raise Aborted(
            "somebody else changed the edge: read it again", reason="ETAG_MISMATCH", metadata={"etag": edge.etag}
        )


def node_missing(new: NewEdge, missing: Sequence[str]) -> FailedPrecondition:
    end = "source_id" if new.source in missing else "target_id"
    metadata = {"end": end, "node_ids": ",".join(missing)}
    return FailedPrecondition(
        f"{' and '.join(missing)}: no such note, or it is deleted ({end})", reason="NODE_MISSING", metadata=metadata
    )


def suppressed() -> FailedPrecondition:
    return FailedPrecondition("a person rejected this automatic link", reason="EDGE_SUPPRESSED")


def already_linked() -> FailedPrecondition:
    return FailedPrecondition("a person has linked these two notes already", reason="ALREADY_LINKED")


def cap_reached(node_id: str, cap: int) -> FailedPrecondition:
    return FailedPrecondition(
        f"{node_id} has {cap} automatic edges already",
        reason="AUTO_EDGE_CAP",
        metadata={"node_id": node_id, "cap": str(cap)},
    )
