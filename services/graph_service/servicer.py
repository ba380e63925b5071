"""GraphService as gRPC sees it: message -> use case -> message. No rules, no try."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from protos.graph.v1 import graph_pb2
from services.graph_service import convert
from services.graph_service.model import token as tokens
from services.graph_service.model.edge import edge_key
from services.graph_service.usecases.batch import Batch
from services.graph_service.usecases.links import Links, Patch
from services.graph_service.usecases.neighbors import Neighbors
from services.graph_service.usecases.visibility import Visibility
from services.graph_service.usecases.walks import Bounds, Walks
from services.graph_service.usecases.watch import Watch
from services.graph_service.usecases.whole import Whole
from shared.pages import page_size

# Edges of one message of a stream: some 100 KB at most with full metadata.
_BATCH = 200
_DECODED = 4096


@dataclass(frozen=True, slots=True)
class GraphServicer:
    """One method an RPC; what each promises is said in protos/graph/v1/graph.proto."""

    links: Links
    batch: Batch
    neighbors: Neighbors
    walks: Walks
    whole: Whole
    watch: Watch
    visibility: Visibility
    # What requests ask is a pure function of their bytes; popular ones come again and again.
    _decoded: dict[bytes, convert.Asked] = field(default_factory=dict, init=False, repr=False)

    # ------------------------------------------------------------------ edges
    async def CreateEdge(self, request: graph_pb2.CreateEdgeRequest, context: Any) -> graph_pb2.CreateEdgeResponse:
        edge, created, token = await self.links.create(
            request.user_id, convert.new_edge(request.edge), convert.once("CreateEdge", request)
        )
        return graph_pb2.CreateEdgeResponse(
            edge=convert.edge_message(edge), created=created, consistency_token=token.encode()
        )

    async def BatchCreateEdges(
        self, request: graph_pb2.BatchCreateEdgesRequest, context: Any
    ) -> graph_pb2.BatchCreateEdgesResponse:
        results, token = await self.batch.create(
            request.user_id, [convert.new_edge(new) for new in request.edges], convert.once("BatchCreateEdges", request)
        )
        return graph_pb2.BatchCreateEdgesResponse(
            results=[convert.result_message(result) for result in results], consistency_token=token.encode()
        )

    async def GetEdge(self, request: graph_pb2.GetEdgeRequest, context: Any) -> graph_pb2.GetEdgeResponse:
        tokens.decode(request.consistency_token)  # refused when garbled; the read is consistent anyway
        key = edge_key(request.source_id, request.target_id, request.type)
        return graph_pb2.GetEdgeResponse(edge=convert.edge_message(await self.links.get(request.user_id, key)))

    async def UpdateEdge(self, request: graph_pb2.UpdateEdgeRequest, context: Any) -> graph_pb2.UpdateEdgeResponse:
        paths = convert.mask(request.update_mask.paths)
        patch = Patch(
            request.weight if "weight" in paths else None,
            dict(request.metadata.labels) if "metadata.labels" in paths else None,
            request.metadata.confirmed if "metadata.confirmed" in paths else None,
        )
        key = edge_key(request.source_id, request.target_id, request.type)
        edge, token = await self.links.update(
            request.user_id, key, patch, request.etag, convert.once("UpdateEdge", request)
        )
        return graph_pb2.UpdateEdgeResponse(edge=convert.edge_message(edge), consistency_token=token.encode())

    async def DeleteEdge(self, request: graph_pb2.DeleteEdgeRequest, context: Any) -> graph_pb2.DeleteEdgeResponse:
        deleted, token = await self.links.delete(
            request.user_id,
            edge_key(request.source_id, request.target_id, request.type),
            request.etag,
            only_automatic=request.only_if_automatic,
            once=convert.once("DeleteEdge", request),
        )
        return graph_pb2.DeleteEdgeResponse(deleted=deleted, consistency_token=token.encode())

    async def SuppressEdge(
        self, request: graph_pb2.SuppressEdgeRequest, context: Any
    ) -> graph_pb2.SuppressEdgeResponse:
        key = edge_key(request.source_id, request.target_id, request.type)
        removed, token = await self.links.suppress(request.user_id, key, convert.once("SuppressEdge", request))
        return graph_pb2.SuppressEdgeResponse(removed=removed, consistency_token=token.encode())

    # ------------------------------------------------------------------ lists
    async def GetNeighbors(self, request: bytes, context: Any) -> bytes:
        """Registered raw, and asked only when memory hasn't the answer ready: see app.py."""
        asked = self._decoded.get(request)
        if asked is None:
            asked = convert.asked(request)
            if len(self._decoded) >= _DECODED:
                self._decoded.clear()
            self._decoded[request] = asked
        if asked.simple:
            ready = await self.neighbors.head(asked.query, request)
            if ready is not None:
                return ready
        return await self.neighbors.answer(
            asked.query, asked.token, page_token=asked.page_token, titles=asked.titles, keep_as=request
        )

    async def BatchGetNeighbors(self, request: graph_pb2.BatchGetNeighborsRequest, context: Any) -> bytes:
        return await self.neighbors.batch(
            request.user_id,
            request.node_ids,
            page_size("limit", request.limit, default=10, maximum=100),
            request.min_weight,
            tokens.decode(request.consistency_token),
        )

    async def GetSubgraph(self, request: graph_pb2.GetSubgraphRequest, context: Any) -> graph_pb2.GetSubgraphResponse:
        bounds = Bounds(
            page_size("max_hops", request.max_hops, default=2, maximum=3),
            page_size("max_fanout", request.max_fanout, default=25, maximum=200),
            page_size("max_nodes", request.max_nodes, default=250, maximum=2000),
        )
        found = await self.walks.subgraph(
            request.user_id,
            request.node_id,
            bounds,
            min_weight=request.min_weight,
            titles=request.with_titles,
            token=tokens.decode(request.consistency_token),
        )
        return convert.subgraph(found)

    async def FindShortestPath(
        self, request: graph_pb2.FindShortestPathRequest, context: Any
    ) -> graph_pb2.FindShortestPathResponse:
        found = await self.walks.path(
            request.user_id,
            request.source_id,
            request.target_id,
            max_hops=page_size("max_hops", request.max_hops, default=6, maximum=10),
            max_visited=page_size("max_visited", request.max_visited, default=10_000, maximum=50_000),
            token=tokens.decode(request.consistency_token),
        )
        return convert.path(found)

    # ------------------------------------------------------------------ the whole
    async def ListEdges(
        self, request: graph_pb2.ListEdgesRequest, context: Any
    ) -> AsyncIterator[graph_pb2.ListEdgesResponse]:
        batches = self.whole.edges(
            request.user_id, request.node_id, min_weight=request.min_weight, show_hidden=request.show_hidden
        )
        async for batch in batches:
            for start in range(0, len(batch), _BATCH):
                some = batch[start : start + _BATCH]
                yield graph_pb2.ListEdgesResponse(edges=[convert.edge_message(edge) for edge in some])

    async def GetGraphStats(
        self, request: graph_pb2.GetGraphStatsRequest, context: Any
    ) -> graph_pb2.GetGraphStatsResponse:
        top = page_size("top_hubs", request.top_hubs, default=10, maximum=100)
        return convert.stats(await self.whole.stats(request.user_id, top))

    async def WarmCache(self, request: graph_pb2.WarmCacheRequest, context: Any) -> graph_pb2.WarmCacheResponse:
        most = page_size("max_nodes", request.max_nodes, default=10_000, maximum=1_000_000)
        warmed, truncated = await self.whole.warm(request.user_id, request.node_ids, most)
        return graph_pb2.WarmCacheResponse(warmed=warmed, truncated=truncated)

    async def WatchEdges(
        self, request: graph_pb2.WatchEdgesRequest, context: Any
    ) -> AsyncIterator[graph_pb2.WatchEdgesResponse]:
        async for data, resume_token in self.watch.changes(request.user_id, request.resume_token):
            yield convert.feed_entry(data, resume_token)

    # ------------------------------------------------------------------ for the other services
    async def DetachNode(self, request: graph_pb2.DetachNodeRequest, context: Any) -> graph_pb2.DetachNodeResponse:
        removed, done = await self.visibility.detach(
            request.user_id, request.node_id, request.max_edges, request.version
        )
        return graph_pb2.DetachNodeResponse(
            removed=len(removed), done=done, edges=[convert.edge_message(edge) for edge in removed]
        )

    async def SetNodeVisibility(
        self, request: graph_pb2.SetNodeVisibilityRequest, context: Any
    ) -> graph_pb2.SetNodeVisibilityResponse:
        applied = await self.visibility.set(
            request.user_id,
            request.node_id,
            request.version,
            visible=request.visible,
            incarnation=request.incarnation,
        )
        return graph_pb2.SetNodeVisibilityResponse(applied=applied)
