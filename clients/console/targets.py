"""The connections to the four services: one channel each, with the retries of docs/retry-policy.json."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from clients.console.errors import refusal
from clients.console.methods import CONTEXTS, Method

log = logging.getLogger(__name__)

# The copy of docs/retry-policy.json that the Python client has.
POLICY = Path(__file__).resolve().parents[1] / "python" / "brain2" / "retry-policy.json"
Metadata = Sequence[tuple[str, str]]
# An RPC of each service that is called without a token and without a user: a service that has authentication answers
# UNAUTHENTICATED, every other one refuses the empty request.
_PROBES = {
    "node": "/brain2.node.v1.NodeService/GetNode",
    "graph": "/brain2.graph.v1.GraphService/GetEdge",
    "similarity": "/brain2.similarity.v1.SimilarityService/GetUserSettings",
    "cleanup": "/brain2.cleanup.v1.CleanupService/GetDeletion",
}
_PROBE_SECONDS = 5.0
# Seconds after which a service is probed again.
_CLOSED_SECONDS = 60.0


class Targets:
    """Calls the RPCs with bytes: what arrives is passed on as it is. Use as `async with Targets(...) as targets`.

    addresses: context -> "host:port". A call of a context that is not among them is refused.
    credentials: TLS to the services; None means plain connections.
    only_authenticated: calls of a service that lets in callers without a token are refused.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        credentials: grpc.ChannelCredentials | None = None,
        *,
        only_authenticated: bool = False,
    ) -> None:
        self._only_authenticated = only_authenticated
        # Context -> until when (monotonic seconds) its service counts as one that has authentication.
        self._closed: dict[str, float] = {}
        self._addresses = addresses
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def __aenter__(self) -> "Targets":
        # Here and not before: a channel belongs to the event loop in which it is made.
        options: list[tuple[str, int | str]] = [
            ("grpc.service_config", POLICY.read_text(encoding="utf-8")),
            ("grpc.max_receive_message_length", 64 * 1024 * 1024),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_reconnect_backoff_ms", 3_000),
        ]
        self._channels = {
            context: grpc.aio.insecure_channel(self._addresses[context], options=options)
            if self._credentials is None
            else grpc.aio.secure_channel(self._addresses[context], self._credentials, options=options)
            for context in CONTEXTS
            if context in self._addresses
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def check(self, method: Method) -> None:
        """Raises CallError when the console is not connected with the method's service."""
        if method.context not in self._addresses:
            raise refusal(
                "unimplemented", f"this console does not reach the {method.context} service", "SERVICE_NOT_REACHED"
            )

    async def _channel(self, method: Method) -> grpc.aio.Channel:
        self.check(method)
        if self._only_authenticated and self._closed.get(method.context, 0.0) < time.monotonic():
            await self._probe(method.context)
        return self._channels[method.context]

    async def _probe(self, context: str) -> None:
        """Raises CallError unless the service refuses callers without a token."""
        probe: Any = self._channels[context].unary_unary(_PROBES[context])
        try:
            await probe(b"", timeout=_PROBE_SECONDS)
            code = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            code = error.code()
        if code is grpc.StatusCode.UNAUTHENTICATED:
            self._closed[context] = time.monotonic() + _CLOSED_SECONDS
        elif code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise refusal("unavailable", f"the {context} service can't be reached now", "SERVICE_NOT_REACHED")
        else:
            log.error("the %s service has no authentication, and other machines reach this console", context)
            raise refusal(
                "failed_precondition",
                f"the {context} service has no authentication: the console serves it on loopback only",
                "SERVICE_WITHOUT_AUTHENTICATION",
            )

    async def unary(self, method: Method, request: bytes, metadata: Metadata, timeout: float | None) -> bytes:
        """The bytes of the answer. Raises grpc.aio.AioRpcError, CallError."""
        channel = await self._channel(method)
        call: Any = channel.unary_unary(method.path, request_serializer=None, response_deserializer=None)
        answer: bytes = await call(request, metadata=tuple(metadata), timeout=timeout)
        return answer

    async def stream(
        self, method: Method, request: bytes, metadata: Metadata, timeout: float | None
    ) -> AsyncIterator[bytes]:
        """The bytes of each answer. Raises grpc.aio.AioRpcError, CallError; closing the iterator cancels the call."""
        channel = await self._channel(method)
        open_: Any = channel.unary_stream(method.path, request_serializer=None, response_deserializer=None)
        call = open_(request, metadata=tuple(metadata), timeout=timeout)
        try:
            async for answer in call:
                yield answer
        finally:
            call.cancel()
