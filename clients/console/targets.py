"""The connections to the four services: one channel each, with the retries of docs/retry-policy.json."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from clients.console.errors import refusal
from clients.console.methods import CONTEXTS, Method

# The copy of docs/retry-policy.json that the Python client has.
POLICY = Path(__file__).resolve().parents[1] / "python" / "brain2" / "retry-policy.json"
Metadata = Sequence[tuple[str, str]]


class Targets:
    """Calls the RPCs with bytes: what arrives is passed on as it is. Use as `async with Targets(...) as targets`.

    addresses: context -> "host:port". A call of a context that is not among them is refused.
    credentials: TLS to the services; None means plain connections.
    """

    def __init__(self, addresses: Mapping[str, str], credentials: grpc.ChannelCredentials | None = None) -> None:
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

    def _channel(self, method: Method) -> grpc.aio.Channel:
        self.check(method)
        return self._channels[method.context]

    async def unary(self, method: Method, request: bytes, metadata: Metadata, timeout: float | None) -> bytes:
        """The bytes of the answer. Raises grpc.aio.AioRpcError, CallError."""
        call: Any = self._channel(method).unary_unary(method.path, request_serializer=None, response_deserializer=None)
        answer: bytes = await call(request, metadata=tuple(metadata), timeout=timeout)
        return answer

    async def stream(
        self, method: Method, request: bytes, metadata: Metadata, timeout: float | None
    ) -> AsyncIterator[bytes]:
        """The bytes of each answer. Raises grpc.aio.AioRpcError, CallError; closing the iterator cancels the call."""
        open_: Any = self._channel(method).unary_stream(
            method.path, request_serializer=None, response_deserializer=None
        )
        call = open_(request, metadata=tuple(metadata), timeout=timeout)
        try:
            async for answer in call:
                yield answer
        finally:
            call.cancel()
