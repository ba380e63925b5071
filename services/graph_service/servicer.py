"""GraphService as gRPC calls it: message -> use case -> message. It holds no rules and no state."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.graph.v1 import graph_pb2
from services.graph_service import convert
from services.graph_service.model import consistency_token as tokens
from services.graph_service.model.edge import edge_key
from services.graph_service.usecases.announce_node_visibility import AnnounceNodeVisibility
from services.graph_service.usecases.batch_create_edges import BatchCreateEdges
from services.graph_service.usecases.batch_get_neighbors import BatchGetNeighbors
from services.graph_service.usecases.detach_node import DetachNode
from services.graph_service.usecases.edges import EdgePatch, Edges
from services.graph_service.usecases.fast_path import NeighborsFastPath
from services.graph_service.usecases.find_shortest_path import FindShortestPath
from services.graph_service.usecases.get_graph_stats import GetGraphStats
from services.graph_service.usecases.get_subgraph import GetSubgraph, SubgraphBounds
from services.graph_service.usecases.list_edges import ListEdges
from services.graph_service.usecases.list_suppressed_edges import ListSuppressedEdges
from services.graph_service.usecases.set_node_visibility import SetNodeVisibility
from services.graph_service.usecases.warm_cache import WarmCache
from services.graph_service.usecases.watch_edges import WatchEdges
from shared.grpc.field_limits import item_errors
from shared.pages import page_size
from shared.resilience import foreground
from shared.resilience.slices import in_slices

# Edges of one message of a stream: about 100 KB at most, with full metadata.
_EDGES_PER_MESSAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphServicer:
    """One method for each RPC; protos/graph/v1/graph.proto states what it guarantees."""

    edges: Edges
    batch_create_edges: BatchCreateEdges
    fast_path: NeighborsFastPath
    batch_get_neighbors: BatchGetNeighbors
    get_subgraph: GetSubgraph
    find_shortest_path: FindShortestPath
    list_edges: ListEdges
    list_suppressed_edges: ListSuppressedEdges
    get_graph_stats: GetGraphStats
    warm_cache: WarmCache
    watch_edges: WatchEdges
    detach_node: DetachNode
    set_node_visibility: SetNodeVisibility
    announce_node_visibility: AnnounceNodeVisibility

    # ------------------------------------------------------------------ edges
    async def CreateEdge(self, request: graph_pb2.CreateEdgeRequest, context: Any) -> graph_pb2.CreateEdgeResponse:
        edge, created, token = await self.edges.create_edge(
            request.user_id, convert.new_edge(request.edge), convert.idempotent_request("CreateEdge", request)
        )
        return graph_pb2.CreateEdgeResponse(
            edge=convert.edge_message(edge), created=created, consistency_token=token.encode()
        )

    async def BatchCreateEdges(
        self, request: graph_pb2.BatchCreateEdgesRequest, context: Any
    ) -> graph_pb2.BatchCreateEdgesResponse:
        with foreground.stand_back():  # most edges come from imports, and a batch is up to 50 ms of work
            results, token = await self.batch_create_edges.batch_create_edges(
                request.user_id,
                await in_slices(convert.new_edge, request.edges),
                convert.idempotent_request("BatchCreateEdges", request),
                item_errors(request.edges, "edges[{}]"),
            )
            return graph_pb2.BatchCreateEdgesResponse(
                results=await in_slices(convert.result_message, results), consistency_token=token.encode()
            )

    async def GetEdge(self, request: graph_pb2.GetEdgeRequest, context: Any) -> graph_pb2.GetEdgeResponse:
        tokens.decode(request.consistency_token)  # only to refuse a malformed one
        key = edge_key(request.source_id, request.target_id, request.type)
        return graph_pb2.GetEdgeResponse(edge=convert.edge_message(await self.edges.get_edge(request.user_id, key)))

    async def UpdateEdge(self, request: graph_pb2.UpdateEdgeRequest, context: Any) -> graph_pb2.UpdateEdgeResponse:
        paths = convert.mask(request.update_mask.paths)
        patch = EdgePatch(
            request.weight if "weight" in paths else None,
            dict(request.metadata.labels) if "metadata.labels" in paths else None,
            request.metadata.confirmed if "metadata.confirmed" in paths else None,
        )
        key = edge_key(request.source_id, request.target_id, request.type)
        edge, token = await self.edges.update_edge(
            request.user_id, key, patch, request.etag, convert.idempotent_request("UpdateEdge", request)
        )
        return graph_pb2.UpdateEdgeResponse(edge=convert.edge_message(edge), consistency_token=token.encode())

    async def DeleteEdge(self, request: graph_pb2.DeleteEdgeRequest, context: Any) -> graph_pb2.DeleteEdgeResponse:
        deleted, token = await self.edges.delete_edge(
            request.user_id,
            edge_key(request.source_id, request.target_id, request.type),
            request.etag,
            only_automatic=request.only_if_automatic,
            only_from_text=request.only_if_from_text,
            request=convert.idempotent_request("DeleteEdge", request),
        )
        return graph_pb2.DeleteEdgeResponse(deleted=deleted, consistency_token=token.encode())

    async def SuppressEdge(
        self, request: graph_pb2.SuppressEdgeRequest, context: Any
    ) -> graph_pb2.SuppressEdgeResponse:
        key = edge_key(request.source_id, request.target_id, request.type)
        removed, token = await self.edges.suppress_edge(
            request.user_id, key, convert.idempotent_request("SuppressEdge", request)
        )
        return graph_pb2.SuppressEdgeResponse(removed=removed, consistency_token=token.encode())

    async def ListSuppressedEdges(
        self, request: graph_pb2.ListSuppressedEdgesRequest, context: Any
    ) -> graph_pb2.ListSuppressedEdgesResponse:
        found = await self.list_suppressed_edges.list_suppressed_edges(request.user_id, request.node_id)
        return graph_pb2.ListSuppressedEdgesResponse(node_ids=found)

    # ------------------------------------------------------------------ lists
    async def GetNeighbors(self, request: bytes, context: Any) -> bytes:
        """The server passes bytes on, see app.py."""
        return await self.fast_path.get_neighbors(request)

    async def BatchGetNeighbors(self, request: graph_pb2.BatchGetNeighborsRequest, context: Any) -> bytes:
        return await self.batch_get_neighbors.batch_get_neighbors(
            request.user_id,
            request.node_ids,
            page_size("limit", request.limit, default=10, maximum=100),
            request.min_weight,
            tokens.decode(request.consistency_token),
        )

    async def GetSubgraph(self, request: graph_pb2.GetSubgraphRequest, context: Any) -> graph_pb2.GetSubgraphResponse:
        bounds = SubgraphBounds(
            page_size("max_hops", request.max_hops, default=2, maximum=3),
            page_size("max_fanout", request.max_fanout, default=25, maximum=200),
            page_size("max_nodes", request.max_nodes, default=250, maximum=2000),
        )
        found = await self.get_subgraph.get_subgraph(
            request.user_id,
            request.node_id,
            bounds,
            min_weight=request.min_weight,
            with_titles=request.with_titles,
            token=tokens.decode(request.consistency_token),
        )
        return convert.subgraph(found)

    async def FindShortestPath(
        self, request: graph_pb2.FindShortestPathRequest, context: Any
    ) -> graph_pb2.FindShortestPathResponse:
        found = await self.find_shortest_path.find_shortest_path(
            request.user_id,
            request.source_id,
            request.target_id,
            max_hops=page_size("max_hops", request.max_hops, default=6, maximum=10),
            max_visited=page_size("max_visited", request.max_visited, default=10_000, maximum=50_000),
            token=tokens.decode(request.consistency_token),
        )
        return convert.path(found)

    # ------------------------------------------------------------------ whole graphs
    async def ListEdges(
        self, request: graph_pb2.ListEdgesRequest, context: Any
    ) -> AsyncIterator[graph_pb2.ListEdgesResponse]:
        batches = self.list_edges.list_edges(
            request.user_id,
            request.node_id,
            min_weight=request.min_weight,
            show_hidden=request.show_hidden,
            show_suppressed=request.show_suppressed,
        )
        async for batch in batches:
            for start in range(0, len(batch), _EDGES_PER_MESSAGE):
                some = batch[start : start + _EDGES_PER_MESSAGE]
                yield graph_pb2.ListEdgesResponse(edges=[convert.edge_message(edge) for edge in some])

    async def GetGraphStats(
        self, request: graph_pb2.GetGraphStatsRequest, context: Any
    ) -> graph_pb2.GetGraphStatsResponse:
        top = page_size("top_hubs", request.top_hubs, default=10, maximum=100)
        return convert.stats(await self.get_graph_stats.get_graph_stats(request.user_id, top))

    async def WarmCache(self, request: graph_pb2.WarmCacheRequest, context: Any) -> graph_pb2.WarmCacheResponse:
        most = page_size("max_nodes", request.max_nodes, default=10_000, maximum=1_000_000)
        warmed, truncated = await self.warm_cache.warm_cache(request.user_id, request.node_ids, most)
        return graph_pb2.WarmCacheResponse(warmed=warmed, truncated=truncated)

    async def WatchEdges(
        self, request: graph_pb2.WatchEdgesRequest, context: Any
    ) -> AsyncIterator[graph_pb2.WatchEdgesResponse]:
        async for data, resume_token in self.watch_edges.watch_edges(request.user_id, request.resume_token):
            yield convert.feed_entry(data, resume_token)

    # ------------------------------------------------------------------ for the other services
    async def DetachNode(self, request: graph_pb2.DetachNodeRequest, context: Any) -> graph_pb2.DetachNodeResponse:
        removed, done = await self.detach_node.detach_checked(
            request.user_id, request.node_id, request.max_edges, request.version
        )
        edges = [convert.edge_message(edge) for edge in removed if not edge.suppressed]
        return graph_pb2.DetachNodeResponse(
            removed=len(edges),
            done=done,
            edges=edges,
        )

    async def SetNodeVisibility(
        self, request: graph_pb2.SetNodeVisibilityRequest, context: Any
    ) -> graph_pb2.SetNodeVisibilityResponse:
        applied = await self.set_node_visibility.set_checked(
            request.user_id, convert.visibility(request), request.announcement_id
        )
        return graph_pb2.SetNodeVisibilityResponse(applied=applied)

    async def AnnounceNodeVisibility(
        self, request: graph_pb2.AnnounceNodeVisibilityRequest, context: Any
    ) -> graph_pb2.AnnounceNodeVisibilityResponse:
        announced = False
        if request.withdraw:
            await self.announce_node_visibility.withdraw(request.user_id, request.node_id, request.announcement_id)
        else:
            announced = await self.announce_node_visibility.announce(
                request.user_id, convert.visibility(request), request.announcement_id
            )
        return graph_pb2.AnnounceNodeVisibilityResponse(announced=announced)
