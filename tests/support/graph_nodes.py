"""A node service as small as the graph service needs it, in memory, on a real gRPC port."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from protos.node.v1 import node_pb2
from shared import revisions
from shared.config import ServerConfig
from shared.errors import Brain2Error, NotFound
from shared.grpc.server import GrpcServer


@dataclass
class FakeNodes:
    """titles by (user_id, node_id). anything: all notes exist but those in `gone`. trouble: raised by every call."""

    anything: bool = True
    titles: dict[tuple[str, str], str] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    calls: list[int] = field(default_factory=list)
    trouble: Brain2Error | None = None
    live: int = 0
    # What GetNode answers; notes that are not here are purged to it. cached: what it answers to a caller that has seen
    # nothing newer.
    known: dict[tuple[str, str], node_pb2.Node] = field(default_factory=dict)
    cached: dict[tuple[str, str], node_pb2.Node] = field(default_factory=dict)
    target: str = ""

    def has(self, user_id: str, node_id: str, version: int, *, hidden: bool, incarnation: int = 7) -> None:
        """From now on the note is at this version."""
        node = node_pb2.Node(node_id=node_id, version=version, incarnation=incarnation)
        if hidden:
            node.delete_time.GetCurrentTime()
        self.known[user_id, node_id] = node

    async def BatchGetNodes(self, request: Any, context: Any) -> node_pb2.BatchGetNodesResponse:
        self.calls.append(len(request.node_ids))
        if self.trouble is not None:
            raise self.trouble
        answer = node_pb2.BatchGetNodesResponse()
        for node_id in request.node_ids:
            key = (request.user_id, node_id)
            if key in self.gone or not (self.anything or key in self.titles):
                answer.missing_ids.append(node_id)
            else:
                answer.nodes.add(
                    user_id=request.user_id, node_id=node_id, title=self.titles.get(key, f"Title of {node_id}")
                )
        return answer

    async def GetNode(self, request: Any, context: Any) -> node_pb2.GetNodeResponse:
        found = self.cached.get((request.user_id, request.node_id))
        seen = revisions.decode(request.consistency_token).get(request.node_id, (0, 0))
        if found is None or (found.incarnation, found.version) < seen:
            found = self.known.get((request.user_id, request.node_id))
        if found is None:
            raise NotFound("no such note")
        return node_pb2.GetNodeResponse(node=found)

    async def ListNodes(self, request: Any, context: Any) -> node_pb2.ListNodesResponse:
        if self.trouble is not None:
            raise self.trouble
        start = int(request.page_token or 0)
        size = min(request.page_size, self.live - start)
        answer = node_pb2.ListNodesResponse(nodes=[node_pb2.Node(node_id=f"x{start + i}") for i in range(size)])
        if start + size < self.live:
            answer.next_page_token = str(start + size)
        return answer

    def __getattr__(self, name: str) -> Any:
        if name[:1].isupper():

            async def unexpected(request: Any, context: Any) -> Any:
                raise AssertionError(f"graph called {name}")

            return unexpected
        raise AttributeError(name)


@contextlib.asynccontextmanager
async def fake_nodes() -> AsyncIterator[FakeNodes]:
    nodes = FakeNodes()
    descriptor = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
    server = GrpcServer(ServerConfig(listen="127.0.0.1:0"), [(descriptor, nodes)])
    nodes.target = f"127.0.0.1:{await server.start()}"
    try:
        yield nodes
    finally:
        await server.stop(0)
