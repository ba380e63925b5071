"""BatchCreateEdges: many edges in few transactions, each with a result of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.graph_service.model.edge import Edge, EdgeKey, NewEdge, born, check_new_edge, check_user, met_again
from services.graph_service.model.token import Token, token_for
from services.graph_service.ports import HIDDEN, Change, Codec, EdgeStore, Journal, Kind, Once, Refused, Write
from services.graph_service.usecases.adjacency import Adjacency
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.links import (
    Links,
    cap_reached,
    node_missing,
    suppressed,
    touched_by,
)
from services.graph_service.usecases.neighbors import Neighbors
from shared.errors import Brain2Error, InvalidArgument, Violations
from shared.ids import Clock

MOST = 500
# Each edge takes two items, an event and perhaps a check of the 100 that a transaction may name.
_GROUP = 20


@dataclass(slots=True)
class Result:
    """What became of one edge; kind is "" or that of an error."""

    edge: Edge | None = None
    created: bool = False
    kind: str = ""
    reason: str = ""
    message: str = ""

    def failed(self, error: Brain2Error) -> None:
        self.kind, self.reason, self.message = error.kind, error.reason, error.message


class Batch:
    """See BatchCreateEdges. Not atomic over the batch."""

    def __init__(
        self,
        store: EdgeStore,
        committer: Committer,
        adjacency: Adjacency,
        neighbors: Neighbors,
        existence: Existence,
        links: Links,
        codec: Codec,
        clock: Clock,
    ) -> None:
        self._store = store
        self._committer = committer
        self._adjacency = adjacency
        self._neighbors = neighbors
        self._existence = existence
        self._links = links
        self._codec = codec
        self._clock = clock

    async def create(self, user: str, news: Sequence[NewEdge], once: Once | None = None) -> tuple[list[Result], Token]:
        violations = Violations()
        check_user(user, violations)
        if not 1 <= len(news) <= MOST:
            violations.add("edges", f"must be 1 to {MOST}")
        violations.raise_if_any()
        if once is None:
            return await self._create(user, news)
        stored = await self._store.begin(once)
        if stored is not None:
            results = [Result(edge, *rest) for *rest, edge in once.decode(stored)]
            edges = [result.edge for result in results if result.edge is not None]
            return results, await self._committer.again(touched_by(user, edges))
        try:
            results, token = await self._create(user, news)
        except Brain2Error:
            await self._store.forget(once)
            raise
        await self._store.complete(once, once.encode(results))
        return results, token

    async def _create(self, user: str, news: Sequence[NewEdge]) -> tuple[list[Result], Token]:
        results = [Result() for _ in news]
        first: dict[EdgeKey, int] = {}
        repeats: list[int] = []
        for index, new in enumerate(news):
            try:
                violations = Violations()
                check_new_edge(f"edges[{index}].", new, violations)
                violations.raise_if_any()
            except InvalidArgument as error:
                results[index].failed(error)
                continue
            if first.setdefault(new.key, index) != index:
                repeats.append(index)
        await self._check_ends(user, news, first, results)
        found = await self._store.get_many(user, first)
        await self._check_automatic(user, news, first, found, results)
        changes: dict[int, Change] = {}
        for key, index in list(first.items()):
            change = self._change(user, news[index], found.get(key))
            results[index].edge = found[key] if change is None else change.edge
            if change is not None:
                changes[index] = change
        token = await self._commit_all(user, news, changes, results)
        for index in repeats:
            original = results[first[news[index].key]] if news[index].key in first else None
            if original is not None:
                results[index] = replace(original, created=False)
        return results, token

    def _change(self, user: str, new: NewEdge, found: Edge | None) -> Change | None:
        if found is None:
            return Change(Kind.CREATED, born(user, new, self._clock.now_ms()))
        after = met_again(found, new, self._clock.now_ms())
        return None if after is None else Change(Kind.UPDATED, after, found)

    async def _check_ends(
        self, user: str, news: Sequence[NewEdge], first: dict[EdgeKey, int], results: list[Result]
    ) -> None:
        ends = {end for key in first for end in (key.a, key.b)}
        hidden = await self._adjacency.hidden(user)
        gone = (hidden & ends) | set(await self._existence.missing(user, ends - hidden))
        for key, index in list(first.items()):
            if missing := [end for end in (news[index].source, news[index].target) if end in gone]:
                results[index].failed(node_missing(news[index], missing))
                del first[key]

    async def _check_automatic(
        self,
        user: str,
        news: Sequence[NewEdge],
        first: dict[EdgeKey, int],
        found: "dict[EdgeKey, Edge] | object",
        results: list[Result],
    ) -> None:
        """Rejected links and the cap; what exists already is no new edge."""
        assert isinstance(found, dict)
        automatic = [key for key, index in first.items() if news[index].metadata.auto and key not in found]
        if not automatic:
            return
        rejected = await self._store.suppressed(user, automatic)
        counts = await self._neighbors.automatic(user, sorted({end for key in automatic for end in (key.a, key.b)}))
        for key in automatic:
            index = first[key]
            full = [end for end in (key.a, key.b) if counts[end] >= self._links.auto_cap]
            if key in rejected:
                results[index].failed(suppressed())
            elif full:
                results[index].failed(cap_reached(full[0], self._links.auto_cap))
            else:
                counts[key.a] += 1
                counts[key.b] += 1
                continue
            del first[key]

    async def _commit_all(
        self, user: str, news: Sequence[NewEdge], changes: dict[int, Change], results: list[Result]
    ) -> Token:
        indexes = list(changes)
        token: Token | None = None
        for start in range(0, len(indexes), _GROUP):
            group = indexes[start : start + _GROUP]
            try:
                token = await self._commit(user, news, group, changes)
                for index in group:
                    results[index].created = changes[index].kind is Kind.CREATED
            except Refused:
                # One of them met another writer: each by itself, so that it harms no other.
                for index in group:
                    token = await self._alone(user, news[index], results[index]) or token
        edges = [result.edge for result in results if result.edge is not None]
        if token is None:
            return await self._committer.again(touched_by(user, edges))
        # The stamp of the last transaction is later than those of all before it.
        notes = {end for edge in edges for end in (edge.source, edge.target)} - {HIDDEN}
        return token_for(token.space, token.stamp, token.wall_ms, notes)

    async def _commit(
        self, user: str, news: Sequence[NewEdge], group: Sequence[int], changes: dict[int, Change]
    ) -> Token:
        some = [changes[index] for index in group]
        write = Write(
            user,
            changes=tuple(some),
            unless_suppressed=tuple(news[i].key for i in group if news[i].metadata.auto),
            unsuppress=tuple(news[i].key for i in group if not news[i].metadata.auto),
        )
        feed = tuple(self._codec.feed(change.kind, change.edge) for change in some)

        async def commit(journal: Journal | None) -> None:
            await self._store.commit(replace(write, journal=journal))

        _, token = await self._committer.run(touched_by(user, [change.edge for change in some], feed), commit)
        return token

    async def _alone(self, user: str, new: NewEdge, result: Result) -> Token | None:
        try:
            result.edge, result.created, token = await self._links.create(user, new)
            return token
        except Brain2Error as error:
            result.edge = None
            result.failed(error)
            return None


__all__ = ["Batch", "Result"]
