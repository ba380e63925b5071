"""The four services as one user sees them, by the stubs of the .proto files: what the Python client leaves out, too."""

from collections.abc import Mapping
from typing import Any

from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import NotFound
from shared.grpc.client import Channels


class Client:
    """Stubs of the services, and the questions that most tests ask."""

    def __init__(self, channels: Channels, services: Mapping[str, str], user: str) -> None:
        self.user = user
        self.node: Any = channels.stub(services["node"], node_pb2.DESCRIPTOR.services_by_name["NodeService"])
        self.graph: Any = channels.stub(services["graph"], graph_pb2.DESCRIPTOR.services_by_name["GraphService"])
        self.similarity: Any = channels.stub(
            services["similarity"], similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"]
        )
        self.cleanup: Any = channels.stub(
            services["cleanup"], cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"]
        )

    async def neighbors(self, node_id: str, *, limit: int = 200, token: str = "") -> graph_pb2.GetNeighborsResponse:
        """The first neighbours of a note, heaviest first, with titles."""
        answer: graph_pb2.GetNeighborsResponse = await self.graph.GetNeighbors(
            graph_pb2.GetNeighborsRequest(
                user_id=self.user, node_id=node_id, page_size=limit, with_titles=True, consistency_token=token
            )
        )
        return answer

    async def neighbor_ids(self, node_id: str) -> set[str]:
        return {neighbor.node_id for neighbor in (await self.neighbors(node_id)).neighbors}

    async def is_there(self, node_id: str, *, show_deleted: bool = False) -> bool:
        """Whether the node service shows the note."""
        request = node_pb2.GetNodeRequest(
            user_id=self.user, node_id=node_id, view=node_pb2.NODE_VIEW_TITLE, show_deleted=show_deleted
        )
        try:
            await self.node.GetNode(request)
        except NotFound:
            return False
        return True

    async def search(self, query: str, *, limit: int = 20) -> similarity_pb2.SearchNodesResponse:
        answer: similarity_pb2.SearchNodesResponse = await self.similarity.SearchNodes(
            similarity_pb2.SearchNodesRequest(user_id=self.user, query=query, page_size=limit)
        )
        return answer

    async def edge(self, one: str, other: str, type_: str = "") -> graph_pb2.Edge:
        answer = await self.graph.GetEdge(
            graph_pb2.GetEdgeRequest(user_id=self.user, source_id=one, target_id=other, type=type_)
        )
        edge: graph_pb2.Edge = answer.edge
        return edge

    async def links(self, ids: list[str]) -> dict[tuple[str, str], float]:
        """The edges at these notes: (smaller id, larger id) -> weight."""
        found: dict[tuple[str, str], float] = {}
        for start in range(0, len(ids), 500):
            answer = await self.graph.BatchGetNeighbors(
                graph_pb2.BatchGetNeighborsRequest(user_id=self.user, node_ids=ids[start : start + 500], limit=100)
            )
            for result in answer.results:
                for neighbor in result.neighbors:
                    ends = sorted((result.node_id, neighbor.node_id))
                    found[ends[0], ends[1]] = neighbor.weight
        return found
