"""Clients of the other three services: ports.Nodes, ports.Graph and ports.Similarity on their stubs."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.cleanup_service import convert
from services.cleanup_service.model.saga import Deletion
from services.cleanup_service.ports import Fenced, Record, Superseded
from shared.errors import Aborted, Brain2Error, FailedPrecondition, NotFound
from shared.grpc.client import Channels

# Seconds; in the background there is no caller whose deadline limits a call.
_TIMEOUT = 10.0
_STREAM_TIMEOUT = 300.0
# With so many edges a response of DetachNode stays below 4 MiB, even with the largest metadata.
_EDGES_AT_ONCE = 500
_IDS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Peers:
    """The stubs of the other services."""

    node: Any
    graph: Any
    similarity: Any


def connect(channels: Channels, node: str, graph: str, similarity: str) -> Peers:
    """Makes stubs for the services at these targets; nothing is sent yet."""
    return Peers(
        node=channels.stub(node, node_pb2.DESCRIPTOR.services_by_name["NodeService"]),
        graph=channels.stub(graph, graph_pb2.DESCRIPTOR.services_by_name["GraphService"]),
        similarity=channels.stub(similarity, similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"]),
    )


class NodePeer:
    """ports.Nodes."""

    def __init__(self, peers: Peers) -> None:
        self._stub = peers.node

    async def get_deletion(self, user_id: str, node_id: str) -> Deletion | None:
        request = node_pb2.GetNodeRequest(
            user_id=user_id, node_id=node_id, view=node_pb2.NODE_VIEW_TITLE, show_deleted=True
        )
        return convert.deletion_of((await self._stub.GetNode(request, timeout=_TIMEOUT)).node)

    async def fence(self, user_id: str, node_id: str, version: int) -> Fenced:
        answer = await self._purge(user_id, node_id, version, fence=True)
        if answer is None or answer.already_purged or not answer.HasField("node"):
            return Fenced(None, None)
        return Fenced(convert.note_record(answer.node), convert.cascade(answer.cascade))

    async def purge(self, user_id: str, node_id: str, version: int) -> None:
        await self._purge(user_id, node_id, version, fence=False)

    async def _purge(self, user_id: str, node_id: str, version: int, *, fence: bool) -> Any:
        request = node_pb2.PurgeNodeRequest(user_id=user_id, node_id=node_id, version=version, fence=fence)
        try:
            return await self._stub.PurgeNode(request, timeout=_TIMEOUT, idempotent=True)
        except NotFound:
            return None
        except (Aborted, FailedPrecondition) as error:
            raise _translated(error) from None

    async def unchanged(self, user_id: str, node_ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(node_ids), _IDS_AT_ONCE):
            request = node_pb2.BatchGetNodesRequest(
                user_id=user_id, node_ids=node_ids[start : start + _IDS_AT_ONCE], view=node_pb2.NODE_VIEW_TITLE
            )
            answer = await self._stub.BatchGetNodes(request, timeout=_TIMEOUT)
            found |= {node.node_id: node.etag for node in answer.nodes if node.version == 1}
        return found

    async def delete_unchanged(self, user_id: str, node_id: str, etag: str) -> bool:
        request = node_pb2.DeleteNodeRequest(
            user_id=user_id, node_id=node_id, etag=etag, cascade=node_pb2.CASCADE_EDGES
        )
        try:
            # A repeated call finds a deleted note or another etag, so it never deletes twice.
            await self._stub.DeleteNode(request, timeout=_TIMEOUT, idempotent=True)
        except NotFound:
            return False
        except Aborted as error:
            if error.reason == "ETAG_MISMATCH":
                return False
            raise
        return True

    async def delete(self, user_id: str, node_id: str) -> int | None:
        request = node_pb2.DeleteNodeRequest(user_id=user_id, node_id=node_id)
        try:
            answer = await self._stub.DeleteNode(request, timeout=_TIMEOUT, idempotent=True)
        except NotFound:
            return None
        return int(answer.version)


async def _set_visibility(stub: Any, request: Any) -> None:
    try:
        await stub.SetNodeVisibility(request, timeout=_TIMEOUT, idempotent=True)
    except FailedPrecondition as error:
        if error.reason != "VERSION_UNKNOWN":
            raise
        # The note was purged, and perhaps created again: nothing of the version that the caller means is left to show.


class GraphPeer:
    """ports.Graph."""

    def __init__(self, peers: Peers) -> None:
        self._stub = peers.graph

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        request = graph_pb2.SetNodeVisibilityRequest(user_id=user_id, node_id=node_id, version=version, visible=visible)
        await _set_visibility(self._stub, request)

    async def edges(self, user_id: str, node_id: str) -> AsyncIterator[list[Record]]:
        request = graph_pb2.ListEdgesRequest(user_id=user_id, node_id=node_id, show_hidden=True)
        async for answer in self._stub.ListEdges(request, timeout=_STREAM_TIMEOUT):
            yield [convert.edge_record(edge) for edge in answer.edges if node_id in (edge.source_id, edge.target_id)]

    async def detach(self, user_id: str, node_id: str, version: int) -> tuple[list[Record], bool]:
        request = graph_pb2.DetachNodeRequest(
            user_id=user_id, node_id=node_id, max_edges=_EDGES_AT_ONCE, version=version
        )
        try:
            # The stub doesn't repeat it: a lost response names removed edges that the archive may lack.
            answer = await self._stub.DetachNode(request, timeout=_TIMEOUT, idempotent=False)
        except (Aborted, FailedPrecondition) as error:
            raise _translated(error) from None
        return [convert.edge_record(edge) for edge in answer.edges], answer.done


class SimilarityPeer:
    """ports.Similarity."""

    def __init__(self, peers: Peers) -> None:
        self._stub = peers.similarity

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        request = similarity_pb2.SetNodeVisibilityRequest(
            user_id=user_id, node_id=node_id, version=version, visible=visible
        )
        await _set_visibility(self._stub, request)

    async def keywords(self, user_id: str, note: Record) -> list[Record]:
        # From the text: the index has no answer for a hidden note.
        request = similarity_pb2.ExtractKeywordsRequest(
            user_id=user_id, title=note["title"], text=note["text"] or note["title"], limit=50
        )
        answer = await self._stub.ExtractKeywords(request, timeout=_TIMEOUT, idempotent=True)
        return [convert.keyword_record(keyword) for keyword in answer.keywords]

    async def remove_node(self, user_id: str, node_id: str, version: int) -> None:
        request = similarity_pb2.RemoveNodeRequest(user_id=user_id, node_id=node_id, version=version)
        try:
            await self._stub.RemoveNode(request, timeout=_TIMEOUT, idempotent=True)
        except NotFound:
            pass
        except Aborted as error:
            raise _translated(error) from None


def _translated(error: Brain2Error) -> Exception:
    if error.reason in ("VERSION_MISMATCH", "NOT_DELETED"):
        return Superseded(error.message)
    return error
