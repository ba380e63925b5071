"""A private event loop in a thread of its own, for the synchronous client."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from .errors import Cancelled

T = TypeVar("T")
_END = object()


class Loop:
    """Runs coroutines for callers that have no event loop. It may be used from several threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # Held to begin a call and to close: no call begins on a loop that stops, and would never end.
        self._lock = threading.Lock()
        self._is_open = True
        self._thread = threading.Thread(target=self._loop.run_forever, name="brain2", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the coroutine. KeyboardInterrupt cancels it.

        Errors: Cancelled (CLIENT_CLOSED): the loop was closed, before or during the call.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the synchronous client can't be used from its own event loop")
        with self._lock:
            if not self._is_open:
                work.close()
                raise Cancelled("the client is closed", reason="CLIENT_CLOSED")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Cancelled("the client was closed during the call", reason="CLIENT_CLOSED") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """The items of the asynchronous iterator; one is asked for when it is needed."""
        try:
            while (item := self.run(_next(source))) is not _END:
                yield item
        finally:
            # A loop that was closed has ended the iterator with all that it still did.
            with contextlib.suppress(Cancelled):
                self.run(_close(source))

    def close(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        """Run the last coroutine, cancel what still runs, stop the loop and wait for its thread. Again it does nothing.

        Calls of other threads that still wait fail with Cancelled.
        """
        with self._lock:
            was_open, self._is_open = self._is_open, False
        if not was_open:
            if last is not None:
                last.close()
            return
        try:
            asyncio.run_coroutine_threadsafe(_end(last), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _end(last: Coroutine[Any, Any, None] | None) -> None:
    if last is not None:
        await last
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


async def _next(source: AsyncIterator[T]) -> Any:
    return await anext(source, _END)


async def _close(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
