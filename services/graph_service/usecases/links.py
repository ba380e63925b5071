"""Make, change and remove single edges."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.graph_service.model.edge import (
    Edge,
    EdgeKey,
    Metadata,
    NewEdge,
    born,
    check_ends,
    check_metadata,
    check_new_edge,
    check_user,
    check_weight,
    edge_key,
    met_again,
)
from services.graph_service.model.neighbors import seen_from
from services.graph_service.model.token import Token
from services.graph_service.ports import Change, Codec, EdgeStore, Journal, Kind, Once, Refusal, Refused, Touched, Write
from services.graph_service.usecases.adjacency import Adjacency
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.neighbors import Neighbors
from shared.errors import Aborted, FailedPrecondition, NotFound, Violations
from shared.ids import Clock

_ATTEMPTS = 5
# What is answered again under a request_id: (created, edge), (deleted, edge) and so on.
Outcome = tuple[bool, Edge | None]


@dataclass(frozen=True, slots=True)
class Patch:
    """New values of an edge; None leaves a value as it is."""

    weight: float | None = None
    labels: dict[str, str] | None = None
    confirmed: bool | None = None


class Links:
    """auto_cap: automatic edges that a note may have."""

    def __init__(
        self,
        store: EdgeStore,
        committer: Committer,
        adjacency: Adjacency,
        neighbors: Neighbors,
        existence: Existence,
        codec: Codec,
        clock: Clock,
        *,
        auto_cap: int = 50,
    ) -> None:
        self._store = store
        self._committer = committer
        self._adjacency = adjacency
        self._neighbors = neighbors
        self._existence = existence
        self._codec = codec
        self._clock = clock
        self.auto_cap = auto_cap

    # ------------------------------------------------------------------ one edge
    async def create(self, user: str, new: NewEdge, once: Once | None = None) -> tuple[Edge, bool, Token]:
        """The edge, whether it was made now, and the token. See CreateEdge."""
        violations = Violations()
        check_user(user, violations)
        check_new_edge("edge.", new, violations)
        violations.raise_if_any()
        if once is not None and (answered := await self._answered(once, new.key)) is not None:
            (created, edge), token = answered
            assert edge is not None
            return edge, created, token
        await self.check_ends_exist(user, new)
        if new.metadata.auto:
            await self._check_cap(user, new)
        found: Edge | None = None
        for _ in range(_ATTEMPTS):
            edge, change = self._wanted(user, new, found)
            if change is None and once is None:
                assert found is not None
                return found, False, await self._committer.again(self._touched(user, found))
            write = Write(
                user,
                changes=() if change is None else (change,),
                unless_suppressed=(new.key,) if new.metadata.auto else (),
                unsuppress=() if new.metadata.auto else (new.key,),
                answered=None if once is None else (once, once.encode((found is None, edge))),
            )
            try:
                token = await self.commit(write, Kind.CREATED if found is None else Kind.UPDATED, edge)
                return edge, found is None, token
            except Refused as refused:
                found = self._found(refused.refusals, found)
        raise _contended()

    async def get(self, user: str, key: EdgeKey) -> Edge:
        """One edge; NotFound also while one of its notes is hidden. Always consistent."""
        _check_key(user, key)
        edge = await self._store.get(user, key)
        hidden = await self._adjacency.hidden(user)
        if edge is None or key.a in hidden or key.b in hidden:
            raise _no_edge()
        return edge

    async def update(
        self, user: str, key: EdgeKey, patch: Patch, etag: str = "", once: Once | None = None
    ) -> tuple[Edge, Token]:
        """The changed edge. See UpdateEdge."""
        violations = Violations()
        check_user(user, violations)
        check_ends("", key.a, key.b, key.type, violations)
        check_weight("weight", patch.weight or 0.0, violations)
        if patch.labels is not None:
            check_metadata("metadata", Metadata(labels=patch.labels), violations)
        violations.raise_if_any()
        if once is not None and (answered := await self._answered(once, key)) is not None:
            (_, edge), token = answered
            assert edge is not None
            return edge, token
        for _ in range(_ATTEMPTS):
            before = await self.get(user, key)
            _check_etag(before, etag)
            meta = before.metadata
            if patch.labels is not None:
                meta = replace(meta, labels=patch.labels)
            if patch.confirmed is not None:
                meta = replace(meta, confirmed=patch.confirmed)
            after = before.changed(self._clock.now_ms(), weight=patch.weight, metadata=meta)
            write = Write(
                user,
                changes=(Change(Kind.UPDATED, after, before),),
                answered=None if once is None else (once, once.encode((True, after))),
            )
            try:
                return after, await self.commit(write, Kind.UPDATED, after)
            except Refused as refused:
                self._found(refused.refusals, before)
        raise _contended()

    async def delete(
        self, user: str, key: EdgeKey, etag: str = "", *, only_automatic: bool = False, once: Once | None = None
    ) -> tuple[bool, Token]:
        """Whether an edge was removed. See DeleteEdge."""
        _check_key(user, key)
        if once is not None and (answered := await self._answered(once, key)) is not None:
            return answered[0][0], answered[1]
        for _ in range(_ATTEMPTS):
            before = await self._store.get(user, key)
            spared = before is not None and only_automatic and not _automatic(before)
            if before is None or spared:
                if once is not None:
                    await self._record(user, key, once, False)
                return False, await self._committer.again(_touched_key(user, key))
            _check_etag(before, etag)
            cause = "relink" if only_automatic else "request"
            write = Write(
                user,
                changes=(Change(Kind.DELETED, before, before, cause),),
                answered=None if once is None else (once, once.encode((True, before))),
            )
            try:
                return True, await self.commit(write, Kind.DELETED, before)
            except Refused as refused:
                self._found(refused.refusals, before)
        raise _contended()

    async def suppress(self, user: str, key: EdgeKey, once: Once | None = None) -> tuple[bool, Token]:
        """Remove the edge, if it is there, and remember that a person doesn't want it. See SuppressEdge."""
        _check_key(user, key)
        if once is not None and (answered := await self._answered(once, key)) is not None:
            return answered[0][0], answered[1]
        for _ in range(_ATTEMPTS):
            before = await self._store.get(user, key)
            write = Write(
                user,
                changes=() if before is None else (Change(Kind.DELETED, before, before, "suppressed"),),
                suppress=(key,),
                answered=None if once is None else (once, once.encode((before is not None, before))),
            )
            try:
                return before is not None, await self.commit(write, Kind.DELETED, before, key)
            except Refused as refused:
                self._found(refused.refusals, before)
        raise _contended()

    # ------------------------------------------------------------------ shared with the batch
    async def commit(self, write: Write, kind: Kind, edge: Edge | None, key: EdgeKey | None = None) -> Token:
        """Commit a write about one edge, with the caches told."""
        if edge is None:
            assert key is not None
            touched = _touched_key(write.user, key)
        else:
            feed = (self._codec.feed(kind, edge),) if write.changes else ()
            touched = replace(self._touched(write.user, edge), feed=feed)

        async def commit(journal: Journal | None) -> None:
            await self._store.commit(replace(write, journal=journal))

        _, token = await self._committer.run(touched, commit)
        return token

    async def check_ends_exist(self, user: str, new: NewEdge) -> None:
        """FailedPrecondition NODE_MISSING, naming the end."""
        ends = (new.source, new.target)
        hidden = await self._adjacency.hidden(user)
        gone = [end for end in ends if end in hidden] or await self._existence.missing(user, ends)
        if gone:
            raise node_missing(new, gone)

    async def _check_cap(self, user: str, new: NewEdge) -> None:
        counts = await self._neighbors.automatic(user, (new.source, new.target))
        full = [note for note, count in counts.items() if count >= self.auto_cap]
        if full and await self._store.get(user, new.key) is None:
            raise cap_reached(full[0], self.auto_cap)

    def _wanted(self, user: str, new: NewEdge, found: Edge | None) -> tuple[Edge, Change | None]:
        """The edge as it shall be, and the change that leads there (None: it is as it shall be)."""
        if found is None:
            edge = born(user, new, self._clock.now_ms())
            return edge, Change(Kind.CREATED, edge)
        after = met_again(found, new, self._clock.now_ms())
        return (found, None) if after is None else (after, Change(Kind.UPDATED, after, found))

    def _found(self, refusals: Sequence[Refusal], before: Edge | None) -> Edge | None:
        """What is stored now, after a commit was refused; raises when trying again can't help."""
        for refusal in refusals:
            if refusal.what == "suppressed":
                raise suppressed()
            if refusal.what == "receipt":
                raise Aborted("the same request runs at the same time", reason="REQUEST_IN_PROGRESS", retry_after=0.1)
        return next((refusal.found for refusal in refusals if refusal.found is not None), None)

    async def _answered(self, once: Once, key: EdgeKey) -> tuple[Outcome, Token] | None:
        stored = await self._store.find(once)
        if stored is None:
            return None
        outcome: Outcome = once.decode(stored)
        # Its writer may have died before it told the caches; and the token must be one that can be verified now.
        return outcome, await self._committer.again(_touched_key(once.user_id, key))

    async def _record(self, user: str, key: EdgeKey, once: Once, flag: bool) -> None:
        """Remember an answer that changed nothing."""
        try:
            await self._store.commit(Write(user, answered=(once, once.encode((flag, None)))))
        except Refused as refused:
            self._found(refused.refusals, None)

    def _touched(self, user: str, edge: Edge) -> Touched:
        return _touched_key(user, edge.key)


