"""What the commands' options may be: a wrong one is refused in one sentence, before anything starts."""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, status 2; the list of all options would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"brain2: {message.removeprefix('argument ')}\n")


def within(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], int | float]:
    """Reads an option: a number of this kind from least to most, both included."""
    what = "a whole number" if kind is int else "a number"

    def read(text: str) -> int | float:
        with contextlib.suppress(ValueError):
            if least <= kind(text) <= most:
                return kind(text)
        raise argparse.ArgumentTypeError(f"must be {what} from {least} to {most}, not {text!r}")

    return read


def path(text: str) -> Path:
    """Reads an option: a path. An empty one, as of a variable that isn't set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)
