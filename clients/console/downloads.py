"""GET /export?user=ada&format=markdown: a user's notes as a file, for a browser or curl."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from clients.console.connect import failure, metadata_of, request_id
from clients.console.errors import CallError, from_rpc, refusal
from clients.console.methods import methods
from clients.console.targets import Targets
from clients.export import FORMATS, CutOffError, Records
from clients.export.write import temporary
from protos.cleanup.v1 import cleanup_pb2

_METHOD = "/brain2.cleanup.v1.CleanupService/ExportUser"
_SUFFIXES = {"markdown": "zip", "graphml": "graphml", "jsonl": "jsonl"}
# Each export needs room on the disk until it is sent.
_AT_ONCE = 2


class Downloads:
    """Exports as files. They wait in a temporary file until they are whole, so that a cut-off one fails visibly."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._places = asyncio.Semaphore(_AT_ONCE)

    def route(self) -> Route:
        """The route of the exports."""
        return Route("/export", self._export)

    async def _export(self, request: Request) -> Response:
        format_ = request.query_params.get("format", "markdown")
        try:
            if format_ not in FORMATS:
                raise refusal(
                    "invalid_argument", f"format is one of {', '.join(FORMATS)}", "BAD_FORMAT", field="format"
                )
            self._targets.check(methods()[_METHOD])
            async with self._places:
                path = await self._written(request, format_)
        except CallError as error:
            return failure(error)
        return FileResponse(
            path,
            media_type=FORMATS[format_],
            filename=f"brain2.{_SUFFIXES[format_]}",
            background=BackgroundTask(path.unlink, missing_ok=True),
        )

    async def _written(self, request: Request, format_: str) -> Path:
        message = cleanup_pb2.ExportUserRequest(user_id=request.query_params.get("user", ""))
        metadata = metadata_of(request, request_id(request))
        answers = self._targets.stream(methods()[_METHOD], message.SerializeToString(), metadata, None)

        async def lines() -> AsyncIterator[str]:
            async for answer in answers:
                for line in cleanup_pb2.ExportUserResponse.FromString(answer).lines:
                    yield line

        with Records() as records:
            try:
                await records.read(lines())
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from None
            except CutOffError as error:
                raise refusal("unavailable", str(error), "CUT_OFF") from None
            return await asyncio.to_thread(temporary, records, format_)
