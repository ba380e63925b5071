"""Runs ministack so that it also saves while it runs; on its own it saves at a clean stop only.

Executed by the interpreter of .venv-ministack, with ministack's usual environment plus BRAIN2_STATE_ROOT (a folder)
and BRAIN2_SAVE_SECONDS. Every few seconds, if something changed, the process forks between two requests and the child
writes the frozen copy, as Redis does with BGSAVE: requests wait for the fork (milliseconds), not for the disk. With 0
nothing is ever saved, at the stop neither: for stores that are thrown away.

A snapshot is a folder with one file per AWS service. It is written and synced whole, then the symlink `current` is
replaced: a crash finds the old snapshot or the new one, never an outbox from one and a queue from the other.
`unclean` exists from start to clean stop: whoever finds it at a start knows that the last seconds may be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import json
import logging
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Services = dict[str, Callable[[], Any]]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A save may take this share of one core; a large store is saved less often rather than keeping a core busy.
MAX_SHARE = 1 / 3
# What a request sets off in the background (a rule's delivery) is over after this: saved once more.
QUIET_SECONDS = 1.0
# An idle stack polls its queues all day: what only reads doesn't make the store dirty.
READS = ("Get", "BatchGet", "TransactGet", "Query", "Scan", "Describe", "List", "Receive")


class Snapshots:
    """The folder of snapshots: `current` points to the newest whole one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._current = root / "current"
        self._unclean = root / "unclean"

    def open(self) -> Path:
        """The newest snapshot, made empty at the first start; half-written ones are removed."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self._current.is_dir():
            self._publish(Path(tempfile.mkdtemp(prefix="snapshot-", dir=self.root)))
        newest = self._current.resolve()
        for left in self.root.glob("snapshot-*"):
            if left != newest:
                shutil.rmtree(left, ignore_errors=True)
        self._unclean.touch()
        _sync(self.root)
        return newest

    def close(self) -> None:
        """Declare a clean stop."""
        self._unclean.unlink(missing_ok=True)
        _sync(self.root)

    def write(self, services: Services, encode: Callable[[str, Any], str], parent: int) -> None:
        """Write a whole snapshot and make it current. Runs in the forked child; raises if anything can't be written."""
        old = self._current.resolve()
        new = Path(tempfile.mkdtemp(prefix="snapshot-", dir=self.root))
        try:
            self._fill(new, old, services, encode)
            # After a kill -9 of the server another one may own this folder already: an orphan publishes nothing.
            if os.getppid() != parent:
                raise RuntimeError("the server is gone")
            self._publish(new)
        except BaseException:
            # One that is half-written every few seconds would keep a full disk full.
            shutil.rmtree(new, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _fill(self, new: Path, old: Path, services: Services, encode: Callable[[str, Any], str]) -> None:
        # A service that reports no state (its module wasn't used, or failed to load) keeps what it had.
        for file in old.iterdir():
            os.link(file, new / file.name)
        for name, get_state in services.items():
            state = get_state()
            if state is None:
                continue
            text = encode(name, state)
            if _holds(new / f"{name}.json", text):
                continue
            draft = new / f"{name}.json.tmp"
            with draft.open("w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(new / f"{name}.json")
        _sync(new)

    def _publish(self, snapshot: Path) -> None:
        link = self.root / f"current.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(snapshot.name)
        link.replace(self._current)
        _sync(self.root)


def _holds(file: Path, text: str) -> bool:
    """Whether the file, linked from the last snapshot, says this already: most services never change."""
    try:
        # Encoded JSON is ASCII: characters are bytes.
        return file.stat().st_size == len(text) and file.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Saver:
    """Wraps ministack's ASGI app: notes which requests change something, saves when due and at the end."""

    def __init__(self, app: App, module: Any, snapshots: Snapshots, seconds: float) -> None:
        self._app = app
        self._module = module
        self._snapshots = snapshots
        self._seconds = seconds
        self._changed = float("-inf")
        self._saved = float("-inf")
        self._child: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            if self._seconds > 0:
                self._task = asyncio.create_task(self._run())
            await self._app(scope, receive, send)
            return
        writes = changes(scope)
        if writes:
            self._changed = time.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            if writes:
                self._changed = time.monotonic()

    def due(self) -> bool:
        """Whether something changed since the last save began, or so shortly before that it was still at work."""
        return self._changed + QUIET_SECONDS >= self._saved

    async def _run(self) -> None:
        pause = self._seconds
        while True:
            await asyncio.sleep(pause)
            if not self.due():
                continue
            began = time.monotonic()
            self._child = self._fork()
            forked = time.monotonic()
            _, status = await asyncio.to_thread(os.waitpid, self._child, 0)
            self._child = None
            took = time.monotonic() - began
            if status == 0:
                self._saved = began
            if os.environ.get("LOG_LEVEL") == "DEBUG":
                print(f"saved: fork {1000 * (forked - began):.1f} ms, whole {took:.2f} s", file=sys.stderr, flush=True)
            pause = max(self._seconds, took / MAX_SHARE)

    def save_at_stop(self, services: Services) -> None:
        """Takes the place of ministack's own save_all. Requests have ended; blocking is fine."""
        if self._task is not None:
            self._task.cancel()
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
        if self._seconds <= 0:
            return
        if os.waitpid(self._fork(services), 0)[1] == 0:
            self._snapshots.close()

    def _fork(self, services: Services | None = None) -> int:
        dynamodb = sys.modules.get("ministack.services.dynamodb")
        # Handlers run on this thread; the reaper of expired items is the one other writer, and it holds this lock.
        with getattr(dynamodb, "_lock", contextlib.nullcontext()):
            parent = os.getpid()
            pid = os.fork()
        if pid:
            return pid
        try:
            self._write_as_child(services or self._module._build_persistence_save_dict(), parent)
        except OSError as error:
            print(f"what changed could not be saved: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _write_as_child(self, services: Services, parent: int) -> None:
        from ministack.core import persistence  # only this interpreter has it, and only once configured

        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        # Hold no socket: after a kill -9 of the server its port must be free.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        gc.disable()
        os.nice(10)
        # This process is the copy: get_state() need not copy again, which would take most of the time and memory.
        copy.deepcopy = lambda x, memo=None, _nil=None: x

        def encode(name: str, state: Any) -> str:
            wrapped = {"__ministack_format__": persistence._state_format_version(name), "payload": state}
            return json.dumps(wrapped, default=persistence._json_default)

        self._snapshots.write(services, encode, parent)


def ending_with_its_client(app: App) -> App:
    """The app, in which a long poll of SQS ends when its client is gone.

    Otherwise it goes on until its wait is over, and takes messages that nobody gets before their visibility ends.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        target = dict(scope.get("headers", ())).get(b"x-amz-target", b"")
        if scope["type"] != "http" or not target.endswith(b".ReceiveMessage"):
            await app(scope, receive, send)
            return
        parts = [await receive()]
        while parts[-1].get("more_body"):
            parts.append(await receive())
        gone = asyncio.ensure_future(receive())

        async def replay() -> MutableMapping[str, Any]:
            return parts.pop(0) if parts else await gone

        answering = asyncio.ensure_future(app(scope, replay, send))
        try:
            await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            answering.cancel()  # changes nothing when it has ended
        with contextlib.suppress(asyncio.CancelledError):
            await answering

    return wrapped


def changes(scope: Scope) -> bool:
    """Whether this request may change what is stored; in doubt it does."""
    for name, value in scope.get("headers", ()):
        if name == b"x-amz-target":
            return not value.decode().rpartition(".")[2].startswith(READS)
    return scope.get("method") not in ("GET", "HEAD", "OPTIONS")


def collect_what_is_young() -> None:
    """Spare requests the collector's walk over all that is stored: a quarter of a second among some thousand notes.

    What survived a collection of the younger generations is taken out of the collector's sight. A cycle among it would
    stay until the end; items of the store have none.
    """
    gc.set_threshold(10_000, 10, 1_000_000)
    gc.callbacks.append(lambda phase, info: gc.freeze() if phase == "stop" and info["generation"] == 1 else None)


def main() -> None:
    collect_what_is_young()
    snapshots = Snapshots(Path(os.environ["BRAIN2_STATE_ROOT"]))
    # ministack reads these when it is imported.
    os.environ["PERSIST_STATE"] = "1"
    os.environ["STATE_DIR"] = str(snapshots.open())
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    # At a stop, long polls of clients that are gone are cancelled; Python 3.11 prints a traceback for each.
    logging.getLogger("asyncio").addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
    )

    from ministack import app as module  # after the environment
    from ministack.services import dynamodb, sqs

    # By their paths: -P keeps this folder out of sys.path.
    runpy.run_path(str(Path(__file__).with_name("ministack_query.py")))["install"](dynamodb)
    runpy.run_path(str(Path(__file__).with_name("ministack_queues.py")))["install"](sqs)
    saver = Saver(
        ending_with_its_client(module.app), module, snapshots, float(os.environ.get("BRAIN2_SAVE_SECONDS", "3"))
    )
    module.app = saver
    module.save_all = saver.save_at_stop
    sys.argv = ["ministack"]
    module.main()


if __name__ == "__main__":
    main()
