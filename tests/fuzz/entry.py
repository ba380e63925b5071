"""Starts a service for the fuzz run: `python -m tests.fuzz.entry SERVICE`, with a watch over its event loop.

The watch measures each slice of the loop (one callback, or one step of a task) by the CPU time of the loop's thread, so
that what else the machine does makes no difference. It logs those above LAG_SECONDS with the code that ran. The loop is
asyncio's own and not uvloop, whose callbacks can't be measured one by one; what a callback does is the same on both.
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

import uvloop

from shared.grpc.server import GrpcServer

LAG_SECONDS = 0.02
_TICK = 0.005
log = logging.getLogger("brain2.fuzz")


class Watch:
    """Measures the slices of the loop; a thread beside it looks at the stack of the loop's thread when one takes long.

    file: where the CPU seconds of the longest slice are. Whoever wants to measure anew removes it.
    """

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._main = threading.main_thread().ident or 0
        self._began = 0.0  # when the current slice began, in monotonic seconds; 0 between two slices
        self._stack = ""
        self.worst = 0.0

    def measure_slices(self) -> None:
        """Measure every slice from now on."""
        handle: Any = asyncio.Handle
        run = handle._run

        def measured(self_: Any) -> None:
            self._began = time.monotonic()
            before = time.thread_time()
            run(self_)
            held = time.thread_time() - before
            self._began = 0.0
            if held > self.worst:
                self.worst = held
                self._file.write_text(f"{held:.4f}")
            if held > LAG_SECONDS:
                where = self._stack or repr(self_)
                log.warning("the loop was held", extra={"ms": round(held * 1000), "where": where})
            self._stack = ""

        handle._run = measured

    async def start_anew(self) -> None:
        """Forget the longest slice whenever the file was removed."""
        while True:
            await asyncio.sleep(0.05)
            if not self._file.exists():
                self.worst = 0.0
                self._file.write_text("0")

    def look(self) -> None:
        """Keep the stack of a slice that takes long."""
        pause = threading.Event()
        while not pause.wait(_TICK):
            began = self._began
            if began and time.monotonic() - began > LAG_SECONDS * 0.7 and not self._stack:
                frame = sys._current_frames().get(self._main)
                # Short, because the log shortens what is long.
                frames = traceback.extract_stack(frame)[-3:]
                self._stack = " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames)


def main(service: str) -> None:
    start = GrpcServer.start
    kept: list[asyncio.Task[None]] = []

    async def watched(self: GrpcServer) -> int:
        port = await start(self)
        watch = Watch(os.environ["FUZZ_LAG"] + f".{service}")
        threading.Thread(target=watch.look, daemon=True).start()
        watch.measure_slices()
        kept.append(asyncio.create_task(watch.start_anew()))
        return port

    patched: Any = GrpcServer
    patched.start = watched
    on_asyncio: Any = uvloop
    on_asyncio.run = asyncio.run
    sys.argv = [f"services.{service}_service"]
    runpy.run_module(f"services.{service}_service", run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
