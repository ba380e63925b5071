"""ports.reconcile_user.PeerRepairs: calls of the other services that look again or repair."""

from collections.abc import Mapping, Sequence

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.cleanup_service.adapters.peers import GraphPeer, Peers, SimilarityPeer
from services.cleanup_service.model.findings import EdgeSide
from services.cleanup_service.ports.reconcile_user import Edges
from shared.errors import Aborted, FailedPrecondition, NotFound

_TIMEOUT = 10.0
_IDS_AT_ONCE = 1000
# The most neighbours that BatchGetNeighbors returns of a note; longer lists are read in pages.
_MAX_NEIGHBORS = 100
_PAGE = 1000


class GrpcPeerRepairs:
    """Reads and repairs through the public APIs only."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._graph = GraphPeer(peers)
        self._similarity = SimilarityPeer(peers)

    async def existing(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        return await self._nodes(user_id, node_ids, deleted=True)

    async def live(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        return await self._nodes(user_id, node_ids, deleted=False)

    async def _nodes(self, user_id: str, node_ids: Sequence[str], *, deleted: bool) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(node_ids), _IDS_AT_ONCE):
            request = node_pb2.BatchGetNodesRequest(
                user_id=user_id,
                node_ids=node_ids[start : start + _IDS_AT_ONCE],
                view=node_pb2.NODE_VIEW_TITLE,
                show_deleted=deleted,
            )
            answer = await self._peers.node.BatchGetNodes(request, timeout=_TIMEOUT)
            found |= {node.node_id for node in answer.nodes}
        return found

    async def neighbors(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Edges]:
        request = graph_pb2.BatchGetNeighborsRequest(user_id=user_id, node_ids=node_ids, limit=_MAX_NEIGHBORS)
        answer = await self._peers.graph.BatchGetNeighbors(request, timeout=_TIMEOUT)
        found: dict[str, Edges] = {}
        for result in answer.results:
            if result.total_degree > len(result.neighbors):
                found[result.node_id] = await self._all_neighbors(user_id, result.node_id)
            else:
                found[result.node_id] = {(one.node_id, one.type): one.weight for one in result.neighbors}
        return found

    async def _all_neighbors(self, user_id: str, node_id: str) -> Edges:
        found: dict[tuple[str, str], float] = {}
        token = ""
        while True:
            request = graph_pb2.GetNeighborsRequest(user_id=user_id, node_id=node_id, page_size=_PAGE, page_token=token)
            answer = await self._peers.graph.GetNeighbors(request, timeout=_TIMEOUT)
            found.update({(one.node_id, one.type): one.weight for one in answer.neighbors})
            token = answer.next_page_token
            if not token:
                return found

    async def detach_missing(self, user_id: str, node_id: str) -> None:
        # Version 0 means no fence: there is no note that could be restored.
        request = graph_pb2.DetachNodeRequest(user_id=user_id, node_id=node_id)
        while not (await self._peers.graph.DetachNode(request, timeout=_TIMEOUT, idempotent=True)).done:
            pass

    async def refresh_edge(self, user_id: str, side: EdgeSide, *, exists: bool) -> None:
        if not exists:
            # Deleting a missing edge makes the graph read both lists again.
            request = graph_pb2.DeleteEdgeRequest(
                user_id=user_id, source_id=side.node_id, target_id=side.other, type=side.type
            )
            await self._peers.graph.DeleteEdge(request, timeout=_TIMEOUT, idempotent=True)
            return
        key = {"user_id": user_id, "source_id": side.node_id, "target_id": side.other, "type": side.type}
        try:
            edge = (await self._peers.graph.GetEdge(graph_pb2.GetEdgeRequest(**key), timeout=_TIMEOUT)).edge
        except NotFound:
            return  # hidden, or removed since
        again = graph_pb2.NewEdge(
            source_id=edge.source_id,
            target_id=edge.target_id,
            type=edge.type,
            directed=edge.directed,
            weight=edge.weight,
            metadata=edge.metadata,
        )
        try:
            # Creating an existing edge changes nothing, and makes the graph read both lists again.
            await self._peers.graph.CreateEdge(
                graph_pb2.CreateEdgeRequest(user_id=user_id, edge=again), timeout=_TIMEOUT, idempotent=True
            )
        except FailedPrecondition:
            pass  # an end was deleted since, so the edge isn't shown

    async def remove_from_index(self, user_id: str, node_id: str, version: int) -> None:
        request = similarity_pb2.RemoveNodeRequest(user_id=user_id, node_id=node_id, version=version)
        try:
            await self._peers.similarity.RemoveNode(request, timeout=_TIMEOUT, idempotent=True)
        except NotFound:
            pass

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        for service in (self._graph, self._similarity):
            try:
                await service.set_visibility(user_id, node_id, version, visible=visible)
            except Aborted:
                pass  # the service has a newer version of the note

    async def reindex(self, user_id: str) -> None:
        async for _ in self._peers.similarity.ReindexUser(similarity_pb2.ReindexUserRequest(user_id=user_id)):
            pass
