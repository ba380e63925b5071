"""The launcher as a process of its own: what closes its terminal, stops it or kills it, and what it says at the end."""

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.console import Console
from deploy.local.stack import describe, running
from tests.integration.deploy.test_launcher import children, options
from tests.support.waiting import until

# `up` with stand-ins for the services, on the folder that it is given.
UP = (
    "import asyncio, sys, pathlib\n"
    "from deploy.local.__main__ import _up\n"
    "from deploy.local.console import Console\n"
    "from tests.integration.deploy.test_launcher import options\n"
    "sys.exit(asyncio.run(_up(options(pathlib.Path(sys.argv[1])), Console(), observe=False)))\n"
)
Launch = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launch]:
    """Starts a launcher on tmp_path. before: what runs it, as nohup; streams: of the new process."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*before: str, **streams: Any) -> asyncio.subprocess.Process:
        # These tests may themselves run under nohup, whose choice a child would inherit.
        heed = "" if before else "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        argv = [*before, sys.executable, "-c", heed + UP, str(tmp_path)]
        started.append(await asyncio.create_subprocess_exec(*argv, **streams))
        return started[-1]

    yield start
    for launcher in started:
        with contextlib.suppress(ProcessLookupError):
            launcher.kill()
        await launcher.wait()


async def until_running(data: Path, launcher: asyncio.subprocess.Process) -> None:
    await until(lambda: describe(data) or launcher.returncode is not None, seconds=90.0, what="the stack")
    assert describe(data)


def clean(data: Path) -> bool:
    return not (data / "ministack" / "unclean").exists()


async def test_a_closed_terminal_stops_it_as_cleanly_as_ctrl_c(tmp_path: Path, launch: Launch) -> None:
    ours, terminal = os.openpty()
    launcher = await launch(stdout=terminal)
    os.close(terminal)
    await until_running(tmp_path, launcher)
    os.close(ours)
    # As the kernel does.
    launcher.send_signal(signal.SIGHUP)
    assert await launcher.wait() == 0
    assert clean(tmp_path)


async def test_it_goes_on_when_its_output_is_read_no_more_and_after_nohup(tmp_path: Path, launch: Launch) -> None:
    reads, writes = os.pipe()
    launcher = await launch("nohup", stdout=writes, stderr=asyncio.subprocess.PIPE)
    os.close(writes)
    # As after `| head -c 1`.
    await asyncio.to_thread(os.read, reads, 1)
    os.close(reads)
    await until_running(tmp_path, launcher)
    launcher.send_signal(signal.SIGHUP)
    # Had the signal stopped it, this would not be the reason of its end.
    os.kill(children(launcher.pid)["similarity"], signal.SIGKILL)
    _, errors = await launcher.communicate()
    assert b"LaunchError: similarity was killed by SIGKILL" in errors
    assert clean(tmp_path)


async def test_stores_that_could_not_save_at_the_stop_are_not_said_to_be_kept(tmp_path: Path, launch: Launch) -> None:
    launcher = await launch(stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    reading = asyncio.create_task(launcher.communicate())
    await until_running(tmp_path, launcher)
    # No new snapshot can take its place.
    current = tmp_path / "ministack" / "current"
    current.unlink()
    current.mkdir()
    (current / "in the way").touch()
    launcher.send_signal(signal.SIGTERM)
    output, errors = await reading
    assert launcher.returncode == 1
    assert b"LaunchError: stopped, but ministack could not save" in errors
    assert b"what changed could not be saved" in output
    assert b"the notes are kept" not in output


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing ends the children of a launcher that is killed")
async def test_a_start_waits_until_the_stores_of_a_killed_launcher_have_saved(tmp_path: Path, launch: Launch) -> None:
    launcher = await launch(stdout=asyncio.subprocess.DEVNULL)
    await until_running(tmp_path, launcher)
    # It takes its time.
    ministack = children(launcher.pid)["ministack_main.py"]
    os.kill(ministack, signal.SIGSTOP)
    try:
        launcher.kill()
        await launcher.wait()
        assert describe(tmp_path) is None
        log = io.StringIO()

        async def start_again() -> None:
            async with running(options(tmp_path), Console(log)):
                pass

        again = asyncio.create_task(start_again())
        await until(lambda: "waiting for them" in log.getvalue() or again.done(), what="the second start")
        assert "starting stores" not in log.getvalue()
    finally:
        os.kill(ministack, signal.SIGCONT)
    await again
    assert clean(tmp_path)
