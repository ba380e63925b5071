"""A process from start to end: signals, background tasks, and a drain in which nothing accepted is lost.

    async def main(life: Lifecycle) -> None:
        aws = await life.enter(Aws(config))               # resources first: they are closed last
        outbox = await life.enter(Outbox(...))
        life.supervise("outbox sweeper", outbox.run_sweeper())
        life.on_drain(outbox.drain)                       # drained third
        life.supervise("consumer", consumer.run())
        life.on_drain(consumer.drain)                     # drained second
        await server.start()
        life.on_drain(lambda: server.stop(config.drain_seconds))   # drained first: NOT_SERVING, no new calls
        await life.wait_for_stop()

At the end, in this order: the drain functions, the last registered first, with everything still running; then the
supervised tasks are cancelled; then the resources are closed, the last entered first.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, TypeVar

import uvloop

from shared.config import ConfigError

log = logging.getLogger(__name__)
T = TypeVar("T")
Drain = Callable[[], Awaitable[object]]

# Together longer than any drain_seconds in use, shorter than what Kubernetes is told to wait before it kills.
_DRAIN_SECONDS = 60.0
_CONFIG_EXIT = 2


class Crashed(Exception):
    """A background task ended with an error, and the service with it."""


class Lifecycle:
    """What a service's main() gets to hang its parts on."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._drains: list[Drain] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stop = asyncio.Event()
        self._ready = False
        self.failure: BaseException | None = None

    async def enter(self, acm: AbstractAsyncContextManager[T]) -> T:
        """Open a resource; it is closed at the very end, the last opened first."""
        return await self._stack.enter_async_context(acm)

    def supervise(self, name: str, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a task beside main(). If it crashes, the process drains and ends with exit code 1; it may return."""
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def on_drain(self, async_fn: Drain) -> None:
        """Call async_fn() when the process is to end, before anything is closed; the last registered goes first."""
        self._drains.append(async_fn)

    async def wait_for_stop(self) -> None:
        """Serve until a signal comes or a supervised task crashes."""
        self._ready = True
        _calm_garbage_collection()
        log.info("serving")
        await self._stop.wait()

    def stop(self) -> None:
        """End the process as a signal would."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    async def close(self) -> None:
        """Drain, cancel, close. A step that fails is logged and counts as a failure; the others still happen."""
        self._stop.set()
        for drain in reversed(self._drains):
            await self._step("drain", drain())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._step("close", self._stack.aclose())

    async def run(self, main: Callable[["Lifecycle"], Awaitable[None]]) -> None:
        """main(), or as much of it as a stop leaves time for, then close(). Raises what main or a task raised."""
        running = asyncio.ensure_future(main(self))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not self._ready and not running.done():
                running.cancel()  # told to stop while still starting
            await asyncio.wait((running,))
            if not running.cancelled() and (error := running.exception()) is not None:
                self.failure = self.failure or error
        finally:
            stopped.cancel()
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self.close()
            except TimeoutError as error:
                self.failure = self.failure or error
                log.error("the drain took too long and was cut off", extra={"seconds": _DRAIN_SECONDS})
        if self.failure is not None:
            raise self.failure

    async def _step(self, what: str, step: Awaitable[object]) -> None:
        try:
            await step
        except Exception as error:
            log.exception("a part did not end well", extra={"step": what})
            self.failure = self.failure or error

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("a background task crashed", extra={"task": task.get_name()}, exc_info=error)
        if self.failure is None:
            self.failure = Crashed(f"the background task {task.get_name()!r} crashed: {type(error).__name__}: {error}")
        self._stop.set()


def _calm_garbage_collection() -> None:
    # What start-up made lives as long as the process, and a call makes few cycles: looking through fewer objects, less
    # often, was worth 4 % of the calls a second in a paired run (on a busy machine; freezing alone cost some).
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def run(main: Callable[[Lifecycle], Awaitable[None]]) -> NoReturn:
    """Run a service's main() on uvloop until SIGTERM or SIGINT, and exit. Load the configuration inside main().

    0: stopped as told. 1: main, a supervised task or the drain failed (logged). 2: the configuration is wrong (printed,
    one variable a line). A second signal ends the process at once.
    """
    try:
        uvloop.run(_main(main))
    except ConfigError as error:
        print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
        sys.exit(_CONFIG_EXIT)
    except KeyboardInterrupt:
        sys.exit(130)
    except (Crashed, OSError) as error:
        # Logged with its traceback already, or an address in use, or a store that refuses: the words say it.
        log.error("the service ends: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("the service ends")
        sys.exit(1)
    sys.exit(0)


async def _main(main: Callable[[Lifecycle], Awaitable[None]]) -> None:
    life = Lifecycle()
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        if life.stopping:
            log.warning("a second signal: ending at once", extra={"signal": name})
            os._exit(130)
        log.info("stopping", extra={"signal": name})
        life.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    await life.run(main)
