"""servicer.Once on the kernel's idempotency records."""

from collections.abc import Awaitable, Callable
from typing import Any

from shared.idempotency import Idempotency


class IdempotentOnce:
    """Claims the request_id, does the work, keeps the answer; a failure lets a repeat try at once."""

    def __init__(self, idempotency: Idempotency) -> None:
        self._idempotency = idempotency

    async def do(self, method: str, request: Any, work: Callable[[], Awaitable[bytes]]) -> bytes:
        if not request.request_id:
            return await work()
        fingerprint = self._idempotency.fingerprint(
            method.encode() + b"\0" + request.SerializeToString(deterministic=True)
        )
        claim = (request.user_id, request.request_id, fingerprint)
        known = await self._idempotency.begin(*claim)
        if known is not None:
            return known
        try:
            answer = await work()
        except BaseException:
            await self._idempotency.forget(*claim)
            raise
        await self._idempotency.complete(*claim, answer)
        return answer
