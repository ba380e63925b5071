"""The node and graph services as similarity sees them: small ones in memory, on a real gRPC port.

They keep the promises of their .proto as far as similarity relies on them; the end-to-end tests use the real ones.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from services.similarity_service.model.links import RENEWED
from shared import revisions
from shared.config import ServerConfig
from shared.errors import Aborted, Brain2Error, NotFound
from shared.grpc.server import GrpcServer

Pair = tuple[str, str]
FAILED_PRECONDITION = 9


@dataclass
class FakePeers:
    """notes by user and id, edges by user and (smaller id, larger id); `trouble` may raise for the name of an RPC."""

    notes: dict[str, dict[str, node_pb2.Node]] = field(default_factory=dict)
    edges: dict[str, dict[Pair, graph_pb2.Edge]] = field(default_factory=dict)
    # Edges for wiki links, in the same way.
    text_edges: dict[str, dict[Pair, graph_pb2.Edge]] = field(default_factory=dict)
    suppressed: dict[str, set[Pair]] = field(default_factory=dict)
    # Notes whose edges graph hides.
    hidden: set[str] = field(default_factory=set)
    trouble: Callable[[str], Brain2Error | None] = lambda _: None
    calls: list[str] = field(default_factory=list)
    # What GetNode answers by user and id; other notes are purged to it.
    known: dict[tuple[str, str], node_pb2.Node] = field(default_factory=dict)
    # Called after each change of edges.
    on_change: Callable[[str], None] = lambda _: None
    # Called after each change of a note through UpdateNode.
    updated: Callable[[str, node_pb2.Node], None] = lambda _user, _note: None
    target: str = ""

    def has(
        self, user_id: str, node_id: str, version: int, *, hidden: bool, incarnation: int = 1_700_000_000_000
    ) -> None:
        """GetNode answers from now on that the note is at this version."""
        node = node_pb2.Node(node_id=node_id, version=version, incarnation=incarnation)
        if hidden:
            node.delete_time.GetCurrentTime()
        self.known[user_id, node_id] = node

    def note(self, user: str, node_id: str, title: str, content: str = "", *tags: str) -> node_pb2.Node:
        """A note as if it had been created, or written again."""
        known = self.notes.setdefault(user, {}).get(node_id)
        found = node_pb2.Node(
            user_id=user,
            node_id=node_id,
            title=title,
            content=content,
            tags=tags,
            version=known.version + 1 if known else 1,
            incarnation=known.incarnation if known else 1_700_000_000_000,
            etag=f'"{known.version + 1 if known else 1}"',
        )
        self.notes[user][node_id] = found
        return found

    def pairs(self, user: str, *, automatic: bool | None = None) -> set[Pair]:
        return {
            pair
            for pair, edge in self.edges.get(user, {}).items()
            if automatic is None or edge.metadata.auto_generated == automatic
        }

    def arrows(self, user: str) -> set[str]:
        """The edges for wiki links: a>b, or a-b without direction."""
        edges = self.text_edges.get(user, {}).values()
        return {f"{edge.source_id}{'>' if edge.directed else '-'}{edge.target_id}" for edge in edges}

    def edge(self, user: str, a: str, b: str) -> graph_pb2.Edge:
        return self.edges[user][pair_of(a, b)]

    def enter(self, name: str) -> None:
        self.calls.append(name)
        if error := self.trouble(name):
            raise error

    def neighbours(self, user: str, node_id: str) -> list[graph_pb2.Neighbor]:
        found: list[graph_pb2.Neighbor] = []
        if node_id in self.hidden:
            return found
        for (a, b), edge in sorted(self.edges.get(user, {}).items()):
            if node_id in (a, b):
                found.append(
                    graph_pb2.Neighbor(
                        node_id=b if node_id == a else a,
                        weight=edge.weight,
                        type="related",
                        auto_generated=edge.metadata.auto_generated,
                    )
                )
        for (a, b), edge in sorted(self.text_edges.get(user, {}).items()):
            if node_id in (a, b):
                at_source = graph_pb2.DIRECTION_OUT if edge.source_id == node_id else graph_pb2.DIRECTION_IN
                direction = at_source if edge.directed else graph_pb2.DIRECTION_BOTH
                other = b if node_id == a else a
                found.append(graph_pb2.Neighbor(node_id=other, weight=1, type="links_to", direction=direction))
        return found


def pair_of(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)


@dataclass
class _Nodes:
    peers: FakePeers

    async def GetNode(self, request: Any, context: Any) -> node_pb2.GetNodeResponse:
        self.peers.enter("GetNode")
        found = self.peers.known.get((request.user_id, request.node_id))
        if found is None:
            raise NotFound("no such note")
        return node_pb2.GetNodeResponse(node=found)

    async def BatchGetNodes(self, request: Any, context: Any) -> node_pb2.BatchGetNodesResponse:
        self.peers.enter("BatchGetNodes")
        known = self.peers.notes.get(request.user_id, {})
        return node_pb2.BatchGetNodesResponse(
            nodes=[known[each] for each in request.node_ids if each in known],
            missing_ids=[each for each in request.node_ids if each not in known],
        )

    async def UpdateNode(self, request: Any, context: Any) -> node_pb2.UpdateNodeResponse:
        self.peers.enter("UpdateNode")
        note = self.peers.notes.get(request.user_id, {}).get(request.node_id)
        if note is None:
            raise NotFound("there is no such note", reason="NODE_NOT_FOUND")
        if request.etag and request.etag != note.etag:
            raise Aborted("somebody else changed the note", reason="ETAG_MISMATCH")
        for path in request.update_mask.paths:
            note.ClearField(path)
        changed = node_pb2.Node(title=request.node.title, content=request.node.content, aliases=request.node.aliases)
        note.MergeFrom(changed)
        note.version += 1
        note.etag = f'"{note.version}"'
        self.peers.updated(request.user_id, note)
        token = revisions.encode({note.node_id: (note.incarnation, note.version)})
        return node_pb2.UpdateNodeResponse(node=note, consistency_token=token)

    async def ListNodes(self, request: Any, context: Any) -> node_pb2.ListNodesResponse:
        self.peers.enter("ListNodes")
        ids = sorted(self.peers.notes.get(request.user_id, {}))
        start = int(request.page_token or 0)
        shown = ids[start : start + request.page_size]
        end = start + len(shown)
        return node_pb2.ListNodesResponse(
            nodes=[node_pb2.Node(node_id=each) for each in shown], next_page_token=str(end) if end < len(ids) else ""
        )

    def __getattr__(self, name: str) -> Any:
        return _unexpected(name)


@dataclass
class _Graph:
    peers: FakePeers

    async def BatchCreateEdges(self, request: Any, context: Any) -> graph_pb2.BatchCreateEdgesResponse:
        self.peers.enter("BatchCreateEdges")
        edges = self.peers.edges.setdefault(request.user_id, {})
        results = []
        for new in request.edges:
            pair = pair_of(new.source_id, new.target_id)
            texts = self.peers.text_edges.setdefault(request.user_id, {})
            if new.type == "links_to":
                assert new.metadata.labels["source"] == "text"
                texts[pair] = graph_pb2.Edge(
                    source_id=new.source_id,
                    target_id=new.target_id,
                    type=new.type,
                    directed=new.directed,
                    metadata=new.metadata,
                )
                edges.pop(pair, None)
                results.append(graph_pb2.CreateEdgeResult(edge=texts[pair], created=True))
                continue
            if pair in texts:
                results.append(graph_pb2.CreateEdgeResult(code=FAILED_PRECONDITION, reason="ALREADY_LINKED"))
                continue
            if pair in self.peers.suppressed.get(request.user_id, set()):
                results.append(graph_pb2.CreateEdgeResult(code=FAILED_PRECONDITION, reason="EDGE_SUPPRESSED"))
                continue
            created = pair not in edges
            old = edges.get(pair)
            if old is None or (
                old.metadata.auto_generated
                and not old.metadata.confirmed
                and abs(old.metadata.score - new.metadata.score) >= RENEWED
            ):
                edges[pair] = graph_pb2.Edge(
                    user_id=request.user_id,
                    source_id=pair[0],
                    target_id=pair[1],
                    type=new.type,
                    weight=new.weight,
                    metadata=new.metadata,
                )
            results.append(graph_pb2.CreateEdgeResult(edge=edges[pair], created=created))
        self.peers.on_change("BatchCreateEdges")
        return graph_pb2.BatchCreateEdgesResponse(results=results)

    async def DeleteEdge(self, request: Any, context: Any) -> graph_pb2.DeleteEdgeResponse:
        self.peers.enter("DeleteEdge")
        edges = self.peers.edges.setdefault(request.user_id, {})
        pair = pair_of(request.source_id, request.target_id)
        if request.type == "links_to":
            assert request.only_if_from_text
            found = self.peers.text_edges.get(request.user_id, {}).pop(pair, None)
            return graph_pb2.DeleteEdgeResponse(deleted=found is not None)
        edge = edges.get(pair)
        if edge is None:
            return graph_pb2.DeleteEdgeResponse()
        if request.only_if_automatic and (not edge.metadata.auto_generated or edge.metadata.confirmed):
            return graph_pb2.DeleteEdgeResponse()
        del edges[pair]
        return graph_pb2.DeleteEdgeResponse(deleted=True)

    async def BatchGetNeighbors(self, request: Any, context: Any) -> graph_pb2.BatchGetNeighborsResponse:
        self.peers.enter("BatchGetNeighbors")
        results = []
        for node_id in request.node_ids:
            found = self.peers.neighbours(request.user_id, node_id)
            results.append(
                graph_pb2.NodeNeighbors(
                    node_id=node_id, neighbors=found[: request.limit or 10], total_degree=len(found)
                )
            )
        return graph_pb2.BatchGetNeighborsResponse(results=results)

    async def GetNeighbors(self, request: Any, context: Any) -> graph_pb2.GetNeighborsResponse:
        self.peers.enter("GetNeighbors")
        every = self.peers.neighbours(request.user_id, request.node_id)
        found = [each for each in every if not request.types or each.type in request.types]
        start = int(request.page_token or 0)
        end = start + request.page_size
        return graph_pb2.GetNeighborsResponse(
            neighbors=found[start:end],
            total_degree=len(found),
            next_page_token=str(end) if end < len(found) else "",
        )

    async def SetNodeVisibility(self, request: Any, context: Any) -> graph_pb2.SetNodeVisibilityResponse:
        self.peers.enter("SetNodeVisibility")
        assert (request.visible, bool(request.version), bool(request.incarnation)) == (True, True, True)
        self.peers.hidden.discard(request.node_id)
        return graph_pb2.SetNodeVisibilityResponse(applied=True)

    async def ListSuppressedEdges(self, request: Any, context: Any) -> graph_pb2.ListSuppressedEdgesResponse:
        self.peers.enter("ListSuppressedEdges")
        pairs = self.peers.suppressed.get(request.user_id, set())
        ends = {end for pair in pairs if request.node_id in pair for end in pair if end != request.node_id}
        return graph_pb2.ListSuppressedEdgesResponse(node_ids=sorted(ends))

    def __getattr__(self, name: str) -> Any:
        return _unexpected(name)


def _unexpected(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)

    async def method(request: Any, context: Any) -> Any:
        raise AssertionError(f"similarity isn't expected to call {name}")

    return method


@contextlib.asynccontextmanager
async def fake_peers() -> AsyncIterator[FakePeers]:
    """Peers that listen on a free loopback port."""
    peers = FakePeers()
    services = [
        (node_pb2.DESCRIPTOR.services_by_name["NodeService"], _Nodes(peers)),
        (graph_pb2.DESCRIPTOR.services_by_name["GraphService"], _Graph(peers)),
    ]
    server = GrpcServer(ServerConfig(listen="127.0.0.1:0"), services)
    port = await server.start()
    peers.target = f"127.0.0.1:{port}"
    try:
        yield peers
    finally:
        await server.stop(0)
