"""Child processes that never outlive the launcher: started in their own group, watched, stopped in order.

A child's own process group keeps Ctrl-C in the terminal from reaching it before its turn. On Linux the kernel also
sends it SIGTERM should the launcher itself be killed (PR_SET_PDEATHSIG); elsewhere kill -9 of the launcher leaves it
running.
"""

import asyncio
import contextlib
import http.client
import os
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import timeslices
from deploy.local.console import Console, LaunchError, gist

_TETHER = Path(__file__).with_name("tether.py")
_MAX_LINE = 1 << 20
# Linux and macOS give higher ports to outgoing connections.
_PORTS = range(16_000, 32_000)
_given: set[int] = set()
_rng = random.SystemRandom()

OnLine = Callable[[str, str], None]


class Child:
    """A running child. `ended` is done when it has exited and all that it printed was handed on."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, on_line: OnLine) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=20)
        self._process = process
        self._on_line = on_line
        self.ended: asyncio.Task[int] = asyncio.create_task(self._watch(), name=f"watch {name}")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _watch(self) -> int:
        assert self._process.stdout is not None
        while True:
            try:
                raw = await self._process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                raw = end.partial
                if not raw:
                    break
            except asyncio.LimitOverrunError as overrun:
                raw = await self._process.stdout.readexactly(overrun.consumed)
            line = raw.decode("utf-8", "replace").rstrip()
            self.last_lines.append(line)
            self._on_line(self.name, line)
        return await self._process.wait()

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL to the whole group after `grace` seconds; returns when nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        _, late = await asyncio.wait({self.ended}, timeout=grace)
        # Whatever it started and forgot goes too; normally the group is empty by now.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if late:
            await asyncio.wait({self.ended})

    def obituary(self) -> str:
        """Why it died, in one line: how it exited and the last thing that it said."""
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"exited with status {code}"
        return f"{self.name} {how}{self.said()}"

    def said(self) -> str:
        """The last thing that it said, to be put behind a sentence; empty when it said nothing."""
        said = next((line for line in reversed(self.last_lines) if line.strip()), "")
        return f": {gist(said)[:300]}" if said else ""


async def start(
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    on_line: OnLine,
    cwd: Path | None = None,
    niceness: int = 0,
    slice_ms: float = 0.0,
    held: Sequence[int] = (),
) -> Child:
    """Start a child in its own process group; raises LaunchError when it can't be executed.

    niceness: how much the child stands back behind this process when the cores are busy, 0 to 19.
    slice_ms: see timeslices.set_slice(); 0: the kernel's choice.
    held: open files that the child keeps open, too: a lock on one of them is held until the last of them has ended.
    """
    if sys.platform == "linux":
        argv = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *argv]
    spawned = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            limit=_MAX_LINE,
            process_group=0,
            pass_fds=held,
        )
    )
    try:
        child = Child(name, await asyncio.shield(spawned), on_line)
        if niceness:
            with contextlib.suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, child.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness))
        if slice_ms:
            timeslices.set_slice(child.pid, slice_ms)
        return child
    except OSError as error:
        raise LaunchError(f"{name} could not be started: {error}") from error
    except asyncio.CancelledError:
        # Half-started when the start was called off: nobody else would know of it.
        await Child(name, await spawned, on_line).stop(0)
        raise


async def to_the_end(work: Coroutine[object, object, object]) -> None:
    """Awaits work that stops something. A cancellation meanwhile changes nothing, so what ended the rest is raised."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()


async def is_ready(child: Child, url: str, seconds: float) -> bool:
    """Whether a child answers GET `url`, an http URL of its own, with 200 within `seconds`; False also when it ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not child.ended.done():
                if await asyncio.to_thread(_answers, url):
                    return True
                await asyncio.wait({child.ended}, timeout=0.1)
    return False


@contextlib.asynccontextmanager
async def beside(child: Child, url: str, seconds: float, grace: float, console: Console) -> AsyncIterator[bool]:
    """Whether a child that the services do not need answers GET `url` within `seconds`.

    Its end is told whenever it comes. At the end of the block it is stopped.
    """
    needless = "the services do not need it"

    async def tell() -> None:
        await asyncio.wait({child.ended})
        console.step(f"{child.obituary()}; {needless}")

    telling = asyncio.create_task(tell())
    try:
        answers = await is_ready(child, url, seconds)
        if not answers and not child.ended.done():
            console.step(f"{child.name} did not answer within {seconds:.0f} s{child.said()}; {needless}")
        yield answers
    finally:
        telling.cancel()
        await child.stop(grace)


def _answers(url: str) -> bool:
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc, timeout=1.0)
    try:
        connection.request("GET", target.path or "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def runs(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago: all different, also from those that this process was given before,
    and below those that systems give to outgoing connections. So nobody takes one before its server listens."""
    found: list[int] = []
    while len(found) < count:
        port = _rng.choice(_PORTS)
        if port not in _given and is_free(port):
            _given.add(port)
            found.append(port)
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as sock:
        # As servers do: a port whose last connections are still in TIME_WAIT is free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
