"""Tasks that may outlive the call that began them: whoever ends the process waits for them, or cancels them."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

# What a task does about its cancellation, for example giving back a lease, takes less than this.
_AGAIN_SECONDS = 5.0


async def cancel_all(tasks: Iterable[asyncio.Task[Any]], again: float = _AGAIN_SECONDS) -> None:
    """Cancel tasks, and return when all have ended, in whatever way.

    again: seconds after which those that still run are cancelled again. A cancellation is lost when what the task waits
        for fails at the same moment: gather() and TaskGroup raise the error of the child in its place. A loop that logs
        such an error and goes on would never end.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=again)
        for task in ended:
            if not task.cancelled():
                task.exception()  # seen: no "never retrieved" on the log


class BackgroundTasks:
    """The running tasks of one owner. asyncio itself keeps no task alive that nobody holds."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run it as a task, whose error is its starter's to read."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def drain(self) -> None:
        """Wait for the tasks that run, and for those that they start."""
        while self._running:
            await asyncio.wait(tuple(self._running))
