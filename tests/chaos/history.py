"""What happened in a run: every call with its outcome, every fault, every violation; kept as JSON lines."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO


class History:
    """acknowledged: calls that were answered as asked or with a definite no. unknown: given up without an answer."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._start = time.monotonic()
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.violations: list[dict[str, Any]] = []
        self.slowest = 0.0

    def close(self) -> None:
        self._file.close()

    def call(self, name: str, what: str, outcome: str, seconds: float) -> None:
        """One call with all its retries. outcome: "ok", a definite error's reason, or "unknown"."""
        if outcome == "unknown":
            self.unknown[name] += 1
        else:
            self.acknowledged[name] += 1
            if outcome != "ok":
                self.refused[f"{name} {outcome}"] += 1
        self.slowest = max(self.slowest, seconds)
        self._write("call", name=name, what=what, outcome=outcome, seconds=round(seconds, 3))

    def error(self, name: str, reason: str, message: str) -> None:
        """One try that failed and was repeated."""
        self.retries[name] += 1
        self.errors[reason] += 1
        if reason == "INTERNAL":
            self._write("internal", name=name, message=message)

    def fault(self, kind: str, what: str) -> None:
        self.faults[kind] += 1
        self._write("fault", kind=kind, what=what)

    def violation(self, kind: str, what: str, **facts: Any) -> None:
        """A promise was broken."""
        found = {"kind": kind, "what": what, **facts}
        self.violations.append(found)
        self._write("violation", **found)

    def note(self, text: str, **facts: Any) -> None:
        self._write("note", text=text, **facts)

    def _write(self, entry: str, **fields: Any) -> None:
        line = {"at": round(time.monotonic() - self._start, 3), "entry": entry, **fields}
        self._file.write(json.dumps(line, default=str) + "\n")
