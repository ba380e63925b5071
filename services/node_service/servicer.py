"""NodeService as gRPC calls it: message -> use case -> message. No rules, no try."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.node.v1 import node_pb2
from services.node_service import convert
from services.node_service.model import View
from services.node_service.usecases.batch_create_nodes import batch_create_nodes
from services.node_service.usecases.batch_get_nodes import batch_get_nodes
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.get_node import get_node
from services.node_service.usecases.list_nodes import list_nodes
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.purge_node import fence_node, purge_node
from services.node_service.usecases.replay_events import replay_events
from services.node_service.usecases.restore_node import restore_node
from services.node_service.usecases.update_node import update_node
from services.node_service.usecases.user_settings import StoredUserSettings, get_user_settings, update_user_settings
from shared.grpc.field_limits import item_errors
from shared.idempotency import Idempotency, IdempotentRequest
from shared.resilience.slices import in_slices


@dataclass(frozen=True, slots=True)
class NodeServicer:
    """One method for each RPC; protos/node/v1/node.proto documents them."""

    notes: Notes
    settings: StoredUserSettings
    idempotency: Idempotency

    async def CreateNode(self, request: node_pb2.CreateNodeRequest, context: Any) -> node_pb2.CreateNodeResponse:
        node = await create_node(
            self.notes,
            request.user_id,
            convert.draft(request.node),
            convert.idempotent_request("CreateNode", request),
        )
        return node_pb2.CreateNodeResponse(node=convert.node(node), consistency_token=convert.token(node))

    async def BatchCreateNodes(self, request: node_pb2.BatchCreateNodesRequest, context: Any) -> bytes:
        return await batch_create_nodes(
            self.notes,
            request.user_id,
            [convert.draft(each) for each in request.nodes],
            convert.idempotent_request("BatchCreateNodes", request),
            convert.batch_answer,
            item_errors(request.nodes, "node"),
        )

    async def GetNode(self, request: node_pb2.GetNodeRequest, context: Any) -> node_pb2.GetNodeResponse:
        view = convert.view(request.view)
        seen = convert.seen(request.consistency_token)
        node = await get_node(self.notes, request.user_id, request.node_id, view, request.show_deleted, seen)
        return node_pb2.GetNodeResponse(node=convert.node(node, view))

    async def BatchGetNodes(self, request: node_pb2.BatchGetNodesRequest, context: Any) -> bytes:
        view = convert.view(request.view)
        seen = convert.seen(request.consistency_token)
        nodes, missing = await batch_get_nodes(
            self.notes, request.user_id, request.node_ids, view, request.show_deleted, seen
        )
        # One after the other, the bytes of answers with a note each are the answer with all of them.
        parts = await in_slices(lambda node: convert.batch_part(node, view), nodes)
        return b"".join([*parts, node_pb2.BatchGetNodesResponse(missing_ids=missing).SerializeToString()])

    async def UpdateNode(self, request: node_pb2.UpdateNodeRequest, context: Any) -> node_pb2.UpdateNodeResponse:
        node = await update_node(
            self.notes,
            request.user_id,
            request.node_id,
            convert.draft(request.node),
            request.update_mask.paths,
            request.etag,
            convert.idempotent_request("UpdateNode", request),
        )
        return node_pb2.UpdateNodeResponse(node=convert.node(node), consistency_token=convert.token(node))

    async def DeleteNode(self, request: node_pb2.DeleteNodeRequest, context: Any) -> node_pb2.DeleteNodeResponse:
        node = await delete_node(
            self.notes,
            request.user_id,
            request.node_id,
            request.etag,
            convert.cascade(request.cascade),
            convert.idempotent_request("DeleteNode", request),
        )
        return convert.deletion(node)

    async def RestoreNode(self, request: node_pb2.RestoreNodeRequest, context: Any) -> node_pb2.RestoreNodeResponse:
        idempotent = convert.idempotent_request("RestoreNode", request)
        node = await restore_node(self.notes, request.user_id, request.node_id, idempotent)
        return node_pb2.RestoreNodeResponse(node=convert.node(node), consistency_token=convert.token(node))

    async def ListNodes(self, request: node_pb2.ListNodesRequest, context: Any) -> node_pb2.ListNodesResponse:
        page = await list_nodes(
            self.notes,
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
            return convert.fenced(await fence_node(self.notes, request.user_id, request.node_id, request.version))
        purged = await purge_node(self.notes, request.user_id, request.node_id, request.version)
        return node_pb2.PurgeNodeResponse(already_purged=not purged)

    async def ReplayEvents(
        self, request: node_pb2.ReplayEventsRequest, context: Any
    ) -> AsyncIterator[node_pb2.ReplayEventsResponse]:
        async for progress in replay_events(self.notes, request.user_id, request.max_rate, request.page_token):
            yield node_pb2.ReplayEventsResponse(
                replayed=progress.replayed, next_page_token=progress.next_token, finished=progress.finished
            )

    async def GetUserSettings(
        self, request: node_pb2.GetUserSettingsRequest, context: Any
    ) -> node_pb2.GetUserSettingsResponse:
        settings = await get_user_settings(self.settings, request.user_id)
        return node_pb2.GetUserSettingsResponse(settings=convert.settings(settings))

    async def UpdateUserSettings(self, request: node_pb2.UpdateUserSettingsRequest, context: Any) -> bytes:
        async def work() -> bytes:
            settings = await update_user_settings(
                self.settings, request.user_id, convert.retention(request.settings), request.update_mask.paths
            )
            return node_pb2.UpdateUserSettingsResponse(settings=convert.settings(settings)).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("UpdateUserSettings", request), work)
