"""Calls as a careful client makes them: the documented retry policy, and each call in the history.

The policy (docs/contracts.md): UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, CANCELLED and ABORTED without a
mismatch are tried again with the same request_id, with jitter, until `patience` is over. What is then still open is
unknown.
"""

import asyncio
import random
import time
from typing import Any

from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import (
    Aborted,
    Brain2Error,
    Cancelled,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    Unavailable,
)
from shared.grpc.client import Channels
from tests.chaos.history import History

_SERVICES = {
    "node": node_pb2.DESCRIPTOR.services_by_name["NodeService"],
    "graph": graph_pb2.DESCRIPTOR.services_by_name["GraphService"],
    "similarity": similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"],
    "cleanup": cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"],
}
_DEFINITE = {"ETAG_MISMATCH", "VERSION_MISMATCH"}
# Internal is a defect, but for the client of one it is one more answer that leaves things open.
_AGAIN = (Unavailable, DeadlineExceeded, ResourceExhausted, Cancelled, Aborted, Internal)


class Unknown(Exception):
    """No answer within all patience: it may have been done, or be done later."""


class Client:
    """The four services. patience: seconds that one call, with its retries, may take."""

    def __init__(
        self, channels: Channels, addresses: dict[str, str], history: History, rng: random.Random, patience: float
    ) -> None:
        self._stubs = {name: channels.stub(addresses[name], service) for name, service in _SERVICES.items()}
        self._history = history
        self._rng = rng
        self._patience = patience

    async def call(self, service: str, name: str, request: Any, what: str = "") -> Any:
        """The answer. Raises the definite errors of the call, or Unknown."""
        started = time.monotonic()
        stub = getattr(self._stubs[service], name)
        attempt = 0
        while True:
            try:
                answer = await stub(request, timeout=4.0)
                self._history.call(name, what, "ok", time.monotonic() - started)
                return answer
            except _AGAIN as error:
                if isinstance(error, Aborted) and error.reason in _DEFINITE:
                    self._history.call(name, what, error.reason, time.monotonic() - started)
                    raise
                self._history.error(name, error.reason, error.message)
                if time.monotonic() - started > self._patience:
                    self._history.call(name, what, "unknown", time.monotonic() - started)
                    raise Unknown(f"{name} {what}: {error}") from None
                await asyncio.sleep(self._rng.random() * min(2.0, 0.05 * 2 ** min(attempt, 6)))
                attempt += 1
            except Brain2Error as error:
                self._history.call(name, what, error.reason, time.monotonic() - started)
                raise

    async def stream(self, service: str, name: str, request: Any) -> list[Any]:
        """All messages of a stream; begun anew when it breaks."""
        for attempt in range(20):
            try:
                return [answer async for answer in getattr(self._stubs[service], name)(request)]
            except _AGAIN as error:
                self._history.error(name, error.reason, error.message)
                await asyncio.sleep(min(2.0, 0.1 * 2**attempt))
        raise Unknown(name)
