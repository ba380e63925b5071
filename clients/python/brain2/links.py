"""The links between a user's notes: create, read, change, reject; neighbours, subgraphs, paths; a feed of changes."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from ._calls import Calls
from ._proto import graph_pb2
from .errors import Cancelled, Unavailable, from_result
from .models import Change, GraphStats, Link, LinkResult, Neighbor, NewLink, Path, Subgraph, SubgraphLink, SubgraphNote

_SERVICE = "/brain2.graph.v1.GraphService/"
_KINDS = {1: "created", 2: "updated", 3: "deleted", 4: "node_hidden", 5: "node_shown"}
_ORDERS = {"weight": graph_pb2.NEIGHBOR_ORDER_WEIGHT, "time": graph_pb2.NEIGHBOR_ORDER_TIME}
_DIRECTIONS = {
    "any": graph_pb2.DIRECTION_UNSPECIFIED,
    "out": graph_pb2.DIRECTION_OUT,
    "in": graph_pb2.DIRECTION_IN,
    "both": graph_pb2.DIRECTION_BOTH,
}
_LONGEST_WAIT = 5.0
_MOST_NOTES = 1000


class Links:
    """The links of a user. Two notes have at most one link of a type."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        source_id: str,
        target_id: str,
        *,
        type: str = "related",
        directed: bool = False,
        weight: float = 1.0,
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> Link:
        """Link two notes. A link that exists is answered unchanged; an automatic one becomes the person's.

        weight: in (0, 1]. labels: the caller's own texts, at most 16.
        Errors: InvalidArgument, FailedPrecondition (NODE_MISSING: an end does not exist or is deleted).
        """
        new = NewLink(source_id, target_id, type, directed, weight, labels or {})
        request = graph_pb2.CreateEdgeRequest(user_id=self._calls.user, edge=_message(new))
        answer = await self._call("CreateEdge", request, graph_pb2.CreateEdgeResponse, timeout, request_id)
        self._wrote(answer, source_id, target_id)
        return Link.of(answer.edge)

    async def create_many(
        self, links: Sequence[NewLink], *, request_id: str = "", timeout: float | None = None
    ) -> tuple[LinkResult, ...]:
        """Create up to 500 links; each has its own result, in their order.

        request_id: empty: the client makes one. Give one to send the same links again, as after a DeadlineExceeded.
        """
        request = graph_pb2.BatchCreateEdgesRequest(user_id=self._calls.user, edges=[_message(link) for link in links])
        answer = await self._call("BatchCreateEdges", request, graph_pb2.BatchCreateEdgesResponse, timeout, request_id)
        self._wrote(answer, *(end for link in links for end in (link.source_id, link.target_id)))
        return tuple(
            LinkResult(
                Link.of(each.edge) if each.code == 0 else None,
                each.created,
                from_result(each.code, each.reason, each.message),
            )
            for each in answer.results
        )

    async def get(self, source_id: str, target_id: str, *, type: str = "related", timeout: float | None = None) -> Link:
        """Read a link with its reasons. Errors: NotFound."""
        request = graph_pb2.GetEdgeRequest(
            user_id=self._calls.user,
            source_id=source_id,
            target_id=target_id,
            type=type,
            consistency_token=self._calls.memory.token("graph", source_id),
        )
        return Link.of((await self._call("GetEdge", request, graph_pb2.GetEdgeResponse, timeout)).edge)

    async def update(
        self,
        source_id: str,
        target_id: str,
        *,
        type: str = "related",
        weight: float | None = None,
        labels: Mapping[str, str] | None = None,
        confirmed: bool | None = None,
        etag: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Link:
        """Change what is given of a link; None leaves it as it is. Errors: NotFound, Aborted (ETAG_MISMATCH).

        confirmed: True: relinking never removes this automatic link.
        """
        request = graph_pb2.UpdateEdgeRequest(
            user_id=self._calls.user, source_id=source_id, target_id=target_id, type=type, etag=etag
        )
        if weight is not None:
            request.weight = weight
            request.update_mask.paths.append("weight")
        if labels is not None:
            request.metadata.labels.update(labels)
            request.update_mask.paths.append("metadata.labels")
        if confirmed is not None:
            request.metadata.confirmed = confirmed
            request.update_mask.paths.append("metadata.confirmed")
        if not request.update_mask.paths:
            raise ValueError("update needs at least one of weight, labels, confirmed")
        answer = await self._call("UpdateEdge", request, graph_pb2.UpdateEdgeResponse, timeout, request_id)
        self._wrote(answer, source_id, target_id)
        return Link.of(answer.edge)

    async def delete(
        self,
        source_id: str,
        target_id: str,
        *,
        type: str = "related",
        etag: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> bool:
        """Remove a link; False when there was none. An automatic one may come back: reject it instead."""
        request = graph_pb2.DeleteEdgeRequest(
            user_id=self._calls.user, source_id=source_id, target_id=target_id, type=type, etag=etag
        )
        answer = await self._call("DeleteEdge", request, graph_pb2.DeleteEdgeResponse, timeout, request_id)
        self._wrote(answer, source_id, target_id)
        return bool(answer.deleted)

    async def reject(
        self,
        source_id: str,
        target_id: str,
        *,
        type: str = "related",
        request_id: str = "",
        timeout: float | None = None,
    ) -> bool:
        """Remove an automatic link and keep it from being made again; True when it existed."""
        request = graph_pb2.SuppressEdgeRequest(
            user_id=self._calls.user, source_id=source_id, target_id=target_id, type=type
        )
        answer = await self._call("SuppressEdge", request, graph_pb2.SuppressEdgeResponse, timeout, request_id)
        self._wrote(answer, source_id, target_id)
        return bool(answer.removed)

    async def neighbors(
        self,
        node_id: str,
        *,
        order: str = "weight",
        direction: str = "any",
        min_weight: float = 0.0,
        types: Iterable[str] = (),
        page_size: int = 100,
        timeout: float | None = None,
    ) -> AsyncIterator[Neighbor]:
        """List the notes that are linked with a note, with their titles. Pages are read as the iterator goes.

        order: "weight" (heaviest first) or "time" (newest link first). direction: "any", "out", "in", "both".
        types: only links of these types; none means all. timeout: seconds for a page.
        """
        request = graph_pb2.GetNeighborsRequest(
            user_id=self._calls.user,
            node_id=node_id,
            page_size=page_size,
            order=_ORDERS[order],
            direction=_DIRECTIONS[direction],
            min_weight=min_weight,
            types=types,
            with_titles=True,
            consistency_token=self._calls.memory.token("graph", node_id),
        )
        while True:
            answer = await self._call("GetNeighbors", request, graph_pb2.GetNeighborsResponse, timeout)
            for neighbor in answer.neighbors:
                yield Neighbor.of(neighbor)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def neighbors_of_many(
        self, node_ids: Iterable[str], *, limit: int = 10, min_weight: float = 0.0, timeout: float | None = None
    ) -> dict[str, tuple[Neighbor, ...]]:
        """The heaviest neighbours of each note, at most limit (100 or fewer), in the order of the ids; without titles.

        The answer has the newest write of this client; earlier writes to other notes follow within milliseconds.
        timeout: seconds for a call; one has 1,000 notes.
        """
        ids = tuple(dict.fromkeys(node_ids))
        found: dict[str, tuple[Neighbor, ...]] = {}
        for start in range(0, len(ids), _MOST_NOTES):
            request = graph_pb2.BatchGetNeighborsRequest(
                user_id=self._calls.user,
                node_ids=ids[start : start + _MOST_NOTES],
                limit=limit,
                min_weight=min_weight,
                consistency_token=self._calls.memory.newest("graph"),
            )
            answer = await self._call("BatchGetNeighbors", request, graph_pb2.BatchGetNeighborsResponse, timeout)
            for result in answer.results:
                found[result.node_id] = tuple(Neighbor.of(neighbor) for neighbor in result.neighbors)
        return found

    async def degree(self, node_id: str, *, timeout: float | None = None) -> int:
        """The number of links of a note."""
        request = graph_pb2.GetNeighborsRequest(
            user_id=self._calls.user,
            node_id=node_id,
            page_size=1,
            consistency_token=self._calls.memory.token("graph", node_id),
        )
        answer = await self._call("GetNeighbors", request, graph_pb2.GetNeighborsResponse, timeout)
        return int(answer.total_degree)

    async def around(
        self,
        node_id: str,
        *,
        hops: int = 2,
        max_fanout: int = 25,
        max_notes: int = 250,
        min_weight: float = 0.0,
        timeout: float | None = None,
    ) -> Subgraph:
        """The notes within 1 to 3 hops of a note, with their titles, and the links among them.

        The answer has the newest write of this client; earlier writes to other notes follow within milliseconds.
        """
        request = graph_pb2.GetSubgraphRequest(
            user_id=self._calls.user,
            node_id=node_id,
            max_hops=hops,
            max_fanout=max_fanout,
            max_nodes=max_notes,
            min_weight=min_weight,
            with_titles=True,
            consistency_token=self._calls.memory.newest("graph"),
        )
        answer = await self._call("GetSubgraph", request, graph_pb2.GetSubgraphResponse, timeout)
        return Subgraph(
            tuple(SubgraphNote(node.node_id, node.title, node.hops, node.degree) for node in answer.nodes),
            tuple(SubgraphLink.of(edge) for edge in answer.edges),
            answer.truncated,
        )

    async def path(
        self, source_id: str, target_id: str, *, max_hops: int = 6, timeout: float | None = None
    ) -> Path | None:
        """A path with the fewest hops, of several the heavier; None when there is none within max_hops (at most 10)."""
        request = graph_pb2.FindShortestPathRequest(
            user_id=self._calls.user,
            source_id=source_id,
            target_id=target_id,
            max_hops=max_hops,
            consistency_token=self._calls.memory.newest("graph"),
        )
        answer = await self._call("FindShortestPath", request, graph_pb2.FindShortestPathResponse, timeout)
        if not answer.found:
            return None
        return Path(tuple(answer.node_ids), tuple(SubgraphLink.of(edge) for edge in answer.edges), answer.bound_reached)

    async def all(self, *, min_weight: float = 0.0, timeout: float | None = None) -> AsyncIterator[Link]:
        """Every link of the user, for a view or an export; read as the iterator goes.

        timeout: seconds until the first links come; the whole may take any time.
        """
        request = graph_pb2.ListEdgesRequest(user_id=self._calls.user, min_weight=min_weight)
        answers = self._calls.stream(
            "graph",
            _SERVICE + "ListEdges",
            request,
            graph_pb2.ListEdgesResponse,
            first_within=self._calls.default_timeout if timeout is None else timeout,
        )
        async for answer in answers:
            for edge in answer.edges:
                yield Link.of(edge)

    async def stats(self, *, hubs: int = 10, timeout: float | None = None) -> GraphStats:
        """Counts of the whole graph, with at most 100 hubs."""
        request = graph_pb2.GetGraphStatsRequest(user_id=self._calls.user, top_hubs=hubs)
        answer = await self._call("GetGraphStats", request, graph_pb2.GetGraphStatsResponse, timeout)
        degrees = {hub.node_id: hub.degree for hub in answer.hubs}
        return GraphStats(answer.linked_nodes, answer.edges, answer.automatic_edges, answer.orphans, degrees)

    async def watch(self, *, resume_token: str = "") -> AsyncIterator[Change]:
        """The changes of the links, from now on or from a resume_token, without an end.

        When a service restarts, the client continues after the last change: none is lost and none comes twice.
        Errors: OutOfRange (RESUME_TOKEN_EXPIRED: read all() again, then watch from now on).
        """
        failures = 0
        while True:
            request = graph_pb2.WatchEdgesRequest(user_id=self._calls.user, resume_token=resume_token)
            wait = 0.0
            try:
                async for answer in self._calls.stream(
                    "graph", _SERVICE + "WatchEdges", request, graph_pb2.WatchEdgesResponse, first_within=None
                ):
                    failures = 0
                    resume_token = answer.resume_token or resume_token
                    if answer.kind in _KINDS:
                        yield _change(answer)
            except (Unavailable, Cancelled) as error:
                if error.reason == "CLIENT_CLOSED":
                    raise
                wait = error.retry_after or 0.0
            failures += 1
            await asyncio.sleep(max(wait, random.uniform(0, min(0.05 * 2.0 ** min(failures, 10), _LONGEST_WAIT))))

    def _wrote(self, answer: Any, *node_ids: str) -> None:
        self._calls.memory.wrote("graph", node_ids, answer.consistency_token)

    async def _call(self, name: str, request: Any, response: Any, timeout: float | None, request_id: str = "") -> Any:
        return await self._calls.unary("graph", _SERVICE + name, request, response, timeout, request_id)


def _message(link: NewLink) -> Any:
    return graph_pb2.NewEdge(
        source_id=link.source_id,
        target_id=link.target_id,
        type=link.type,
        directed=link.directed,
        weight=link.weight,
        metadata=graph_pb2.EdgeMetadata(
            labels=link.labels,
            auto_generated=link.auto_generated,
            confirmed=link.confirmed,
            score=link.score,
            method=link.method,
            shared_keywords=[
                graph_pb2.SharedKeyword(keyword=reason.keyword, contribution=reason.contribution)
                for reason in link.reasons
            ],
        ),
    )


def _change(answer: Any) -> Change:
    kind = _KINDS[answer.kind]
    if kind.startswith("node_"):
        return Change(kind, None, answer.edge.source_id, answer.resume_token)
    return Change(kind, Link.of(answer.edge), "", answer.resume_token)
