"""NodeService as gRPC sees it: message -> use case -> message. No rules, no try."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.node.v1 import node_pb2
from services.node_service import convert
from services.node_service.model import View
from services.node_service.usecases.batches import BatchWriting
from services.node_service.usecases.life import Life
from services.node_service.usecases.reading import Reading
from services.node_service.usecases.replaying import Replaying
from services.node_service.usecases.settings import Settings
from services.node_service.usecases.writing import Writing
from shared.idempotency import Idempotency, IdempotentRequest


@dataclass(frozen=True, slots=True)
class NodeServicer:
    """One method an RPC; what each promises is said in protos/node/v1/node.proto."""

    writing: Writing
    batches: BatchWriting
    life: Life
    reading: Reading
    settings: Settings
    replaying: Replaying
    idempotency: Idempotency

    async def CreateNode(self, request: node_pb2.CreateNodeRequest, context: Any) -> node_pb2.CreateNodeResponse:
        node = await self.writing.create_node(
            request.user_id, convert.draft(request.node), convert.request("CreateNode", request)
        )
        return node_pb2.CreateNodeResponse(node=convert.node(node), consistency_token=convert.token(node))

    async def BatchCreateNodes(self, request: node_pb2.BatchCreateNodesRequest, context: Any) -> bytes:
        return await self.batches.create_nodes(
            request.user_id,
            [convert.draft(each) for each in request.nodes],
            convert.request("BatchCreateNodes", request),
            convert.batch_answer,
        )

    async def GetNode(self, request: node_pb2.GetNodeRequest, context: Any) -> node_pb2.GetNodeResponse:
        view = convert.view(request.view)
        seen = convert.seen(request.consistency_token)
        node = await self.reading.get_node(request.user_id, request.node_id, request.show_deleted, seen)
        return node_pb2.GetNodeResponse(node=convert.node(node, view))

    async def BatchGetNodes(
        self, request: node_pb2.BatchGetNodesRequest, context: Any
    ) -> node_pb2.BatchGetNodesResponse:
        view = convert.view(request.view)
        seen = convert.seen(request.consistency_token)
        nodes, missing = await self.reading.get_nodes(
            request.user_id, request.node_ids, view, request.show_deleted, seen
        )
        return node_pb2.BatchGetNodesResponse(nodes=[convert.node(each, view) for each in nodes], missing_ids=missing)

    async def UpdateNode(self, request: node_pb2.UpdateNodeRequest, context: Any) -> node_pb2.UpdateNodeResponse:
        node = await self.writing.update_node(
            request.user_id,
            request.node_id,
            convert.draft(request.node),
            request.update_mask.paths,
            request.etag,
            convert.request("UpdateNode", request),
        )
        return node_pb2.UpdateNodeResponse(node=convert.node(node), consistency_token=convert.token(node))

    async def DeleteNode(self, request: node_pb2.DeleteNodeRequest, context: Any) -> node_pb2.DeleteNodeResponse:
        node = await self.life.delete_node(
            request.user_id,
            request.node_id,
            request.etag,
            convert.cascade(request.cascade),
            convert.request("DeleteNode", request),
        )
        return convert.deletion(node)

    async def RestoreNode(self, request: node_pb2.RestoreNodeRequest, context: Any) -> node_pb2.RestoreNodeResponse:
        node = await self.life.restore_node(request.user_id, request.node_id, convert.request("RestoreNode", request))
        return node_pb2.RestoreNodeResponse(node=convert.node(node), consistency_token=convert.token(node))

    async def ListNodes(self, request: node_pb2.ListNodesRequest, context: Any) -> node_pb2.ListNodesResponse:
        page = await self.reading.list_nodes(
            request.user_id,
            size=request.page_size,
            token=request.page_token,
            start_ms=convert.bound(request, "start_time"),
            end_ms=convert.bound(request, "end_time"),
        )
        return node_pb2.ListNodesResponse(
            nodes=[convert.node(each, View.SUMMARY) for each in page.nodes], next_page_token=page.next_token
        )

    async def PurgeNode(self, request: node_pb2.PurgeNodeRequest, context: Any) -> node_pb2.PurgeNodeResponse:
        if request.fence:
            node = await self.life.fence_node(request.user_id, request.node_id, request.version)
            return convert.fenced(node)
        purged = await self.life.purge_node(request.user_id, request.node_id, request.version)
        return node_pb2.PurgeNodeResponse(already_purged=not purged)

    async def ReplayEvents(
        self, request: node_pb2.ReplayEventsRequest, context: Any
    ) -> AsyncIterator[node_pb2.ReplayEventsResponse]:
        async for progress in self.replaying.replay(request.user_id, request.max_rate, request.page_token):
            yield node_pb2.ReplayEventsResponse(
                replayed=progress.replayed, next_page_token=progress.next_token, finished=progress.finished
            )

    async def GetUserSettings(
        self, request: node_pb2.GetUserSettingsRequest, context: Any
    ) -> node_pb2.GetUserSettingsResponse:
        known = await self.settings.get_settings(request.user_id)
        return node_pb2.GetUserSettingsResponse(settings=convert.settings(known))

    async def UpdateUserSettings(self, request: node_pb2.UpdateUserSettingsRequest, context: Any) -> bytes:
        async def work() -> bytes:
            known = await self.settings.update_settings(
                request.user_id, convert.retention(request.settings), request.update_mask.paths
            )
            return node_pb2.UpdateUserSettingsResponse(settings=convert.settings(known)).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("UpdateUserSettings", request), work)
