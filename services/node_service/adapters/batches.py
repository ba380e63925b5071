"""Batches (port) on the kept answers of shared.idempotency."""

from dataclasses import dataclass

from services.node_service.ports import Request
from shared.idempotency import Idempotency, IdempotentRequest


@dataclass(frozen=True, slots=True)
class IdempotentBatches:
    """One record a request, under a lease while it is being carried out."""

    idempotency: Idempotency

    async def begin(self, user_id: str, request: Request) -> "bytes | HeldRequest":
        own = IdempotentRequest(user_id, request.request_id, request.fingerprint)
        known = await self.idempotency.begin(own)
        return HeldRequest(self.idempotency, own) if known is None else known


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """Held (port)."""

    idempotency: Idempotency
    request: IdempotentRequest

    async def complete(self, answer: bytes) -> None:
        await self.idempotency.complete(self.request, answer)

    async def forget(self) -> None:
        await self.idempotency.abandon(self.request)
