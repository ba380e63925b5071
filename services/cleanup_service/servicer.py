"""CleanupService as gRPC sees it: message -> use case -> message. No rules, no try."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service import convert
from services.cleanup_service.usecases.erase import Eraser
from services.cleanup_service.usecases.export import Export
from services.cleanup_service.usecases.intake import Intake
from services.cleanup_service.usecases.reconcile import Reconciler
from shared.idempotency import Idempotency, IdempotentRequest
from shared.pages import page_size
from shared.tokens import fingerprint


@dataclass(frozen=True, slots=True)
class CleanupServicer:
    """One method an RPC; what each promises is said in protos/cleanup/v1/cleanup.proto."""

    intake: Intake
    eraser: Eraser
    exporter: Export
    reconciler: Reconciler
    idempotency: Idempotency

    async def QueueDeletion(self, request: cleanup_pb2.QueueDeletionRequest, context: Any) -> bytes:
        convert.check_node(request.user_id, request.node_id, request.request_id)

        async def work() -> bytes:
            saga = await self.intake.queue(request.user_id, request.node_id)
            return cleanup_pb2.QueueDeletionResponse(deletion=convert.deletion(saga)).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("QueueDeletion", request), work)

    async def GetDeletion(
        self, request: cleanup_pb2.GetDeletionRequest, context: Any
    ) -> cleanup_pb2.GetDeletionResponse:
        convert.check_node(request.user_id, request.node_id)
        saga = await self.intake.get(request.user_id, request.node_id)
        return cleanup_pb2.GetDeletionResponse(deletion=convert.deletion(saga))

    async def ListDeletions(
        self, request: cleanup_pb2.ListDeletionsRequest, context: Any
    ) -> cleanup_pb2.ListDeletionsResponse:
        size = page_size("page_size", request.page_size, default=50, maximum=200)
        bound = fingerprint("ListDeletions", request.user_id, request.state)
        position = convert.position(bound, request.page_token)
        state = convert.state(request.state)
        if request.user_id:
            convert.check_user(request.user_id)
            page = await self.intake.list_user(request.user_id, state, position, size)
        else:
            page = await self.intake.list_state(state, position, size)
        return cleanup_pb2.ListDeletionsResponse(
            deletions=[convert.deletion(saga) for saga in page.sagas],
            next_page_token=convert.page_token(bound, page.position),
        )

    async def RetryDeletion(self, request: cleanup_pb2.RetryDeletionRequest, context: Any) -> bytes:
        convert.check_node(request.user_id, request.node_id, request.request_id)

        async def work() -> bytes:
            saga = await self.intake.retry(request.user_id, request.node_id)
            return cleanup_pb2.RetryDeletionResponse(deletion=convert.deletion(saga)).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("RetryDeletion", request), work)

    async def EraseUser(self, request: cleanup_pb2.EraseUserRequest, context: Any) -> cleanup_pb2.EraseUserResponse:
        convert.check_erase(request)
        erasure = await self.eraser.begin(request.user_id)
        return cleanup_pb2.EraseUserResponse(erasure=convert.erasure(erasure))

    async def GetErasure(self, request: cleanup_pb2.GetErasureRequest, context: Any) -> cleanup_pb2.GetErasureResponse:
        convert.check_erasure_id(request.erasure_id)
        erasure = await self.eraser.get(request.erasure_id)
        return cleanup_pb2.GetErasureResponse(erasure=convert.erasure(erasure))

    async def ExportUser(
        self, request: cleanup_pb2.ExportUserRequest, context: Any
    ) -> AsyncIterator[cleanup_pb2.ExportUserResponse]:
        convert.check_user(request.user_id)
        async for batch in self.exporter.export(request.user_id, include_deleted=request.include_deleted):
            for message in convert.lines(batch):
                yield message

    async def ReconcileUser(
        self, request: cleanup_pb2.ReconcileUserRequest, context: Any
    ) -> AsyncIterator[cleanup_pb2.ReconcileUserResponse]:
        convert.check_reconcile(request)
        found = self.reconciler.reconcile(request.user_id, dry_run=request.dry_run, max_rate=request.max_rate)
        async for part in found:
            yield convert.reconciled(part)
