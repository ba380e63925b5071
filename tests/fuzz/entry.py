"""Starts a service for the fuzz run: `python -m tests.fuzz.entry SERVICE`, with a watch over its event loop.

The watch logs each time that the loop was held for longer than LAG_SECONDS, with the code that held it. What counts is
the smaller one of two numbers: how late a timer was, and how much CPU time the process used meanwhile. A machine that
is busy with something else makes timers late, too, and isn't the fault of the service.
"""

import asyncio
import logging
import os
import runpy
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from shared.grpc.server import GrpcServer

LAG_SECONDS = 0.1
_TICK = 0.01
log = logging.getLogger("brain2.fuzz")


class Watch:
    """Ticks on the loop; a thread beside it looks at the stack of the loop's thread when a tick is overdue."""

    def __init__(self, file: str) -> None:
        # Removed by whoever wants to measure anew.
        self._file = Path(file)
        self._main = threading.main_thread().ident or 0
        self._ticked = time.monotonic()
        self._stack = ""
        self.worst = 0.0

    async def tick(self) -> None:
        while True:
            wall, cpu = time.monotonic(), time.process_time()
            self._ticked = wall
            await asyncio.sleep(_TICK)
            held = min(time.monotonic() - wall - _TICK, time.process_time() - cpu)
            if held > self.worst or not self._file.exists():
                self.worst = held
                self._file.write_text(f"{held:.3f}")
            if held > LAG_SECONDS:
                log.warning("the loop was held", extra={"ms": round(held * 1000), "where": self._stack})
            self._stack = ""

    def look(self) -> None:
        pause = threading.Event()
        while not pause.wait(_TICK):
            if time.monotonic() - self._ticked > LAG_SECONDS * 0.7 and not self._stack:
                frame = sys._current_frames().get(self._main)
                self._stack = "".join(traceback.format_stack(frame)[-6:])


def main(service: str) -> None:
    original = GrpcServer.start
    kept: list[asyncio.Task[None]] = []

    async def start(self: GrpcServer) -> int:
        port = await original(self)
        watch = Watch(os.environ["FUZZ_LAG"] + f".{service}")
        threading.Thread(target=watch.look, daemon=True).start()
        kept.append(asyncio.create_task(watch.tick()))
        return port

    patched: Any = GrpcServer
    patched.start = start
    sys.argv = [f"services.{service}_service"]
    runpy.run_module(f"services.{service}_service", run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
