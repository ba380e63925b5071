"""The deletions of a user's notes, and the export of all data."""

from collections.abc import AsyncIterator
from typing import Any

from ._calls import Calls
from ._proto import cleanup_pb2
from .models import Deletion, DeletionEvent, as_time

_SERVICE = "/brain2.cleanup.v1.CleanupService/"


class Deletions:
    """What becomes of deleted notes: archive, removal of the links and of the index entries, purge."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def get(self, node_id: str, *, timeout: float | None = None) -> Deletion:
        """The state of the deletion of a note. Errors: NotFound."""
        request = cleanup_pb2.GetDeletionRequest(user_id=self._calls.user, node_id=node_id)
        answer = await self._call("GetDeletion", request, cleanup_pb2.GetDeletionResponse, timeout)
        return _deletion(answer.deletion)

    async def list(self, *, page_size: int = 100, timeout: float | None = None) -> AsyncIterator[Deletion]:
        """List the deletions, oldest first. Pages are read as the iterator goes."""
        request = cleanup_pb2.ListDeletionsRequest(user_id=self._calls.user, page_size=page_size)
        while True:
            answer = await self._call("ListDeletions", request, cleanup_pb2.ListDeletionsResponse, timeout)
            for deletion in answer.deletions:
                yield _deletion(deletion)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def start_now(self, node_id: str, *, request_id: str = "", timeout: float | None = None) -> Deletion:
        """Start the cleanup of a deleted note now instead of at the end of its retention; it can't be restored then.

        Errors: NotFound, FailedPrecondition (NOT_DELETED).
        """
        request = cleanup_pb2.QueueDeletionRequest(user_id=self._calls.user, node_id=node_id)
        answer = await self._call("QueueDeletion", request, cleanup_pb2.QueueDeletionResponse, timeout, request_id)
        return _deletion(answer.deletion)

    async def retry(self, node_id: str, *, request_id: str = "", timeout: float | None = None) -> Deletion:
        """Run a failed deletion again from the step at which it failed. Errors: NotFound, FailedPrecondition."""
        request = cleanup_pb2.RetryDeletionRequest(user_id=self._calls.user, node_id=node_id)
        answer = await self._call("RetryDeletion", request, cleanup_pb2.RetryDeletionResponse, timeout, request_id)
        return _deletion(answer.deletion)

    async def export(self, *, include_deleted: bool = False, timeout: float | None = None) -> AsyncIterator[str]:
        """All notes, links and settings as JSON lines that `make import` reads; the last one has the kind "end".

        timeout: seconds until the first lines come; the whole may take any time.
        """
        request = cleanup_pb2.ExportUserRequest(user_id=self._calls.user, include_deleted=include_deleted)
        async for answer in self._calls.stream(
            "cleanup",
            _SERVICE + "ExportUser",
            request,
            cleanup_pb2.ExportUserResponse,
            first_within=self._calls.default_timeout if timeout is None else timeout,
        ):
            for line in answer.lines:
                yield line

    async def _call(self, name: str, request: Any, response: Any, timeout: float | None, request_id: str = "") -> Any:
        return await self._calls.unary("cleanup", _SERVICE + name, request, response, timeout, request_id)


def _deletion(deletion: Any) -> Deletion:
    history = (
        DeletionEvent(as_time(event.time), _state(event.state), _step(event.step), event.message)
        for event in deletion.history
    )
    return Deletion(
        deletion.node_id,
        deletion.version,
        _state(deletion.state),
        _step(deletion.step),
        deletion.attempts,
        deletion.error,
        deletion.archive_uri,
        deletion.removed_edges,
        as_time(deletion.delete_time),
        as_time(deletion.purge_time),
        tuple(history),
    )


def _state(number: int) -> str:
    return cleanup_pb2.DeletionState.Name(number).removeprefix("DELETION_STATE_").lower()


def _step(number: int) -> str:
    name = cleanup_pb2.DeletionStep.Name(number).removeprefix("DELETION_STEP_").lower()
    return "" if name == "unspecified" else name
