"""Consumes a queue of events: long polls, bounded concurrency, and one of four outcomes for each message.

- handled: the message is deleted, and not before;
- unknown: no handler for its event type; it is deleted and counted;
- dead: it can never be handled (malformed, InvalidArgument), or has failed five times; it is sent to the dead-letter
  queue with the reason;
- postponed: it can't be handled now; it is hidden, for longer each time, and received again.

Delivery is at least once and in any order: handlers compare versions.

Users share the consumer fairly: messages are received ahead of what is handled, wait in one line for each user, and are
handed out to the handlers user by user in turn. So one user's import delays the single write of another by one handler
at most, as long as the line of the import fits into memory (docs/adr/0076).

A batch handler gets the events that wait in a user's line together. While its call runs, the next ones gather, so a
batch is as large as the backlog: one event when there is none.

Library considered: loafer has neither a breaker nor a drain that makes unfinished messages visible again.
"""

import asyncio
import contextlib
import functools
import logging
import random as _random
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Span

from shared import telemetry
from shared.errors import Brain2Error, InvalidArgument, Unavailable
from shared.events.envelope import Event
from shared.events.failures import BACKOFFS, Failures
from shared.events.handlers import BatchHandler, Handler, in_turn
from shared.events.queue import BATCH, Message, Queue
from shared.ids import Clock
from shared.resilience import foreground
from shared.resilience.background import cancel_all
from shared.resilience.breaker import Breaker, Permit, unreachable
from shared.resilience.retry import Backoff, Rng, Sleep
from shared.resilience.slices import in_slices

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

log = logging.getLogger(__name__)

# A message, and the event in it or why it has none.
Received = tuple[Message, Event | InvalidArgument]

