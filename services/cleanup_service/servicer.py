"""The CleanupService of gRPC: message -> use case -> message."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service import convert
from services.cleanup_service.ports import ALWAYS
from services.cleanup_service.ports.export_user import UserDataReader
from services.cleanup_service.usecases import validation
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.erase_user import UserEraser
from services.cleanup_service.usecases.export_user import export_user
from services.cleanup_service.usecases.get_deletion import get_deletion
from services.cleanup_service.usecases.list_deletions import list_deletions_in_state, list_deletions_of_user
from services.cleanup_service.usecases.queue_deletion import queue_deletion
from services.cleanup_service.usecases.reconcile_user import UserReconciler
from services.cleanup_service.usecases.retry_deletion import retry_deletion
from shared.auth.principal import caller
from shared.idempotency import Idempotency, IdempotentRequest
from shared.pages import page_size
from shared.tokens import fingerprint


@dataclass(frozen=True, slots=True)
class CleanupServicer:
    """One method for each RPC; protos/cleanup/v1/cleanup.proto documents them."""

    deletions: Deletions
    eraser: UserEraser
    reader: UserDataReader
    reconciler: UserReconciler
    idempotency: Idempotency

    async def QueueDeletion(self, request: cleanup_pb2.QueueDeletionRequest, context: Any) -> bytes:
        validation.check_deletion(request.user_id, request.node_id, request.request_id)

        async def work() -> bytes:
            saga = await queue_deletion(self.deletions, request.user_id, request.node_id)
            return cleanup_pb2.QueueDeletionResponse(deletion=convert.deletion(saga)).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("QueueDeletion", request), work)

    async def GetDeletion(
        self, request: cleanup_pb2.GetDeletionRequest, context: Any
    ) -> cleanup_pb2.GetDeletionResponse:
        validation.check_deletion(request.user_id, request.node_id)
        saga = await get_deletion(self.deletions, request.user_id, request.node_id)
        return cleanup_pb2.GetDeletionResponse(deletion=convert.deletion(saga))

    async def ListDeletions(
        self, request: cleanup_pb2.ListDeletionsRequest, context: Any
    ) -> cleanup_pb2.ListDeletionsResponse:
        size = page_size("page_size", request.page_size, default=50, maximum=200)
        times = convert.times(request)
        # Without a range the tokens are those of earlier releases.
        of_range = () if times == ALWAYS else (times.start_ms, times.end_ms)
        bound = fingerprint("ListDeletions", request.user_id, request.state, *of_range)
        position = convert.position(bound, request.page_token)
        state = convert.state(request.state)
        validation.check_list_deletions(request.user_id, state)
        if request.user_id or state is None:
            page = await list_deletions_of_user(self.deletions, request.user_id, state, position, size, times)
        else:
            page = await list_deletions_in_state(self.deletions, state, position, size, times)
        return cleanup_pb2.ListDeletionsResponse(
            deletions=[convert.deletion(saga) for saga in page.sagas],
            next_page_token=convert.page_token(bound, page.position),
        )

    async def RetryDeletion(self, request: cleanup_pb2.RetryDeletionRequest, context: Any) -> bytes:
        validation.check_deletion(request.user_id, request.node_id, request.request_id)

        async def work() -> bytes:
            saga = await retry_deletion(self.deletions, request.user_id, request.node_id)
            return cleanup_pb2.RetryDeletionResponse(deletion=convert.deletion(saga)).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("RetryDeletion", request), work)

    async def EraseUser(self, request: cleanup_pb2.EraseUserRequest, context: Any) -> cleanup_pb2.EraseUserResponse:
        validation.check_erase_user(request.user_id, request.confirm_user_id)
        erasure = await self.eraser.erase_user(request.user_id)
        return cleanup_pb2.EraseUserResponse(erasure=convert.erasure(erasure))

    async def GetErasure(self, request: cleanup_pb2.GetErasureRequest, context: Any) -> cleanup_pb2.GetErasureResponse:
        validation.check_get_erasure(request.erasure_id)
        principal = caller.get()
        reader = None if principal is None or "admin" in principal.scopes else principal.user
        erasure = await self.eraser.get_erasure(request.erasure_id, reader)
        return cleanup_pb2.GetErasureResponse(erasure=convert.erasure(erasure))

    async def ExportUser(
        self, request: cleanup_pb2.ExportUserRequest, context: Any
    ) -> AsyncIterator[cleanup_pb2.ExportUserResponse]:
        validation.check_user(request.user_id)
        async for batch in export_user(
            self.reader, self.deletions, request.user_id, include_deleted=request.include_deleted
        ):
            for message in convert.lines(batch):
                yield message

    async def ReconcileUser(
        self, request: cleanup_pb2.ReconcileUserRequest, context: Any
    ) -> AsyncIterator[cleanup_pb2.ReconcileUserResponse]:
        validation.check_reconcile_user(request.user_id, request.max_rate)
        found = self.reconciler.reconcile_user(request.user_id, dry_run=request.dry_run, max_rate=request.max_rate)
        async for part in found:
            yield convert.reconciled(part)
