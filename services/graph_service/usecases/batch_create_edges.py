"""BatchCreateEdges: many edges in few transactions, each with a result of its own. The batch is not atomic."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from services.graph_service.model.consistency_token import Token, token_for
from services.graph_service.model.edge import Edge, EdgeKey, NewEdge
from services.graph_service.ports import ChangeType, EdgeChange, EdgeStore, Write, WriteRejected
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.edges import (
    Edges,
    already_linked,
    automatic_beside,
    cap_reached,
    creation,
    node_missing,
    replacements,
    suppressed,
)
from services.graph_service.usecases.validation import check_batch, check_batched_edge
from shared.errors import Brain2Error, InvalidArgument, QuotaExceeded
from shared.idempotent import IdempotentRequest
from shared.ids import Clock
from shared.resilience.slices import Slices

# Each edge takes two of the 100 operations of a transaction, beside an event and a journal entry.
_GROUP = 48
_NONE: Mapping[int, InvalidArgument] = MappingProxyType({})


@dataclass(slots=True)
class EdgeResult:
    """The result of one edge; kind is "" or the kind of an error."""

    edge: Edge | None = None
    created: bool = False
    kind: str = ""
    reason: str = ""
    message: str = ""

    def fail(self, error: Brain2Error) -> None:
        """Store an error in it."""
        self.kind, self.reason, self.message = error.kind, error.reason, error.message

    def refuse(self, error: Brain2Error) -> None:
        """Store an error in it in place of the edge that it was to have."""
        self.edge = None
        self.fail(error)


@dataclass(frozen=True, slots=True)
class _Batch:
    """One call of BatchCreateEdges. results: of the edges of `news`, by their places."""

    user_id: str
    news: Sequence[NewEdge]
    results: list[EdgeResult]
    # By key, the index of the edge that is created in a group, as long as nothing is wrong with it.
    first: dict[EdgeKey, int]


@dataclass(frozen=True, slots=True)
class BatchCreateEdges:
    """Creates edges in groups; an edge that meets another writer is created by itself, by Edges."""

    store: EdgeStore
    committer: Committer
    edges: Edges
    clock: Clock

    async def batch_create_edges(
        self,
        user_id: str,
        news: Sequence[NewEdge],
        request: IdempotentRequest | None = None,
        wrong: Mapping[int, InvalidArgument] = _NONE,
    ) -> tuple[list[EdgeResult], Token]:
        """One result for each edge, in the order of the request, and the token of all.

        wrong: the errors of edges that break the limits of the .proto, by their places in `news`.
        """
        check_batch(user_id, news)
        if request is None:
            return await self._create(user_id, news, wrong)
        stored = await self.store.begin_request(request)
        if stored is not None:
            results: list[EdgeResult] = request.decode(stored)
            return results, await self.committer.renew_token(user_id, _keys(results))
        try:
            results, token = await self._create(user_id, news, wrong)
        except BaseException:  # the caller went away, too
            await self.store.release_request(request)
            raise
        await self.store.complete_request(request, request.encode(results))
        return results, token

    async def _create(
        self, user_id: str, news: Sequence[NewEdge], wrong: Mapping[int, InvalidArgument]
    ) -> tuple[list[EdgeResult], Token]:
        batch = _Batch(user_id, news, [EdgeResult() for _ in news], {})
        results, first = batch.results, batch.first
        # Edges that are created one by one after these, and those that are the same as an earlier one.
        later: list[int] = []
        same: dict[int, int] = {}
        valid: list[int] = []
        slices = Slices()
        for index, new in enumerate(news):
            await slices.pause()
            try:
                if index in wrong:
                    raise wrong[index]
                check_batched_edge(index, new)
            except InvalidArgument as error:
                results[index].fail(error)
                continue
            valid.append(index)
        by_person = {_pair(news[index].key) for index in valid if not news[index].metadata.auto}
        for index in valid:
            new = news[index]
            if new.metadata.auto and _pair(new.key) in by_person:
                later.append(index)  # a person's edge comes first
            elif (earlier := first.setdefault(new.key, index)) == index:
                continue
            elif new == news[earlier]:
                same[index] = earlier
            else:
                later.append(index)
        await self._check_ends_exist(batch)
        wanted = [news[index] for index in first.values()]
        existing = await self.store.get_many(user_id, [*first, *automatic_beside(wanted)])
        replaced = replacements(wanted, existing)
        await self._check_automatic(batch, existing)
        changes: dict[int, Sequence[EdgeChange]] = {}
        for key, index in first.items():
            await slices.pause()
            change = creation(user_id, news[index], existing.get(key), self.clock.now_ms())
            results[index].edge = existing[key] if change is None else change.edge
            if found := [each for each in (change, replaced.get(key)) if each is not None]:
                changes[index] = found
        token = await self._commit_all(batch, changes, later)
        for index, earlier in same.items():
            results[index] = replace(results[earlier], created=False)
        return results, token

    async def _check_ends_exist(self, batch: _Batch) -> None:
        ends = {end for key in batch.first for end in (key.a, key.b)}
        hidden = await self.edges.lookup.hidden(batch.user_id)
        gone = (hidden & ends) | set(await self.edges.existence.missing(batch.user_id, ends - hidden))
        for key, index in list(batch.first.items()):
            new = batch.news[index]
            if missing := [end for end in (new.source, new.target) if end in gone]:
                batch.results[index].fail(node_missing(new, missing))
                del batch.first[key]

    async def _check_automatic(self, batch: _Batch, existing: Mapping[EdgeKey, Edge]) -> None:
        """Refuse automatic edges that a person rejected, those beside a person's edge, and those above the cap.

        An existing edge is no new one.
        """
        news, results, first = batch.news, batch.results, batch.first
        for key, index in list(first.items()):
            if key in existing and existing[key].suppressed and news[index].metadata.auto:
                results[first.pop(key)].fail(suppressed())
        automatic = [key for key, index in first.items() if news[index].metadata.auto and key not in existing]
        if not automatic:
            return
        linked = await self.edges.pages.linked_by_person(batch.user_id, set(map(_pair, automatic)))
        ends = sorted({end for key in automatic for end in (key.a, key.b)})
        counts = await self.edges.pages.automatic_counts(batch.user_id, ends)
        cap = self.edges.auto_cap
        for key in automatic:
            full = [end for end in (key.a, key.b) if counts[end] >= cap]
            if _pair(key) in linked:
                results[first.pop(key)].fail(already_linked())
                continue
            if full:
                results[first.pop(key)].fail(cap_reached(full[0], cap))
                continue
            counts[key.a] += 1
            counts[key.b] += 1

    async def _commit_all(
        self, batch: _Batch, changes: Mapping[int, Sequence[EdgeChange]], later: Iterable[int]
    ) -> Token:
        results = batch.results
        token: Token | None = None
        full: QuotaExceeded | None = None
        for group in _groups(changes):
            write = Write(batch.user_id, changes=tuple(change for i in group for change in changes[i]))
            try:
                token = await self.committer.commit_edges(write)
                for index in group:
                    results[index].created = changes[index][0].change_type is ChangeType.CREATED
            except (WriteRejected, QuotaExceeded):
                # One edge met another writer, or they don't all fit into the user's quota: each is created by itself,
                # so that the others succeed. A full quota refuses all further edges that are new.
                for index in group:
                    if full is not None and changes[index][0].before is None:
                        results[index].refuse(full)
                        continue
                    done = await self._create_alone(batch, index)
                    if isinstance(done, Token):
                        token = done
                    elif isinstance(done, QuotaExceeded):
                        full = done
        for index in later:
            done = await self._create_alone(batch, index)
            if isinstance(done, Token):
                token = done
        keys = _keys(results)
        if token is None:
            return await self.committer.renew_token(batch.user_id, keys)
        # The stamp of the last transaction is later than those of all before it.
        return token_for(token.space, token.stamp, token.wall_ms, {end for key in keys for end in (key.a, key.b)})

    async def _create_alone(self, batch: _Batch, index: int) -> Token | Brain2Error:
        result = batch.results[index]
        try:
            result.edge, result.created, token = await self.edges.create_edge(batch.user_id, batch.news[index])
            return token
        except Brain2Error as error:
            result.refuse(error)
            return error


def _groups(changes: Mapping[int, Sequence[EdgeChange]]) -> Iterator[list[int]]:
    """The indexes of the edges, so that the changes of a group are one transaction."""
    group: list[int] = []
    size = 0
    for index, parts in changes.items():
        if size + len(parts) > _GROUP:
            yield group
            group, size = [], 0
        group.append(index)
        size += len(parts)
    if group:
        yield group


def _pair(key: EdgeKey) -> tuple[str, str]:
    return key.a, key.b


def _keys(results: Iterable[EdgeResult]) -> list[EdgeKey]:
    return [result.edge.key for result in results if result.edge is not None]
