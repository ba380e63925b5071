"""The whole stack for end-to-end tests: the launcher's own, on free ports and a temporary folder."""

import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from deploy.local.console import Console, LaunchError
from deploy.local.stack import Options, Stack, running


def stack_options(data: Path, **changed: Any) -> Options:
    """Options for a test: any free ports, and no lower priorities, because other programs may keep the cores busy.

    changed: fields of Options.
    """
    return Options(**{"data": data, "port_base": None, "niceness": 0, **changed})


@contextlib.asynccontextmanager
async def whole_stack(data: Path, /, **extra_env: str) -> AsyncIterator[tuple[Stack, io.StringIO]]:
    """Four services that all answer SERVING, and what they log. extra_env: variables that every service gets."""
    async with stack_of(stack_options(data, extra_env=extra_env)) as found:
        yield found


@contextlib.asynccontextmanager
async def stack_of(options: Options) -> AsyncIterator[tuple[Stack, io.StringIO]]:
    """The same with options of the test's own."""
    log = io.StringIO()
    try:
        async with running(options, Console(log, quiet=True)) as stack:
            yield stack, log
    except LaunchError:
        print(log.getvalue())  # shown by pytest
        raise
