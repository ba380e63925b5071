"""How far an import is: a bar in a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from deploy.local.importer.items import shown

_LINE_SECONDS = 5.0


class ProgressBar:
    """Use as `with ProgressBar("notes.jsonl") as bar: bar.show(done, total, "120 notes")`."""

    def __init__(self, name: str, out: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name = shown(name)
        self._out = out or sys.stderr
        self._monotonic = monotonic
        self._next_line = monotonic() + _LINE_SECONDS
        self._bar: Progress | None = None
        if self._out.isatty():
            text, achieved = (TextColumn(f"{{task.{part}}}", markup=False) for part in ("description", "fields[note]"))
            self._bar = Progress(
                text, BarColumn(), TaskProgressColumn(), achieved, TimeRemainingColumn(),
                console=RichConsole(file=self._out), transient=True,
            )  # fmt: skip

    def __enter__(self) -> "ProgressBar":
        if self._bar:
            self._bar.start()
            self._bar.add_task(self._name, total=None, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, done: int, total: int, note: str) -> None:
        """done and total in any one unit (total 0: nobody knows); note: what has been achieved, for people."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None, note=note)
        elif self._monotonic() >= self._next_line:
            self._next_line = self._monotonic() + _LINE_SECONDS
            share = f"{100 * done // total:3d} %, " if total else ""
            print(f"{self._name}: {share}{note}", file=self._out, flush=True)
