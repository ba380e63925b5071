"""Tasks that may outlive the call that began them: whoever ends the process waits for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


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
