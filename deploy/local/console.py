"""What a person sees in the terminal: steps with their time, and the services' JSON logs as readable lines."""

import json
import os
import sys
import time
from typing import Any, TextIO

_COLOURS = {"grey": 90, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "bold": 1}
_SERVICES = {"node": "cyan", "graph": "magenta", "similarity": "yellow", "cleanup": "blue"}
_LEVELS = {"DEBUG": "grey", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
# Names under which the parts of a line are known; whatever else it holds is shown as key=value.
_TIME, _LEVEL, _MESSAGE, _TRACE = (
    ("time", "timestamp", "ts"),
    ("level", "severity"),
    ("message", "msg", "event"),
    "trace_id",
)
_NOISE = {"service", "span_id", "trace_flags", "logger"}


class LaunchError(Exception):
    """Something that a person has to mend; the text is one line and says what."""


class Console:
    """Writes to a stream; in colour when that is a terminal (NO_COLOR and FORCE_COLOR are honoured)."""

    def __init__(self, out: TextIO | None = None, *, quiet: bool = False) -> None:
        self._out = out or sys.stdout
        self._quiet = quiet
        self._began = time.monotonic()
        forced = bool(os.environ.get("FORCE_COLOR"))
        self._colour = forced or (self._out.isatty() and "NO_COLOR" not in os.environ)

    def paint(self, text: str, colour: str) -> str:
        return f"\033[{_COLOURS[colour]}m{text}\033[0m" if self._colour and text else text

    def step(self, text: str) -> None:
        """One step is done, or begins: shown with the seconds since the start."""
        if not self._quiet:
            self.say(f"{self.paint(f'{time.monotonic() - self._began:5.1f}s', 'grey')} {text}")

    def say(self, text: str = "") -> None:
        print(text, file=self._out, flush=True)

    def log(self, source: str, line: str) -> None:
        """A line that a child printed: JSON becomes readable, anything else is shown as it is."""
        self.say(f"{self.service(source)} {self._readable(line)}")

    def service(self, name: str) -> str:
        """The name of a child, in its colour and as wide as the others."""
        return self.paint(f"{name:<10}", _SERVICES.get(name, "grey"))

    def _readable(self, line: str) -> str:
        try:
            fields = json.loads(line)
        except ValueError:
            return line
        if not isinstance(fields, dict):
            return line
        level = str(_take(fields, _LEVEL) or "INFO").upper()
        parts = [
            self.paint(str(_take(fields, _TIME) or "")[11:23], "grey"),
            self.paint(f"{level:<7}", _LEVELS.get(level, "green")),
            str(_take(fields, _MESSAGE) or ""),
        ]
        trace = str(fields.pop(_TRACE, "") or "")
        stack = fields.pop("exception", None) or fields.pop("exc_info", None) or fields.pop("stack", None)
        parts += [f"{self.paint(k + '=', 'grey')}{_short(v)}" for k, v in fields.items() if k not in _NOISE]
        if trace:
            parts.append(self.paint(f"trace={trace}", "grey"))
        text = " ".join(part for part in parts if part)
        return f"{text}\n{self.paint(str(stack), 'red')}" if stack else text


def gist(line: str) -> str:
    """What a log line says, without its fields: for a sentence about a child that died."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line.strip()
    if not isinstance(fields, dict):
        return line.strip()
    stack = str(fields.get("exception") or "").strip()
    parts = [str(_take(fields, _MESSAGE) or ""), stack.splitlines()[-1] if stack else ""]
    return ": ".join(part for part in parts if part)


def _take(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in fields:
            return fields.pop(name)
    return None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."
