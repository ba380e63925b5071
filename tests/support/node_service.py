"""The node service in this process, on a real port and real stores, and a client of it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.node.v1 import node_pb2
from services.node_service import app
from services.node_service.config import NodeConfig
from shared import config as configuration
from shared.grpc.client import Channels
from shared.lifecycle import Lifecycle
from tests.support.stores import Stores


@dataclass
class NodeService:
    """A running service. stub: its RPCs; life: its life cycle; config: what it was started with."""

    stub: Any
    life: Lifecycle
    config: NodeConfig
    target: str

    async def create(self, user: str, node_id: str = "n", **fields: Any) -> node_pb2.Node:
        """A note with a title, unless the fields have one."""
        draft = node_pb2.NewNode(node_id=node_id, **({"title": "T"} | fields))
        created = await self.stub.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=draft))
        node: node_pb2.Node = created.node
        return node

    async def get(self, user: str, node_id: str = "n", **fields: Any) -> node_pb2.Node:
        read = await self.stub.GetNode(node_pb2.GetNodeRequest(user_id=user, node_id=node_id, **fields))
        node: node_pb2.Node = read.node
        return node

    async def update(self, user: str, node_id: str = "n", **fields: Any) -> node_pb2.UpdateNodeResponse:
        """Changes the given fields; etag and request_id go into the request."""
        own = {name: fields.pop(name) for name in ("etag", "request_id") if name in fields}
        request = node_pb2.UpdateNodeRequest(user_id=user, node_id=node_id, node=node_pb2.NewNode(**fields), **own)
        response: node_pb2.UpdateNodeResponse = await self.stub.UpdateNode(request)
        return response

    async def delete(self, user: str, node_id: str = "n", **fields: Any) -> node_pb2.DeleteNodeResponse:
        response: node_pb2.DeleteNodeResponse = await self.stub.DeleteNode(
            node_pb2.DeleteNodeRequest(user_id=user, node_id=node_id, **fields)
        )
        return response

    async def restore(self, user: str, node_id: str = "n", **fields: Any) -> node_pb2.RestoreNodeResponse:
        response: node_pb2.RestoreNodeResponse = await self.stub.RestoreNode(
            node_pb2.RestoreNodeRequest(user_id=user, node_id=node_id, **fields)
        )
        return response

    async def listed(self, user: str, **fields: Any) -> list[str]:
        """The ids of all pages."""
        ids: list[str] = []
        token = ""
        while True:
            page = await self.stub.ListNodes(node_pb2.ListNodesRequest(user_id=user, page_token=token, **fields))
            ids += [node.node_id for node in page.nodes]
            token = page.next_page_token
            if not token:
                return ids


@contextlib.asynccontextmanager
async def running(stores: Stores, **env: str) -> AsyncIterator[NodeService]:
    """Started as in production but for the peers, which are away. env: variables that differ."""
    environment = stores.environment("node") | {"BRAIN2_LISTEN": "127.0.0.1:0", "BRAIN2_DRAIN_SECONDS": "1"}
    for peer in ("BRAIN2_GRAPH_TARGET", "BRAIN2_SIMILARITY_TARGET"):
        environment.pop(peer, None)
    config = configuration.load(NodeConfig, environment | env)
    life = Lifecycle()
    try:
        port = await app.start(life, config)
        target = f"127.0.0.1:{port}"
        async with Channels() as channels:
            stub = channels.stub(target, node_pb2.DESCRIPTOR.services_by_name["NodeService"])
            yield NodeService(stub, life, config, target)
    finally:
        await life.close()
    if life.failure is not None:
        raise life.failure
