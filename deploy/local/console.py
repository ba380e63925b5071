"""What the launcher prints in a terminal: its steps with their time, and the services' JSON logs as readable lines."""

import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, TextIO, cast

import rich.console
from rich.color import ColorSystem
from rich.style import Style
from rich.text import Text

# Names that rich spells otherwise.
_COLOURS = {"grey": "bright_black"}
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

# They move the cursor, colour what follows, or make one text look like another.
_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class LaunchError(Exception):
    """Something that a person has to mend; the text is one line and says what."""


class _Output:
    """A stream whose text is dropped once it goes nowhere: the terminal was closed, `| head` has ended, a disk is full.

    What runs must not end by that, and least of all without saving. Letters that the stream can't show are spelled out.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> None:
        with self._dropping():
            self._out.write(text)

    def flush(self) -> None:
        with self._dropping():
            self._out.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # Python writes what it has buffered once more when it ends.
            with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._out.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


class Console:
    """Writes lines to a stream with rich: in colour on a terminal; NO_COLOR and FORCE_COLOR decide first.

    quiet: steps are not shown.
    """

    def __init__(self, out: TextIO | None = None, *, quiet: bool = False) -> None:
        # Lines are printed as they are: rich neither wraps them nor looks for markup, emoji or numbers in them.
        self._rich = rich.console.Console(
            file=cast(IO[str], _Output(out or sys.stdout)),
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=True,
            color_system="standard",
        )
        self._quiet = quiet
        self._start = time.monotonic()

    def paint(self, text: str, colour: str) -> str:
        """The text between the terminal's codes for a colour of `_COLOURS`; the text itself when colours are off."""
        if not text or not self._rich.is_terminal or self._rich.no_color:
            return text
        return Style.parse(_COLOURS.get(colour, colour)).render(text, color_system=ColorSystem.STANDARD)

    def step(self, text: str) -> None:
        """Shows that one step is done or begins, with the seconds since the start."""
        if not self._quiet:
            self.say(f"{self.paint(f'{time.monotonic() - self._start:5.1f}s', 'grey')} {text}")

    def say(self, text: str = "") -> None:
        """Prints one line."""
        self._rich.print(Text.from_ansi(text))

    def log(self, source: str, line: str) -> None:
        """Prints a line of a child process: JSON is made readable, anything else is printed as it is."""
        self.say(f"{self.service(source)} {self._readable(line)}")

    def service(self, name: str) -> str:
        """The name of a child process, in its colour and as wide as the other names."""
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
            plain(str(_take(fields, _MESSAGE) or "")),
        ]
        trace = str(fields.pop(_TRACE, "") or "")
        stack = fields.pop("exception", None) or fields.pop("exc_info", None) or fields.pop("stack", None)
        parts += [f"{self.paint(k + '=', 'grey')}{plain(_short(v))}" for k, v in fields.items() if k not in _NOISE]
        if trace:
            parts.append(self.paint(f"trace={trace}", "grey"))
        text = " ".join(part for part in parts if part)
        stack = "\n".join(map(plain, str(stack or "").rstrip("\n").split("\n")))
        return f"{text}\n{self.paint(stack, 'red')}" if stack else text


def plain(text: str) -> str:
    """A text of others as a terminal may show it: control characters and marks of direction are spelled out."""
    return _HOSTILE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


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
