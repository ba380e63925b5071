"""Hears a queue of events: long polls, bounded concurrency, and for each message one of four ends.

Handled: deleted, but only then. Of no use here (unknown type): deleted and counted. Never going to work (unparseable,
InvalidArgument): to the dead-letter queue with its reason. Not working now: back on the queue, for longer each time.
Delivery is at least once and in any order: handlers compare versions.
"""

import asyncio
import contextlib
import logging
import random as _random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared import telemetry
from shared.errors import Brain2Error, InvalidArgument
from shared.events.envelope import Event
from shared.events.queue import TEN, Message, Queue
from shared.ids import Clock
from shared.resilience.breaker import Breaker, Permit, unreachable
from shared.resilience.retry import Backoff, Rng, Sleep

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

log = logging.getLogger(__name__)

Handler = Callable[[Event], Awaitable[None]]

# Seconds that a message is put back for after its first, second ... failure. After the fifth, SQS moves it to the
# dead-letter queue (maxReceiveCount): these give an outage more than five minutes.
BACKOFFS = (2.0, 10.0, 60.0, 240.0, 240.0)
# XML 1.0 has no place for these, and SQS refuses them in an attribute.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Consumer:
    """`supervise("consumer", consumer.run())` and `on_drain(consumer.drain)`.

    handlers: event type -> what to do; it is called in the event's trace, up to `concurrency` at once, each for at most
    handler_timeout seconds. visibility: seconds a message is hidden from others; extended at half of it while the
    work goes on. permanent: errors that another try won't mend.

    When the handlers' dependencies are down, a breaker stops receiving, so that messages aren't used up by trying.
    counts: received, handled, unknown, dead, postponed.
    """

    def __init__(
        self,
        sqs_client: "SQSClient",
        queue_url: str,
        handlers: Mapping[str, Handler],
        *,
        service: str,
        dlq_url: str,
        clock: Clock,
        concurrency: int = 32,
        receivers: int = 2,
        wait_seconds: int = 20,
        visibility: float = 30.0,
        handler_timeout: float = 300.0,
        backoffs: Sequence[float] = BACKOFFS,
        permanent: tuple[type[Exception], ...] = (InvalidArgument,),
        breaker: Breaker | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: Rng = _random,
    ) -> None:
        self._handlers = handlers
        self._service = service
        self._dlq_url = dlq_url
        self._clock = clock
        self._concurrency = concurrency
        self._receivers = receivers
        self._wait_seconds = wait_seconds
        self._visibility = visibility
        self._handler_timeout = handler_timeout
        self._backoffs = backoffs
        self._permanent = permanent
        self._breaker = breaker or Breaker(f"{service} handlers", clock, failures=10, is_failure=unreachable)
        self._sleep = sleep
        self._rng = rng
        self._backoff = Backoff(base=0.2, cap=10.0)
        self._queue = Queue(sqs_client, queue_url, visibility=visibility, backoff=self._backoff, sleep=sleep, rng=rng)
        self._in_hand: set[Message] = set()
        self._tasks: dict[asyncio.Task[None], Message] = {}
        self._reserved = 0
        self._room = asyncio.Event()
        self._receiving: list[asyncio.Task[None]] = []
        self._draining = False
        self._stopped = asyncio.Event()
        self.counts: Counter[str] = Counter()
        # The greatest age of an event taken up since lag() was last called, seconds.
        self._lag = 0.0

    @property
    def in_flight(self) -> int:
        """Messages in hand: being handled, or waiting for their dependency."""
        return len(self._in_hand)

    @property
    def breaker(self) -> Breaker:
        """Whether what the handlers need answers."""
        return self._breaker

    def lag(self) -> float:
        """How far behind the events this process is, seconds: the greatest age of one that was taken up since the last
        call or is still in hand; 0 when nothing came."""
        now = self._clock.now_ms()
        waiting = [(now - message.event_ms) / 1000 for message in self._in_hand if message.event_ms is not None]
        lag, self._lag = max(self._lag, *waiting, 0.0), 0.0
        return lag

    async def depth(self) -> dict[str, int]:
        """About how many messages the queue holds: visible, in_flight, delayed."""
        return await self._queue.depth()

    async def dead_letters(self) -> int:
        """About how many messages the dead-letter queue holds."""
        return sum((await self._queue.depth(self._dlq_url)).values())

    async def run(self) -> None:
        """Receive and handle until drain(). Cancelled, it stops at once; what was in hand comes back by itself."""
        if self._draining:
            return
        loop = asyncio.get_running_loop()
        helpers = [
            loop.create_task(self._queue.run_deleter(), name="sqs-deleter"),
            loop.create_task(self._keep_hidden(), name="sqs-heartbeat"),
        ]
        self._receiving = [loop.create_task(self._receive(), name=f"sqs-receiver-{n}") for n in range(self._receivers)]
        stopped = loop.create_task(self._stopped.wait())
        try:
            watched: set[asyncio.Task[Any]] = {stopped, *helpers, *self._receiving}
            while not stopped.done():
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not task.cancelled() and (error := task.exception()) is not None:
                        raise error
        finally:
            everything = [stopped, *helpers, *self._receiving, *self._tasks]
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def drain(self, timeout: float = 10.0) -> None:
        """Receive no more, finish what is in hand within `timeout` seconds, give the rest back at once."""
        self._draining = True
        for task in self._receiving:
            task.cancel()
        await asyncio.gather(*self._receiving, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout)
        unfinished = dict(self._tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        # One that was handled in the last instant has left _in_hand: it must be deleted, not given back.
        await self._queue.extend([message for message in unfinished.values() if message in self._in_hand], 0)
        self._in_hand.clear()
        if not self._stopped.is_set() and self._receiving:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(timeout, 1.0)):
                    await self._queue.deleted()
        self._stopped.set()

    async def _receive(self) -> None:
        attempt = 0
        while not self._draining:
            most = await self._reserve()
            try:
                found = await self._queue.receive(most, self._wait_seconds)
                attempt = 0
            except Brain2Error as error:
                found = []
                log.warning("can't receive events now", extra={"error": str(error)})
                attempt += 1
            finally:
                self._reserved -= most
                self._room.set()
            for message in found:
                self._start(message)
            if attempt:
                await self._sleep(self._backoff.delay(attempt, self._rng))

    async def _reserve(self) -> int:
        """Wait for room, and until the breaker lets something through; how many messages to ask for."""
        while True:
            state = self._breaker.state
            if state == "open":
                await self._sleep(self._breaker.retry_after)
                continue
            # Half open, one message at a time is enough to find out.
            limit = self._concurrency if state == "closed" else 1
            free = limit - self._reserved - len(self._in_hand)
            if free > 0:
                most = min(TEN, free)
                self._reserved += most
                return most
            self._room.clear()
            await self._room.wait()

    def _start(self, message: Message) -> None:
        self.counts["received"] += 1
        message.extend_at = self._clock.monotonic() + self._visibility / 2
        self._in_hand.add(message)
        task = asyncio.get_running_loop().create_task(self._process(message))
        self._tasks[task] = message
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a message could not be settled, it will come again", exc_info=error)

    async def _process(self, message: Message) -> None:
        try:
            try:
                event = Event.from_body(message.body)
            except InvalidArgument as error:
                await self._bury(message, error, "")
                return
            message.event_ms = event.time_ms
            handler = self._handlers.get(event.type)
            if handler is None:
                self.counts["unknown"] += 1
                self._settle(message)
                return
            await self._handle(message, event, handler)
        finally:
            if not self._draining:
                self._in_hand.discard(message)

    async def _handle(self, message: Message, event: Event, handler: Handler) -> None:
        permit = await self._admitted()
        ok: bool | None = None
        try:
            self._lag = max(self._lag, (self._clock.now_ms() - event.time_ms) / 1000)
            with telemetry.span(
                f"process {event.type}",
                kind="consumer",
                carrier=event.carrier,
                attributes=_attributes(message, event) if telemetry.is_sampled(event.traceparent) else None,
            ):
                async with asyncio.timeout(self._handler_timeout):
                    await handler(event)
            ok = True
        except self._permanent as error:
            ok = True
            self._breaker.exit(permit, ok)
            await self._bury(message, error, event.type)
        except Exception as error:
            ok = not unreachable(error)
            self._breaker.exit(permit, ok)
            await self._postpone(message, event, error)
        else:
            self.counts["handled"] += 1
            self._settle(message)
            self._breaker.exit(permit, ok)
        finally:
            if ok is None:
                self._breaker.exit(permit, None)

    async def _admitted(self) -> Permit:
        """Wait until the breaker lets a message through: one in hand is kept, not used up, while all is down."""
        while True:
            try:
                return self._breaker.enter()
            except Brain2Error as error:
                await self._sleep(max(error.retry_after or 0.0, 0.05))

    def _settle(self, message: Message) -> None:
        self._in_hand.discard(message)
        self._queue.delete_soon(message)

    async def _bury(self, message: Message, error: Exception, event_type: str) -> None:
        reason = error.reason if isinstance(error, Brain2Error) else type(error).__name__
        attributes = {
            "reason": reason,
            "error": _UNSPEAKABLE.sub("?", str(error))[:500],
            "type": _UNSPEAKABLE.sub("?", event_type)[:200],
            "service": self._service,
        }
        log.error("an event goes to the dead-letter queue", extra={**attributes, "message_id": message.id})
        try:
            await self._queue.bury(self._dlq_url, message, attributes)
        except Brain2Error as failure:
            # Then SQS will bury it, after its last receive.
            log.warning("can't reach the dead-letter queue", extra={"error": str(failure)})
            await self._put_back(message)
            return
        self.counts["dead"] += 1
        self._settle(message)

    async def _postpone(self, message: Message, event: Event, error: Exception) -> None:
        known = isinstance(error, Brain2Error | TimeoutError | OSError)
        log.warning(
            "an event can't be handled now, it comes again",
            extra={"type": event.type, "event_id": event.id, "receives": message.receives, "error": repr(error)},
            exc_info=None if known else error,
        )
        await self._put_back(message)

    async def _put_back(self, message: Message) -> None:
        self.counts["postponed"] += 1
        # No longer in hand before the wait: the heartbeat must not stretch what is being set here.
        self._in_hand.discard(message)
        wait = self._backoffs[min(message.receives, len(self._backoffs)) - 1]
        await self._queue.extend([message], wait * (1 + self._rng.random() / 5))

    async def _keep_hidden(self) -> None:
        """One heartbeat for all that is in hand."""
        while True:
            await self._sleep(self._visibility / 4)
            now = self._clock.monotonic()
            due = [message for message in self._in_hand if message.extend_at <= now]
            if due:
                await self._queue.extend(due, self._visibility)
                for message in due:
                    message.extend_at = now + self._visibility / 2


def _attributes(message: Message, event: Event) -> dict[str, str | int]:
    return {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.message.id": event.id,
        "brain2.receives": message.receives,
        "brain2.version": event.version,
    }
