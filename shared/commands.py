"""Runs a command-line tool inside its trace; what is wrong with its environment is a sentence and not a traceback."""

import asyncio
import sys
from collections.abc import Coroutine

from shared import telemetry
from shared.config import ConfigError

CONFIG_EXIT = 2
"""The exit code when the environment, or a file that it names, is wrong."""
_INTERRUPTED_EXIT = 130


def run(name: str, work: Coroutine[object, object, int]) -> int:
    """The exit code of the work, which is done inside a root span of this name.

    ConfigError is printed, one line for each wrong variable (a missing token file, a certificate that can't be used).
    """
    try:
        return asyncio.run(telemetry.run_command(name, work))
    except ConfigError as error:
        for problem in error.problems:
            print(f"brain2: {problem}", file=sys.stderr)
        return CONFIG_EXIT
    except KeyboardInterrupt:
        return _INTERRUPTED_EXIT
    except BrokenPipeError:
        # Whoever read the output has gone (`| head`). Nothing more can be written to it, also not at the exit.
        sys.stdout = None
        return 1
    finally:
        work.close()  # it was never begun if the trace could not be set up
