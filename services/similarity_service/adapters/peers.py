"""Calls the node and graph services through their stubs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from grpc import StatusCode

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.table import RELATED
from services.similarity_service import convert
from services.similarity_service.model.links import Link
from services.similarity_service.ports import (
    Direction,
    NodeState,
    NodeText,
    NodeUpdate,
    Related,
    TextLink,
    WrittenNode,
)
from shared import revisions
from shared.errors import Aborted, FailedPrecondition, NotFound, ResourceExhausted
from shared.revisions import Revision

log = logging.getLogger(__name__)
T = TypeVar("T")

# Requests are split into calls of this many notes, edges and neighbours.
_NODES_A_CALL = 100
_EDGES_A_CALL = 500
_NEIGHBOURS = 100
_CALLS_AT_ONCE = 8
# Results of an edge that are errors of the call: it is made again, unless the user's quota is full.
_TRANSIENT = frozenset(
    code.value[0]
    for code in (
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
    )
)


class NodePeer:
    """ports.Nodes."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def texts(
        self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision] | None = None
    ) -> Mapping[str, NodeText]:
        found: dict[str, NodeText] = {}
        for start in range(0, len(node_ids), _NODES_A_CALL):
            found |= await self._texts(user_id, node_ids[start : start + _NODES_A_CALL], seen or {})
        return found

    async def _texts(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, NodeText]:
        """The notes of one call, or of several where their contents are too large for one answer."""
        request = node_pb2.BatchGetNodesRequest(
            user_id=user_id,
            node_ids=node_ids,
            view=node_pb2.NodeView.NODE_VIEW_FULL,
            consistency_token=_token({each: seen[each] for each in node_ids if each in seen}),
        )
        try:
            answer = await self._stub.BatchGetNodes(request)
        except ResourceExhausted as error:
            if error.reason != "RESPONSE_TOO_LARGE" or len(node_ids) == 1:
                raise
            half = len(node_ids) // 2
            first = await self._texts(user_id, node_ids[:half], seen)
            return first | await self._texts(user_id, node_ids[half:], seen)
        missing = set(answer.missing_ids)
        return {node.node_id: convert.node_text(node) for node in answer.nodes if node.node_id not in missing}

    async def state(self, user_id: str, node_id: str, seen: Revision) -> NodeState | None:
        request = node_pb2.GetNodeRequest(
            user_id=user_id,
            node_id=node_id,
            view=node_pb2.NodeView.NODE_VIEW_TITLE,
            show_deleted=True,
            consistency_token=_token({node_id: seen}),
        )
        try:
            node = (await self._stub.GetNode(request)).node
        except NotFound:
            return None
        return NodeState(incarnation=node.incarnation, version=node.version, visible=not node.HasField("delete_time"))

    async def ids(self, user_id: str) -> AsyncIterator[Sequence[str]]:
        token = ""
        while True:
            request = node_pb2.ListNodesRequest(user_id=user_id, page_size=200, page_token=token)
            answer = await self._stub.ListNodes(request)
            yield [node.node_id for node in answer.nodes]
            token = answer.next_page_token
            if not token:
                return

    async def update(self, user_id: str, node_id: str, etag: str, change: NodeUpdate) -> WrittenNode:
        request = node_pb2.UpdateNodeRequest(user_id=user_id, node_id=node_id, etag=etag)
        if change.title is not None:
            request.node.title = change.title
            request.update_mask.paths.append("title")
        if change.content is not None:
            request.node.content = change.content
            request.update_mask.paths.append("content")
        if change.aliases is not None:
            request.node.aliases.extend(change.aliases)
            request.update_mask.paths.append("aliases")
        answer = await self._stub.UpdateNode(request)
        return WrittenNode(answer.node.version, answer.node.etag, answer.consistency_token)