def _touched_key(user: str, key: EdgeKey) -> Touched:
    return Touched(user, ((key.a, f"{key.b}#{key.type}"), (key.b, f"{key.a}#{key.type}")))


def touched_by(user: str, edges: Sequence[Edge], feed: tuple[bytes, ...] = ()) -> Touched:
    """The list entries of some edges."""
    members = [(end, seen_from(end, edge).member) for edge in edges for end in (edge.source, edge.target)]
    return Touched(user, tuple(members), feed)


def _check_key(user: str, key: EdgeKey) -> None:
    violations = Violations()
    check_user(user, violations)
    check_ends("", key.a, key.b, key.type, violations)
    violations.raise_if_any()


def _check_etag(edge: Edge, etag: str) -> None:
    if etag and etag != edge.etag:
        raise Aborted(
            "somebody else changed the edge: read it again", reason="ETAG_MISMATCH", metadata={"etag": edge.etag}
        )


def _automatic(edge: Edge) -> bool:
    return edge.metadata.auto and not edge.metadata.confirmed


def _no_edge() -> NotFound:
    return NotFound("there is no such edge", reason="EDGE_NOT_FOUND")


def _contended() -> Aborted:
    return Aborted("the edge is being changed by others: try again", reason="EDGE_CONTENDED", retry_after=0.1)


def node_missing(new: NewEdge, gone: Sequence[str]) -> FailedPrecondition:
    end = "source_id" if new.source in gone else "target_id"
    metadata = {"end": end, "node_ids": ",".join(gone)}
    return FailedPrecondition(
        f"{' and '.join(gone)}: no such note, or it is deleted ({end})", reason="NODE_MISSING", metadata=metadata
    )


def suppressed() -> FailedPrecondition:
    return FailedPrecondition("a person rejected this automatic link", reason="EDGE_SUPPRESSED")


def cap_reached(note: str, cap: int) -> FailedPrecondition:
    return FailedPrecondition(
        f"{note} has {cap} automatic edges already", reason="AUTO_EDGE_CAP", metadata={"node_id": note, "cap": str(cap)}
    )


__all__ = ["Links", "Patch", "edge_key"]
