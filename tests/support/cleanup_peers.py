"""The other three services as cleanup sees them: small ones in memory, on a real gRPC port.

They keep the promises of their .proto as far as cleanup relies on them; the end-to-end tests use the real ones.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.config import ServerConfig
from shared.errors import Aborted, Brain2Error, FailedPrecondition, NotFound
from shared.grpc.server import GrpcServer


@dataclass
class FakePeers:
    """notes by (user, id), edges by user; `trouble` may raise for the name of an RPC."""

    notes: dict[tuple[str, str], node_pb2.Node] = field(default_factory=dict)
    fenced: set[tuple[str, str]] = field(default_factory=set)
    cascades: dict[tuple[str, str], int] = field(default_factory=dict)
    edges: dict[str, dict[tuple[str, str, str], graph_pb2.Edge]] = field(default_factory=dict)
    indexed: set[tuple[str, str]] = field(default_factory=set)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    trouble: Callable[[str], Brain2Error | None] = lambda _: None
    calls: list[str] = field(default_factory=list)
    detach_at_once: int = 3
    target: str = ""

    def add(self, user: str, *node_ids: str, content: str = "some text") -> None:
        for number, node_id in enumerate(node_ids):
            note = node_pb2.Node(user_id=user, node_id=node_id, title=f"Note {node_id}", content=content, version=1)
            note.tags.append("tag")
            note.etag = '"1"'
            note.content_bytes = len(content)
            note.create_time.FromMilliseconds(1_700_000_000_000 + number)
            note.update_time.CopyFrom(note.create_time)
            self.notes[user, node_id] = note
            self.indexed.add((user, node_id))

    def link(self, user: str, a: str, b: str) -> graph_pb2.Edge:
        low, high = sorted((a, b))
        edge = graph_pb2.Edge(user_id=user, source_id=low, target_id=high, type="related", weight=0.5, version=1)
        self.edges.setdefault(user, {})[low, high, "related"] = edge
        return edge

    def delete(
        self, user: str, node_id: str, *, now_ms: int, purge_ms: int, cascade: int = node_pb2.CASCADE_EDGES
    ) -> node_pb2.Node:
        note = self.notes[user, node_id]
        note.version += 1
        note.etag = f'"{note.version}"'
        note.delete_time.FromMilliseconds(now_ms)
        note.purge_time.FromMilliseconds(purge_ms)
        self.cascades[user, node_id] = cascade
        return note

    def restore(self, user: str, node_id: str) -> None:
        note = self.notes[user, node_id]
        assert (user, node_id) not in self.fenced
        note.version += 1
        note.ClearField("delete_time")
        note.ClearField("purge_time")

    def edges_at(self, user: str, node_id: str) -> list[tuple[str, str, str]]:
        return sorted(key for key in self.edges.get(user, {}) if node_id in key[:2])

    def enter(self, name: str) -> None:
        self.calls.append(name)
        if error := self.trouble(name):
            raise error

    def note(self, request: Any) -> node_pb2.Node:
        found = self.notes.get((request.user_id, request.node_id))
        if found is None:
            raise NotFound("no such note")
        return found


class FakeNodeServicer:
    def __init__(self, peers: FakePeers) -> None:
        self.p = peers

    async def GetNode(self, request: Any, context: Any) -> node_pb2.GetNodeResponse:
        self.p.enter("GetNode")
        note = self.p.note(request)
        if note.HasField("delete_time") and not request.show_deleted:
            raise NotFound("deleted")
        return node_pb2.GetNodeResponse(node=note)

    async def BatchGetNodes(self, request: Any, context: Any) -> node_pb2.BatchGetNodesResponse:
        self.p.enter("BatchGetNodes")
        answer = node_pb2.BatchGetNodesResponse()
        for node_id in request.node_ids:
            note = self.p.notes.get((request.user_id, node_id))
            if note is None or (note.HasField("delete_time") and not request.show_deleted):
                answer.missing_ids.append(node_id)
            else:
                answer.nodes.append(note)
        return answer

    async def ListNodes(self, request: Any, context: Any) -> node_pb2.ListNodesResponse:
        self.p.enter("ListNodes")
        live = sorted(
            node_id
            for (user, node_id), note in self.p.notes.items()
            if user == request.user_id and not note.HasField("delete_time") and node_id > request.page_token
        )
        page = live[:2]
        answer = node_pb2.ListNodesResponse(next_page_token=page[-1] if len(live) > 2 else "")
        for node_id in page:
            shown = answer.nodes.add()
            shown.CopyFrom(self.p.notes[request.user_id, node_id])
            shown.content = ""
        return answer

    async def DeleteNode(self, request: Any, context: Any) -> node_pb2.DeleteNodeResponse:
        self.p.enter("DeleteNode")
        note = self.p.note(request)
        if not note.HasField("delete_time"):
            if request.etag and request.etag != note.etag:
                raise Aborted("changed", reason="ETAG_MISMATCH")
            self.p.delete(request.user_id, request.node_id, now_ms=_NOW, purge_ms=_NOW + 86_400_000)
        return node_pb2.DeleteNodeResponse(node_id=note.node_id, version=note.version)

    async def PurgeNode(self, request: Any, context: Any) -> node_pb2.PurgeNodeResponse:
        self.p.enter("PurgeNode fence" if request.fence else "PurgeNode")
        key = (request.user_id, request.node_id)
        note = self.p.notes.get(key)
        if note is None:
            return node_pb2.PurgeNodeResponse(already_purged=True)
        if note.version != request.version:
            raise Aborted("another version", reason="VERSION_MISMATCH")
        if not note.HasField("delete_time"):
            raise FailedPrecondition("live", reason="NOT_DELETED")
        if request.fence:
            self.p.fenced.add(key)
            return node_pb2.PurgeNodeResponse(node=note, cascade=self.p.cascades.get(key, 0))  # type: ignore[arg-type]
        if key not in self.p.fenced:
            raise FailedPrecondition("not fenced", reason="NOT_FENCED")
        del self.p.notes[key]
        return node_pb2.PurgeNodeResponse()

    async def GetUserSettings(self, request: Any, context: Any) -> node_pb2.GetUserSettingsResponse:
        answer = node_pb2.GetUserSettingsResponse()
        answer.settings.retention.FromSeconds(60)
        return answer


class FakeGraphServicer:
    def __init__(self, peers: FakePeers) -> None:
        self.p = peers

    async def SetNodeVisibility(self, request: Any, context: Any) -> graph_pb2.SetNodeVisibilityResponse:
        self.p.enter("graph.SetNodeVisibility")
        self.p.hidden.add((request.user_id, request.node_id))
        return graph_pb2.SetNodeVisibilityResponse(applied=True)

    async def ListEdges(self, request: Any, context: Any) -> AsyncIterator[graph_pb2.ListEdgesResponse]:
        self.p.enter("ListEdges")
        edges = list(self.p.edges.get(request.user_id, {}).values())
        if request.node_id:
            edges = [edge for edge in edges if request.node_id in (edge.source_id, edge.target_id)]
        if not request.show_hidden:
            gone = {key[1] for key, note in self.p.notes.items() if note.HasField("delete_time")}
            edges = [edge for edge in edges if not gone & {edge.source_id, edge.target_id}]
        for start in range(0, len(edges), 2):
            yield graph_pb2.ListEdgesResponse(edges=edges[start : start + 2])

    async def DetachNode(self, request: Any, context: Any) -> graph_pb2.DetachNodeResponse:
        self.p.enter("DetachNode")
        keys = self.p.edges_at(request.user_id, request.node_id)
        some = keys[: self.p.detach_at_once]
        removed = [self.p.edges[request.user_id].pop(key) for key in some]
        return graph_pb2.DetachNodeResponse(removed=len(removed), done=len(some) == len(keys), edges=removed)


class FakeSimilarityServicer:
    def __init__(self, peers: FakePeers) -> None:
        self.p = peers

    async def SetNodeVisibility(self, request: Any, context: Any) -> similarity_pb2.SetNodeVisibilityResponse:
        self.p.enter("similarity.SetNodeVisibility")
        return similarity_pb2.SetNodeVisibilityResponse(applied=True)

    async def ExtractKeywords(self, request: Any, context: Any) -> similarity_pb2.ExtractKeywordsResponse:
        self.p.enter("ExtractKeywords")
        return similarity_pb2.ExtractKeywordsResponse(keywords=[{"keyword": "text", "weight": 1.0}])

    async def RemoveNode(self, request: Any, context: Any) -> similarity_pb2.RemoveNodeResponse:
        self.p.enter("RemoveNode")
        self.p.indexed.discard((request.user_id, request.node_id))
        return similarity_pb2.RemoveNodeResponse(removed=True)

    async def GetUserSettings(self, request: Any, context: Any) -> similarity_pb2.GetUserSettingsResponse:
        answer = similarity_pb2.GetUserSettingsResponse()
        answer.settings.language = "german"
        return answer


_NOW = 1_750_000_000_000


class _Refusing:
    """A servicer whose other methods answer UNIMPLEMENTED, as those of no fake are."""

    def __init__(self, servicer: object) -> None:
        self._servicer = servicer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._servicer, name, None)
        if found is not None or not name[0].isupper():
            return found

        async def missing(request: Any, context: Any) -> Any:
            raise NotImplementedError(name)

        return missing


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextlib.asynccontextmanager
async def fake_peers() -> AsyncIterator[FakePeers]:
    """All three on one port of this machine."""
    peers = FakePeers()
    server = GrpcServer(
        ServerConfig(listen="127.0.0.1:0"),
        [
            (node_pb2.DESCRIPTOR.services_by_name["NodeService"], _Refusing(FakeNodeServicer(peers))),
            (graph_pb2.DESCRIPTOR.services_by_name["GraphService"], _Refusing(FakeGraphServicer(peers))),
            (similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"], _Refusing(FakeSimilarityServicer(peers))),
        ],
    )
    port = await server.start()
    peers.target = f"127.0.0.1:{port}"
    try:
        yield peers
    finally:
        await server.stop(0)
