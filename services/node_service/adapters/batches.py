"""Batches (port) on the kept answers of shared.idempotency."""

from dataclasses import dataclass

from services.node_service.ports import Request
from shared.idempotency import Idempotency


@dataclass(frozen=True, slots=True)
class IdempotentBatches:
    """One record a request, under a lease while it is being carried out."""

    idempotency: Idempotency

    async def begin(self, user_id: str, request: Request) -> "bytes | HeldRequest":
        known = await self.idempotency.begin(user_id, request.request_id, request.fingerprint)
        return HeldRequest(self.idempotency, user_id, request) if known is None else known


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """Held (port)."""

    idempotency: Idempotency
    user_id: str
    request: Request

    async def complete(self, answer: bytes) -> None:
        await self.idempotency.complete(self.user_id, self.request.request_id, self.request.fingerprint, answer)

    async def forget(self) -> None:
        await self.idempotency.forget(self.user_id, self.request.request_id, self.request.fingerprint)
