"""A process from start to end: signals, background tasks, and a drain that loses no accepted work.

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

The process ends in this order: the drain functions run, the last registered first, while all tasks still run; then
the supervised tasks are cancelled; then the resources are closed, the last entered first. anyio and asyncio.TaskGroup
were considered: both cancel all tasks at the first failure, which leaves no time for the drain.
"""

import asyncio
import contextlib
import faulthandler
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
from shared.resilience.background import cancel_all
from shared.workers.link import SupervisorConnection, inherited

log = logging.getLogger(__name__)
T = TypeVar("T")
Drain = Callable[[], Awaitable[object]]

# The limit of the whole drain: above any drain_seconds, and below the pod's termination grace period.
_DRAIN_SECONDS = 60.0
# A process that has not ended so long after that limit is ended: something holds the event loop, or ignores the limit.
_END_SECONDS = 10.0
_CONFIG_EXIT = 2


class Crashed(Exception):
    """A background task ended with an error, and therefore the process ends."""


class Lifecycle:
    """The resources, tasks and drain functions of a process. A service's main() registers them.

    link: of a worker, to its supervisor (shared/workers); None in a process that has none.
    """

    def __init__(self, link: SupervisorConnection | None = None) -> None:
        self.link = link
        self._stack = contextlib.AsyncExitStack()
        self._drains: list[Drain] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stop = asyncio.Event()
        self._ready = False
        self.failure: BaseException | None = None

    async def enter(self, acm: AbstractAsyncContextManager[T]) -> T:
        """Open a resource, which is closed after the drain. Returns what the resource's context manager gives."""
        return await self._stack.enter_async_context(acm)

    def supervise(self, name: str, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a task beside main(). It may return; if it raises, the process drains and ends with exit code 1."""
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def on_drain(self, async_fn: Drain) -> None:
        """Call async_fn() when the process is to end, before anything is closed."""
        self._drains.append(async_fn)

    async def wait_for_stop(self) -> None:
        """Serve until a signal comes or a supervised task crashes."""
        self._ready = True
        tune_garbage_collection()
        log.info("serving")
        if self.link is not None:
            self.link.serving()
        await self._stop.wait()

    def stop(self) -> None:
        """End the process as a signal would."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    async def close(self) -> None:
        """Drain, cancel tasks, close resources. A step that fails is logged, and the other steps still run."""
        self._stop.set()
        for drain in reversed(self._drains):
            await self._step("drain", drain())
        await cancel_all(self._tasks)
        await self._step("close", self._stack.aclose())

    async def run(
        self, main: Callable[["Lifecycle"], Awaitable[None]], stopping: Callable[[], None] = lambda: None
    ) -> None:
        """Run main() until it returns or the process is to stop, then close(). Raises what main or a task raised.

        stopping: called when the process begins to end.
        """
        running = asyncio.ensure_future(main(self))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopping()
            if not self._ready:
                await cancel_all((running,))  # stopped before the start was complete
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
            log.exception("a step of the shutdown failed", extra={"step": what})
            self.failure = self.failure or error

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("a background task crashed", extra={"task": task.get_name()}, exc_info=error)
        if self.failure is None:
            self.failure = Crashed(f"the background task {task.get_name()!r} crashed: {type(error).__name__}: {error}")
        self._stop.set()


def tune_garbage_collection() -> None:
    """Set the collector for a process that serves: once, when its start has made what lives as long as it does."""
    # The objects of the start live as long as the process: collections leave them out.
    # A collection holds the loop for as long as the young objects take, 0.5 us each, and a call leaves about twenty.
    # Many small collections take no more time in all than few large ones; with 10,000 objects each held the loop for
    # 5 ms, and one in five for 15 ms. What survives is moved to the oldest generation soon, because a collection visits
    # each item of a large cache that is still in a younger one. The oldest is collected once in five million objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000, 4, 1_000)


def run(main: Callable[[Lifecycle], Awaitable[None]]) -> NoReturn:
    """Run a service's main() on uvloop until SIGTERM or SIGINT, and exit. Load the configuration inside main().

    Exit codes: 0 after a signal; 1 when main, a supervised task or the drain failed; 2 when the config is wrong
    (printed, one variable a line). A second signal ends the process at once.
    """
    try:
        uvloop.run(_main(main))
    except ConfigError as error:
        exit_misconfigured(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except (Crashed, OSError) as error:
        # The message is enough: a crash is logged with its traceback already, and an OSError is about the environment.
        log.error("the service ends: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("the service ends")
        sys.exit(1)
    sys.exit(0)


def exit_misconfigured(error: ConfigError) -> NoReturn:
    """Print what is wrong with the configuration, one variable a line, and exit."""
    print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
    sys.exit(_CONFIG_EXIT)


async def _main(main: Callable[[Lifecycle], Awaitable[None]]) -> None:
    link = inherited()
    life = Lifecycle(link)
    loop = asyncio.get_running_loop()
    if link is not None:
        life.supervise("supervisor", _follow(link, life))
        # A terminal or a service manager signals all processes at once, and the supervisor passes the signal on: to be
        # told twice means nothing here. The supervisor kills its workers when they are to end at once.
        loop.add_signal_handler(signal.SIGTERM, life.stop)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        await life.run(main, _end_in_time)
        return

    def stop(name: str) -> None:
        if life.stopping:
            log.warning("a second signal: the process ends at once", extra={"signal": name})
            os._exit(130)
        log.info("stopping", extra={"signal": name})
        life.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    await life.run(main, _end_in_time)


def _end_in_time() -> None:
    """Let a thread end the process with code 1 when it takes too long, and write first where all threads are."""
    faulthandler.dump_traceback_later(_DRAIN_SECONDS + _END_SECONDS, exit=True)


async def _follow(link: SupervisorConnection, life: Lifecycle) -> None:
    await link.run()
    if not life.stopping:
        log.error("the supervisor has ended; this worker ends, too")
        life.stop()