# Messages that are received ahead at most, and the bytes of their bodies above which no more are received.
AHEAD = 10_000
# Further receivers for each one, which poll only while the queue gives full batches.
_HELPERS = 2
# How long a drain waits for the answers of calls that receive.
_ANSWER_SECONDS = 1.0
# Messages beyond this place in a user's line wait for long: they are hidden for so many times longer, and extended less
# often. Were the process killed, they would come back so much later.
_NEAR = 1_000
_FAR_TIMES = 4
_EXTENDED_AT_ONCE = 80
_AHEAD_BYTES = 32 * 1024 * 1024
# Traces that the span of a batch is linked to at most.
_MOST_LINKED = 100
# The characters of a traceparent that name the trace: version and trace id.
_TRACE = 35
# Characters that XML 1.0 does not allow; SQS refuses them in an attribute.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Consumer:
    """`supervise("consumer", consumer.run())` and `on_drain(consumer.drain)`.

    handlers: event type -> what handles its events. A function of one event runs in the trace of the event. Event types
        with the same BatchHandler are handled together, in their trace; a batch of events of several traces has a trace
        of its own, which is linked to theirs.
    concurrency: calls of handlers at once, at most; those for one user: a quarter of it, at most.
    ahead: messages that are received and wait for a handler, at most.
    receivers: long polls at once. While the queue gives full batches, three times as many calls receive from it, so
        that what waits there soon waits here, in one line for each user.
    wait_seconds: how long a poll waits for the first message.
    visibility: seconds for which a message is hidden from other consumers; extended at half of it, while in flight.
    handler_timeout: seconds that one call of a handler may take.
    backoffs: see shared/events/failures.py.
    permanent: errors after which another try can't help.
    breaker: stops receiving while the handlers' dependencies are down, so that messages keep their receives.
    counts: received, handled, unknown, dead, postponed.
    """

    def __init__(
        self,
        sqs_client: "SQSClient",
        queue_url: str,
        handlers: Mapping[str, Handler | BatchHandler],
        *,
        service: str,
        dlq_url: str,
        clock: Clock,
        concurrency: int = 32,
        ahead: int = AHEAD,
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
        self._per_user = max(1, concurrency // 4)
        self._handlers = {
            type: each if isinstance(each, BatchHandler) else in_turn(each, most=1, at_once=self._per_user)
            for type, each in handlers.items()
        }
        self._service = service
        self._dlq_url = dlq_url
        self._clock = clock
        self._concurrency = concurrency
        self._ahead = ahead
        self._lines: OrderedDict[str, deque[Received]] = OrderedDict()
        self._waiting_bytes = 0
        self._busy: Counter[str] = Counter()
        # Calls of each batch handler that run for each user.
        self._batches: Counter[tuple[str, int]] = Counter()
        self._receivers = receivers
        self._wait_seconds = wait_seconds
        self._visibility = visibility
        self._handler_timeout = handler_timeout
        self._failures = Failures(backoffs)
        self._permanent = permanent
        self._breaker = breaker or Breaker(f"{service} handlers", clock, failures=10, is_failure=unreachable)
        self._sleep = sleep
        self._rng = rng
        self._backoff = Backoff(base=0.2, cap=10.0)
        self._queue = Queue(sqs_client, queue_url, visibility=visibility, backoff=self._backoff, sleep=sleep, rng=rng)
        self._in_flight: set[Message] = set()
        self._tasks: dict[asyncio.Task[None], list[Message]] = {}
        self._reserved = 0
        self._room = asyncio.Event()
        self._receiving: list[asyncio.Task[None]] = []
        # Those of them whose call was sent.
        self._asking: set[asyncio.Task[None]] = set()
        # Set while the last receive filled its batch: more messages wait in the queue.
        self._behind = asyncio.Event()
        self._draining = False
        self._stopped = asyncio.Event()
        self.counts: Counter[str] = Counter()
        # Seconds: the greatest age of an event whose handling began since the last call of lag().
        self._lag = 0.0

    @property
    def in_flight(self) -> int:
        """Messages that are being handled, or that wait for their turn or for the breaker."""
        return len(self._in_flight)

    @property
    def breaker(self) -> Breaker:
        """The breaker of the handlers."""
        return self._breaker

    def lag(self) -> float:
        """The greatest age, in seconds, of an event whose handling began since the last call, or that is in flight.

        0 when there was none.
        """
        now = self._clock.now_ms()
        waiting = [(now - message.event_ms) / 1000 for message in self._in_flight if message.event_ms is not None]
        lag, self._lag = max(self._lag, *waiting, 0.0), 0.0
        return lag

    async def depth(self) -> dict[str, int]:
        """About how many messages the queue holds: visible, in_flight, delayed."""
        return await self._queue.depth()

    async def dead_letters(self) -> int:
        """About how many messages the dead-letter queue holds."""
        return sum((await self._queue.depth(self._dlq_url)).values())

    async def run(self) -> None:
        """Receive and handle until drain(). Cancelled, it stops at once, and messages in flight are received again."""
        if self._draining:
            return
        loop = asyncio.get_running_loop()
        helpers = [
            loop.create_task(self._queue.run_deleter(), name="sqs-deleter"),
            loop.create_task(self._heartbeat(), name="sqs-heartbeat"),
        ]
        self._receiving = [
            loop.create_task(self._receive(helps=n >= self._receivers), name=f"sqs-receiver-{n}")
            for n in range(self._receivers * (1 + _HELPERS))
        ]
        stopped = loop.create_task(self._stopped.wait())
        try:
            watched: set[asyncio.Task[Any]] = {stopped, *helpers, *self._receiving}
            while not stopped.done():
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not task.cancelled() and (error := task.exception()) is not None:
                        raise error
        finally:
            await cancel_all([stopped, *helpers, *self._receiving, *self._tasks])

    async def drain(self, timeout: float = 10.0) -> None:
        """Receive no more, finish what is handled within `timeout` seconds, make the other messages visible at once."""
        self._draining = True
        ends = asyncio.get_running_loop().time() + timeout
        for task in self._receiving:
            # While messages wait in the queue, a call that was sent is being answered with some of them: cancelled, it
            # would leave them hidden. Without a backlog, it is a long poll.
            if task not in self._asking or not self._behind.is_set():
                task.cancel()
        if self._receiving:
            await asyncio.wait(self._receiving, timeout=min(timeout, _ANSWER_SECONDS))
        await cancel_all(self._receiving)
        waiting = [message for line in self._lines.values() for message, _ in line]
        self._lines.clear()
        self._in_flight.difference_update(waiting)
        await self._queue.hide(dict.fromkeys(waiting, 0))
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=max(0.0, ends - asyncio.get_running_loop().time()))
        unfinished = dict(self._tasks)
        await cancel_all(unfinished)
        # A message that has left _in_flight was handled in the last moment: it is deleted, not given back.
        unhandled = [message for messages in unfinished.values() for message in messages if message in self._in_flight]
        await self._queue.hide(dict.fromkeys(unhandled, 0))
        self._in_flight.clear()
        if not self._stopped.is_set() and self._receiving:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(timeout, 1.0)):
                    await self._queue.deleted()
        self._stopped.set()

    async def _receive(self, *, helps: bool) -> None:
        """Receive until the drain. helps: only while messages wait in the queue, and without waiting for one."""
        me: Any = asyncio.current_task()
        attempt = 0
        while not self._draining:
            if helps:
                await self._behind.wait()
            most = await self._reserve()
            try:
                await foreground.turn()
                self._asking.add(me)
                found = await self._queue.receive(most, 0 if helps else self._wait_seconds)
                attempt = 0
                if len(found) == BATCH:
                    self._behind.set()
                elif len(found) < most:
                    self._behind.clear()
            except Brain2Error as error:
                found = []
                log.warning("events can't be received now", extra={"error": str(error)})
                attempt += 1
                self._behind.clear()
            finally:
                self._asking.discard(me)
                self._reserved -= most
                self._room.set()
            arrived = iter(found)
            try:
                await in_slices(self._queue_up, arrived)
            finally:
                for message in arrived:  # cancelled by drain(), which gives them back
                    self._queue_up(message)
            self._hand_out()
            if attempt:
                await self._sleep(self._backoff.delay(attempt, self._rng))

    async def _reserve(self) -> int:
        """Wait until the breaker and the concurrency allow messages; the number of messages to ask for."""
        while True:
            state = self._breaker.state
            if state == "open":
                await self._sleep(self._breaker.retry_after)
                continue
            # Half open, one message at a time is enough to find out.
            limit = self._concurrency + self._ahead if state == "closed" else 1
            if self._waiting_bytes > _AHEAD_BYTES:
                limit = 0
            free = limit - self._reserved - len(self._in_flight)
            if free > 0:
                most = min(BATCH, free)
                self._reserved += most
                return most
            self._room.clear()
            await self._room.wait()

    def _queue_up(self, message: Message) -> None:
        self.counts["received"] += 1
        message.extend_at = self._clock.monotonic() + self._visibility / 2
        self._in_flight.add(message)
        user_id = ""
        found: Event | InvalidArgument
        try:
            found = Event.from_body(message.body)
            user_id, message.event_ms = found.user_id, found.time_ms
        except InvalidArgument as error:
            found = error
        self._lines.setdefault(user_id, deque()).append((message, found))
        self._waiting_bytes += len(message.body)

    def _hand_out(self) -> None:
        """Give waiting messages to handlers, one call for each user in turn."""
        while len(self._tasks) < self._concurrency and not self._draining:
            user_id = next((each for each in self._lines if self._may_begin(each)), None)
            if user_id is None:
                return
            group, handler = self._take(user_id)
            self._lines.move_to_end(user_id)
            if not self._lines[user_id]:
                del self._lines[user_id]
            running = (user_id, id(handler))
            self._busy[user_id] += 1
            self._batches[running] += 1
            task = asyncio.get_running_loop().create_task(self._process(group, handler))
            self._tasks[task] = [message for message, _ in group]
            task.add_done_callback(functools.partial(self._finished, running))

    def _may_begin(self, user_id: str) -> bool:
        """Whether the first message in the user's line may be handled now."""
        handler = self._handler_of(self._lines[user_id][0])
        most = self._per_user if handler is None else min(self._per_user, handler.at_once)
        return self._busy[user_id] < self._per_user and self._batches[user_id, id(handler)] < most

    def _handler_of(self, received: Received) -> BatchHandler | None:
        event = received[1]
        return self._handlers.get(event.type) if isinstance(event, Event) else None

    def _take(self, user_id: str) -> tuple[list[Received], BatchHandler | None]:
        """Remove what one call of a handler gets from the user's line: its first events, each of another note.

        A message that may have ended processes is handled alone, so that it does not take a batch with it again.
        """
        line = self._lines[user_id]
        handler = self._handler_of(line[0])
        # While the breaker is not closed, one event is enough to find out.
        most = handler.most if handler is not None and self._breaker.state == "closed" else 1
        if self._failures.is_suspect(line[0][0]):
            most = 1
        group: list[Received] = []
        nodes: set[str] = set()
        while line and len(group) < most and self._handler_of(line[0]) is handler:
            message, event = line[0]
            if group and self._failures.is_suspect(message):
                break
            if isinstance(event, Event):
                if event.node_id in nodes:
                    break
                nodes.add(event.node_id)
            group.append(line.popleft())
            self._waiting_bytes -= len(message.body)
        return group, handler

    def _finished(self, running: tuple[str, int], task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._busy -= Counter([running[0]])
        self._batches -= Counter([running])
        self._hand_out()
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("messages could not be processed, they will be received again", exc_info=error)

    async def _process(self, group: Sequence[Received], handler: BatchHandler | None) -> None:
        """Handle messages that have the same handler; those without one are not of one kind, so each comes alone."""
        try:
            if handler is not None:
                await self._handle([(message, event) for message, event in group if isinstance(event, Event)], handler)
                return
            for message, event in group:
                if isinstance(event, InvalidArgument):
                    await self._send_to_dead_letters(message, event, "")
                else:
                    self.counts["unknown"] += 1
                    self._delete(message)
        finally:
            if not self._draining:
                self._in_flight.difference_update(message for message, _ in group)

    async def _handle(self, group: Sequence[tuple[Message, Event]], handler: BatchHandler) -> None:
        events = [event for _, event in group]
        await foreground.turn()
        with await self._permit() as permit:
            self._lag = max(self._lag, (self._clock.now_ms() - min(event.time_ms for event in events)) / 1000)
            with _span(group) as span:
                errors = await handler.errors(events, self._handler_timeout)
                for failure in errors.values():
                    telemetry.mark_failed(span, failure)
            permit.end(not any(unreachable(error) for error in errors.values()))
        waits: dict[Message, float] = {}
        for message, event in group:
            error = errors.get(event.id)
            if error is None:
                self.counts["handled"] += 1
                self._delete(message)
            elif isinstance(error, self._permanent):
                await self._send_to_dead_letters(message, error, event.type)
            else:
                wait = self._failed(message, event, error)
                if self._failures.are_enough(message):
                    await self._send_to_dead_letters(message, error, event.type)
                else:
                    waits[message] = wait
        await self._hide(waits)

    async def _permit(self) -> Permit:
        """Wait until the breaker lets a message through. Meanwhile the message stays in flight and hidden."""
        while True:
            try:
                return self._breaker.enter()
            except Unavailable as error:
                await self._sleep(max(error.retry_after or 0.0, 0.05))

    def _delete(self, message: Message) -> None:
        self._in_flight.discard(message)
        self._failures.forget(message)
        self._queue.delete_soon(message)

    async def _send_to_dead_letters(self, message: Message, error: Exception, event_type: str) -> None:
        reason = error.reason if isinstance(error, Brain2Error) else type(error).__name__
        attributes = {
            "reason": reason,
            "error": _NOT_XML.sub("?", str(error))[:500],
            "type": _NOT_XML.sub("?", event_type)[:200],
            "service": self._service,
        }
        log.error("an event is sent to the dead-letter queue", extra={**attributes, "message_id": message.id})
        try:
            await self._queue.send_to_dead_letters(self._dlq_url, message, attributes)
        except Brain2Error as failure:
            # It is received again and sent again; after its last receive SQS moves it there itself.
            log.warning("the dead-letter queue can't be reached", extra={"error": str(failure)})
            await self._hide({message: self._failures.add(message, failure)})
            return
        self.counts["dead"] += 1
        self._delete(message)

    def _failed(self, message: Message, event: Event, error: Exception) -> float:
        """Note that an event can't be handled now; the seconds for which its message is hidden then."""
        known = isinstance(error, Brain2Error | TimeoutError | OSError)
        log.warning(
            "an event can't be handled now",
            extra={"type": event.type, "event_id": event.id, "receives": message.receives, "error": repr(error)},
            exc_info=None if known else error,
        )
        return self._failures.add(message, error)

    async def _hide(self, waits: Mapping[Message, float]) -> None:
        self.counts["postponed"] += len(waits)
        # Taken out first, because the heartbeat would extend the visibility that is set here.
        self._in_flight.difference_update(waits)
        await self._queue.hide({message: wait * (1 + self._rng.random() / 5) for message, wait in waits.items()})

    async def _heartbeat(self) -> None:
        """Extend the visibility of all messages in flight when it is due."""
        while True:
            await self._sleep(self._visibility / 4)
            now = self._clock.monotonic()
            far = {message for line in self._lines.values() for message, _ in islice(line, _NEAR, None)}
            due = [message for message in self._in_flight if message.extend_at <= now]
            for messages, seconds in (
                ([message for message in due if message not in far], self._visibility),
                ([message for message in due if message in far], self._visibility * _FAR_TIMES),
            ):
                for at in range(0, len(messages), _EXTENDED_AT_ONCE):
                    # What was handled meanwhile may have been hidden for another time.
                    still = [each for each in messages[at : at + _EXTENDED_AT_ONCE] if each in self._in_flight]
                    for message in still:
                        message.extend_at = now + seconds / 2
                    await self._queue.hide(dict.fromkeys(still, seconds))


def _span(group: Sequence[tuple[Message, Event]]) -> AbstractContextManager[Span]:
    """The span in which events are handled: it continues their trace; if they have several, it is linked to them."""
    message, event = group[0]
    if len(group) == 1:
        attributes = _attributes(message, event) if telemetry.is_sampled(event.traceparent) else None
        return telemetry.span(f"process {event.type}", kind="consumer", carrier=event.carrier, attributes=attributes)
    types = {each.type for _, each in group}
    one_trace = len({each.traceparent[:_TRACE] for _, each in group}) == 1
    return telemetry.span(
        f"process {event.type}" if len(types) == 1 else "process events",
        kind="consumer",
        carrier=event.carrier if one_trace else None,
        links=[each.carrier for _, each in group[:_MOST_LINKED] if telemetry.is_sampled(each.traceparent)],
        attributes={
            "messaging.system": "aws_sqs",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.batch.message_count": len(group),
        },
        root=not one_trace,
    )


def _attributes(message: Message, event: Event) -> dict[str, str | int]:
    return {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": event.id,
        "brain2.receives": message.receives,
        "brain2.version": event.version,
    }
