"""The graph service in this process, on a real port and real stores, and a client of it."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from protos.graph.v1 import graph_pb2
from services.graph_service import app
from services.graph_service.config import GraphConfig
from shared import config as configuration
from shared.grpc.client import Channels
from shared.lifecycle import Lifecycle
from tests.support.graph_nodes import FakeNodes
from tests.support.stores import Stores


@dataclass
class GraphService:
    """A running service. stub: its RPCs; life: its life cycle; config: what it was started with; nodes: its owner of
    the notes.
    """

    stub: Any
    life: Lifecycle
    config: GraphConfig
    target: str
    nodes: FakeNodes

    async def create(self, user_id: str, a: str, b: str, **fields: Any) -> graph_pb2.CreateEdgeResponse:
        """An edge; request_id goes into the request, auto=True makes it automatic."""
        request_id = fields.pop("request_id", "")
        if fields.pop("auto", False):
            fields["metadata"] = graph_pb2.EdgeMetadata(auto_generated=True, score=0.5, method="lexical/1")
        new = graph_pb2.NewEdge(source_id=a, target_id=b, **fields)
        response: graph_pb2.CreateEdgeResponse = await self.stub.CreateEdge(
            graph_pb2.CreateEdgeRequest(user_id=user_id, edge=new, request_id=request_id)
        )
        return response

    async def batch(self, user_id: str, edges: Sequence[graph_pb2.NewEdge], **fields: Any) -> Any:
        return await self.stub.BatchCreateEdges(
            graph_pb2.BatchCreateEdgesRequest(user_id=user_id, edges=edges, **fields)
        )

    async def get(self, user_id: str, a: str, b: str, **fields: Any) -> graph_pb2.Edge:
        request = graph_pb2.GetEdgeRequest(user_id=user_id, source_id=a, target_id=b, **fields)
        edge: graph_pb2.Edge = (await self.stub.GetEdge(request)).edge
        return edge

    async def delete(self, user_id: str, a: str, b: str, **fields: Any) -> graph_pb2.DeleteEdgeResponse:
        request = graph_pb2.DeleteEdgeRequest(user_id=user_id, source_id=a, target_id=b, **fields)
        response: graph_pb2.DeleteEdgeResponse = await self.stub.DeleteEdge(request)
        return response

    async def page(self, user_id: str, node_id: str, **fields: Any) -> graph_pb2.GetNeighborsResponse:
        request = graph_pb2.GetNeighborsRequest(user_id=user_id, node_id=node_id, **fields)
        response: graph_pb2.GetNeighborsResponse = await self.stub.GetNeighbors(request)
        return response

    async def neighbors(self, user_id: str, node_id: str, **fields: Any) -> list[str]:
        return [neighbor.node_id for neighbor in (await self.page(user_id, node_id, **fields)).neighbors]

    async def hide(self, user_id: str, node_id: str, version: int) -> bool:
        """As after a deletion: the owner of the note has this version, unless it has a later one."""
        return await self._visible(user_id, node_id, version, False)

    async def show(self, user_id: str, node_id: str, version: int) -> bool:
        return await self._visible(user_id, node_id, version, True)

    async def _visible(self, user_id: str, node_id: str, version: int, visible: bool) -> bool:
        known = self.nodes.known.get((user_id, node_id))
        if known is None or known.version < version:
            self.nodes.has(user_id, node_id, version, hidden=not visible)
        return await self.claim(user_id, node_id, version, visible)

    async def announce(
        self, user_id: str, node_id: str, version: int, announcement_id: str, *, withdraw: bool = False
    ) -> bool:
        """A deletion that the owner of the note still writes, or one that was not written."""
        request = graph_pb2.AnnounceNodeVisibilityRequest(
            user_id=user_id,
            node_id=node_id,
            version=version,
            incarnation=1,
            announcement_id=announcement_id,
            withdraw=withdraw,
        )
        return bool((await self.stub.AnnounceNodeVisibility(request)).announced)

    async def claim(self, user_id: str, node_id: str, version: int, visible: bool, incarnation: int = 0) -> bool:
        """The RPC alone, whatever the owner knows."""
        request = graph_pb2.SetNodeVisibilityRequest(
            user_id=user_id, node_id=node_id, version=version, visible=visible, incarnation=incarnation
        )
        return bool((await self.stub.SetNodeVisibility(request)).applied)


@contextlib.asynccontextmanager
async def running(stores: Stores, nodes: FakeNodes, **env: str) -> AsyncIterator[GraphService]:
    """Started as in production, but it reads no queue. env: variables that differ."""
    environment = stores.environment("graph") | {
        "BRAIN2_LISTEN": "127.0.0.1:0",
        "BRAIN2_DRAIN_SECONDS": "1",
        "BRAIN2_NODE_TARGET": nodes.target,
        "BRAIN2_QUEUE_URL": "",
    }
    config = configuration.load(GraphConfig, environment | env)
    life = Lifecycle()
    try:
        port = await app.start(life, config)
        target = f"127.0.0.1:{port}"
        async with Channels() as channels:
            stub = channels.stub(target, graph_pb2.DESCRIPTOR.services_by_name["GraphService"])
            yield GraphService(stub, life, config, target, nodes)
    finally:
        await life.close()
    if life.failure is not None:
        raise life.failure
