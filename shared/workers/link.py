"""The worker's end of the connection to its supervisor: a socket pair that carries one JSON object a line.

| from | message | meaning |
|---|---|---|
| supervisor | {"ask": "alive", "id": 1} | answer, to show that the event loop turns |
| supervisor | {"ask": "metrics", "id": 2} | answer with a snapshot of the metrics |
| worker | {"id": 1} or {"id": 2, "metrics": [...]} | the answer; without metrics when they can't be read |
| worker | {"serving": true} | the start is complete |

The end of the stream is the end of the other process: a worker whose supervisor has ended drains and ends, too.
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.metrics.model import Snapshot
from shared.metrics.transfer import encode

log = logging.getLogger(__name__)

VARIABLE = "BRAIN2_WORKER_FD"
"""The environment variable with the number of the worker's file descriptor. The supervisor sets it, nobody else."""
# A snapshot of the metrics is one line.
LONGEST_LINE = 16 * 1024 * 1024


class SupervisorConnection:
    """A worker's connection to its supervisor.

    snapshot: reads the metrics of this process; set by the registry.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._writer: asyncio.StreamWriter | None = None
        self._serving = False
        self._answers: set[asyncio.Task[None]] = set()
        self.snapshot: Callable[[], Awaitable[Snapshot]] | None = None

    async def run(self) -> None:
        """Answer the supervisor until it ends."""
        reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=LONGEST_LINE)
        if self._serving:
            self._send({"serving": True})
        try:
            # A line without an end is what the supervisor was writing when it was killed.
            while (line := await reader.readline()).endswith(b"\n"):
                # Metrics that wait for a store must not delay the other answers.
                task = asyncio.create_task(self._answer(json.loads(line)))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
        except ConnectionError:
            return
        finally:
            for task in self._answers:
                task.cancel()
            self._writer.close()

    def serving(self) -> None:
        """Report that the start is complete."""
        self._serving = True
        if self._writer is not None:
            self._send({"serving": True})

    async def _answer(self, asked: Mapping[str, Any]) -> None:
        answer: dict[str, Any] = {"id": asked["id"]}
        if asked["ask"] == "metrics" and self.snapshot is not None:
            try:
                self._send(answer | {"metrics": encode(await self.snapshot())})
                return
            except Exception:
                log.exception("the metrics can't be read")
        self._send(answer)

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")


def inherited(environment: Mapping[str, str] = os.environ) -> SupervisorConnection | None:
    """The link of this process, if a supervisor has started it."""
    number = environment.get(VARIABLE)
    if not number:
        return None
    # A program that this process starts must not keep the connection open.
    os.set_inheritable(int(number), False)
    return SupervisorConnection(socket.socket(fileno=int(number)))