class GraphPeer:
    """ports.Graph. made, removed: automatic links that this process has made and removed."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.made = self.removed = 0

    async def related(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Related]:
        if not node_ids:
            return {}
        found = {}
        for result in await self._first_neighbours(user_id, node_ids):
            neighbours = result.neighbors
            if result.total_degree > len(neighbours):
                neighbours = await self._neighbours(user_id, result.node_id)
            found[result.node_id] = Related(
                {each.node_id: each.weight for each in neighbours if each.auto_generated and each.type == RELATED},
                frozenset(each.node_id for each in neighbours if not each.auto_generated),
            )
        return found

    async def linked(self, user_id: str, node_id: str) -> frozenset[str]:
        return frozenset(each.node_id for each in await self._neighbours(user_id, node_id))

    async def rejected(self, user_id: str, node_id: str) -> frozenset[str]:
        request = graph_pb2.ListSuppressedEdgesRequest(user_id=user_id, node_id=node_id)
        return frozenset((await self._stub.ListSuppressedEdges(request)).node_ids)

    async def link(self, user_id: str, links: Mapping[str, Sequence[Link]], method: str) -> Collection[str]:
        # Two notes of one burst may each have the other among their best: that is one edge.
        edges: dict[tuple[str, str], tuple[str, Link]] = {}
        for node_id, some in links.items():
            for link in some:
                edges[min(node_id, link.node_id), max(node_id, link.node_id)] = node_id, link
        wanted = list(edges.values())
        failed: set[str] = set()
        for start in range(0, len(wanted), _EDGES_A_CALL):
            part = wanted[start : start + _EDGES_A_CALL]
            request = graph_pb2.BatchCreateEdgesRequest(
                user_id=user_id, edges=[convert.new_edge(node_id, link, method) for node_id, link in part]
            )
            # Making the same edge again changes nothing.
            answer = await self._stub.BatchCreateEdges(request, idempotent=True)
            self.made += sum(result.created for result in answer.results)
            for (node_id, link), result in zip(part, answer.results, strict=True):
                if _is_transient(result):
                    failed |= {node_id, link.node_id} & links.keys()
                elif result.code != StatusCode.OK.value[0]:
                    # A person rejected the link, the note has too many edges, or the other note was deleted.
                    log.debug(
                        "link not made", extra={"node_id": node_id, "other_id": link.node_id, "reason": result.reason}
                    )
        return failed

    async def unlink(self, user_id: str, pairs: Sequence[tuple[str, str]]) -> None:
        await _some_at_once(lambda pair: self._unlink(user_id, *pair), pairs)

    async def show(self, user_id: str, notes: Mapping[str, Revision]) -> None:
        requests = [
            graph_pb2.SetNodeVisibilityRequest(
                user_id=user_id, node_id=node_id, incarnation=incarnation, version=version, visible=True
            )
            for node_id, (incarnation, version) in notes.items()
        ]
        await _some_at_once(self._show, requests)

    async def _show(self, request: graph_pb2.SetNodeVisibilityRequest) -> None:
        try:
            await self._stub.SetNodeVisibility(request)
        except FailedPrecondition as error:
            if error.reason != "VERSION_UNKNOWN":
                raise
            # The note has been purged since: that has an event of its own.

    async def text_links(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Mapping[str, Direction]]:
        found: dict[str, Sequence[Any]] = {}
        if len(node_ids) > 1:
            for start in range(0, len(node_ids), _NODES_A_CALL):
                for each in await self._first_neighbours(user_id, node_ids[start : start + _NODES_A_CALL]):
                    if each.total_degree <= len(each.neighbors):
                        found[each.node_id] = each.neighbors
        for node_id in node_ids:
            if node_id not in found:
                found[node_id] = await self._neighbours(user_id, node_id, types=(convert.LINKS_TO,))
        return {
            node_id: {each.node_id: convert.direction(each.direction) for each in some if each.type == convert.LINKS_TO}
            for node_id, some in found.items()
        }

    async def _first_neighbours(self, user_id: str, node_ids: Sequence[str]) -> Sequence[Any]:
        request = graph_pb2.BatchGetNeighborsRequest(user_id=user_id, node_ids=node_ids, limit=_NEIGHBOURS)
        results: Sequence[Any] = (await self._stub.BatchGetNeighbors(request)).results
        return results

    async def link_texts(self, user_id: str, links: Sequence[TextLink]) -> Sequence[tuple[str, str]]:
        refused = []
        for start in range(0, len(links), _EDGES_A_CALL):
            part = links[start : start + _EDGES_A_CALL]
            edges = [convert.text_edge(link) for link in part]
            request = graph_pb2.BatchCreateEdgesRequest(user_id=user_id, edges=edges)
            answer = await self._stub.BatchCreateEdges(request, idempotent=True)
            for link, result in zip(part, answer.results, strict=True):
                if _is_transient(result):
                    # Graph has answered the call, so it is not unavailable: what hinders a link concerns this user.
                    raise Aborted(f"the graph service could not make a link: {result.message}", reason="LINKS_NOT_MADE")
                if result.code != StatusCode.OK.value[0]:
                    refused.append((link.source, link.target))
        return refused

    async def unlink_texts(self, user_id: str, pairs: Sequence[tuple[str, str]]) -> None:
        requests = [
            graph_pb2.DeleteEdgeRequest(
                user_id=user_id, source_id=a, target_id=b, type=convert.LINKS_TO, only_if_from_text=True
            )
            for a, b in pairs
        ]
        await _some_at_once(lambda request: self._stub.DeleteEdge(request, idempotent=True), requests)

    async def _unlink(self, user_id: str, node_id: str, other: str) -> None:
        request = graph_pb2.DeleteEdgeRequest(
            user_id=user_id, source_id=node_id, target_id=other, type=RELATED, only_if_automatic=True
        )
        answer = await self._stub.DeleteEdge(request, idempotent=True)
        self.removed += answer.deleted

    async def _neighbours(self, user_id: str, node_id: str, types: Sequence[str] = ()) -> Sequence[Any]:
        found: list[Any] = []
        token = ""
        while True:
            request = graph_pb2.GetNeighborsRequest(
                user_id=user_id, node_id=node_id, page_size=1000, page_token=token, types=types
            )
            answer = await self._stub.GetNeighbors(request)
            found += answer.neighbors
            token = answer.next_page_token
            if not token:
                return found


async def _some_at_once(call: Callable[[T], Awaitable[object]], items: Sequence[T]) -> None:
    for start in range(0, len(items), _CALLS_AT_ONCE):
        await asyncio.gather(*map(call, items[start : start + _CALLS_AT_ONCE]))


def _token(seen: Mapping[str, Revision]) -> str:
    """The consistency token of any number of notes: those of some each, joined."""
    notes = list(seen.items())
    parts = [dict(notes[at : at + revisions.MOST_NOTES]) for at in range(0, len(notes), revisions.MOST_NOTES)]
    return ",".join(map(revisions.encode, parts))


def _is_transient(result: Any) -> bool:
    return result.code in _TRANSIENT and result.reason != "QUOTA_EXCEEDED"
