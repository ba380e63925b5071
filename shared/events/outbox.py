"""The transactional outbox: an event is an item of the write's own transaction, so it exists if and only if the write
does. Background publishers publish it and then delete the item; the sweeper publishes what they did not.

Delivery is at least once, in any order. Users share the publishers fairly: their events are published in turn, so that
one user's import delays another one's event by a batch at most.

docs/outbox.md has the states of an event and the invariants.

Library considered: none for DynamoDB; DynamoDB Streams with EventBridge Pipes was (docs/adr/0005).
"""

import asyncio
import contextlib
import logging
import random as _random
import secrets
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from protos.table import OUTBOX_SHARDS, outbox_partition, outbox_shard
from shared.dynamo import Put, Table
from shared.errors import Brain2Error, InvalidArgument, Unavailable
from shared.events.bus import CALL_BYTES, CALL_ENTRIES, Bus, Refused, entry_bytes
from shared.events.envelope import MAX_BYTES, Event
from shared.events.lines import Lines
from shared.events.stored import event_item
from shared.events.sweeper import Sweeper
from shared.ids import Clock
from shared.resilience import foreground
from shared.resilience.background import cancel_all
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, Rng, Sleep, retry

if TYPE_CHECKING:
    from types_aiobotocore_events import EventBridgeClient

log = logging.getLogger(__name__)

# Events beyond these bounds are left to the sweeper, so that memory stays bounded while the bus is unavailable.
_MOST_QUEUED = 10_000
_MOST_QUEUED_BYTES = 32 * 1024 * 1024
_ATTEMPTS = 3


class Outbox:
    """`async with Outbox(...)` runs `publishers` background publishers; supervise run_sweeper() beside it.

    service: for example "node".
    bus: the name or ARN of the event bus.
    shards: partitions of the outbox; it may be raised, but not be lowered while items are left.
    grace: seconds after which the sweeper publishes an item.
    period: mean seconds between sweeps.
    most_queued: events announced and not yet published. What is beyond is left to the sweeper, first of the user who
        has most of them.
    counts: published, refused, left (to the sweeper at the drain), overflow, swept.
    """

    def __init__(
        self,
        table: Table,
        events_client: "EventBridgeClient",
        *,
        service: str,
        bus: str,
        clock: Clock,
        shards: int = OUTBOX_SHARDS,
        publishers: int = 2,
        grace: float = 10.0,
        period: float = 5.0,
        breaker: Breaker | None = None,
        backoff: Backoff | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: Rng = _random,
        most_queued: int = _MOST_QUEUED,
    ) -> None:
        self._table = table
        self._bus = Bus(events_client, bus, breaker or Breaker("eventbridge", clock))
        self._service = service
        self._shards = shards
        self._publishers = publishers
        self._backoff = backoff or Backoff(base=0.1, cap=5.0)
        self._sleep = sleep
        self._rng = rng
        self._most_queued = most_queued
        self._queue: Lines[Event] = Lines()
        self._queued_bytes = 0
        # Ids of events that were announced and are not yet published or given up; the sweeper skips them.
        self._in_flight: set[str] = set()
        self._accepting = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._workers: list[asyncio.Task[None]] = []
        self.counts: Counter[str] = Counter()
        self._sweeper = Sweeper(
            table,
            self._bus,
            [outbox_partition(service, shard) for shard in range(shards)],
            owner=secrets.token_hex(8),
            clock=clock,
            grace=grace,
            period=period,
            skip=self._in_flight,
            counts=self.counts,
            sleep=sleep,
            rng=rng,
        )

    async def __aenter__(self) -> "Outbox":
        self._accepting = True
        loop = asyncio.get_running_loop()
        self._workers = [loop.create_task(self._work(), name=f"outbox-{n}") for n in range(self._publishers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(timeout=0.0 if error is not None else 5.0)

    @property
    def queued(self) -> int:
        """Events that were announced and are not yet published or given up."""
        return len(self._in_flight)

    @property
    def breaker(self) -> Breaker:
        """The breaker of the calls to the bus."""
        return self._bus.breaker

    def age(self) -> float:
        """Seconds since the oldest event that the last sweep found, of any process; 0 when it found none."""
        return self._sweeper.age()

    def put(self, event: Event) -> Put:
        """The operation to include in the write's transaction.

        InvalidArgument (EVENT_TOO_LARGE) for an event above MAX_BYTES: it could never be published, so the write must
        not happen.
        """
        text = event.to_json()
        if len(text) > MAX_BYTES or (not text.isascii() and len(text.encode()) > MAX_BYTES):
            raise InvalidArgument(
                f"the event {event.type} of {event.node_id} is over {MAX_BYTES} bytes", reason="EVENT_TOO_LARGE"
            )
        return Put({"PK": self.partition(event.id), "SK": event.id, **event_item(event, text)})

    def partition(self, event_id: str) -> str:
        """The PK of an event's item."""
        return outbox_partition(self._service, outbox_shard(event_id, self._shards))

    def announce(self, *events: Event) -> None:
        """Publish soon, after the commit. Never blocks or fails: the sweeper publishes events above the bounds."""
        self._sweeper.busy()
        for event in events:
            if not self._accepting or not self._make_room(event):
                self.counts["overflow"] += 1
                continue
            self._queue.add(event.user_id, event)
            self._queued_bytes += entry_bytes(event)
            self._in_flight.add(event.id)
        if self._queue:
            self._idle.clear()
            self._wake.set()

    def _make_room(self, event: Event) -> bool:
        """Whether an event may wait; above the bounds the last ones of the longest line give way to it."""
        size = entry_bytes(event)
        while len(self._queue) >= self._most_queued or self._queued_bytes + size > _MOST_QUEUED_BYTES:
            longest = self._queue.longest()
            if self._queue.waiting(longest) <= self._queue.waiting(event.user_id) + 1:
                return False
            dropped = self._queue.drop_last(longest)
            self._queued_bytes -= entry_bytes(dropped)
            self._in_flight.discard(dropped.id)
            self.counts["overflow"] += 1
        return True

    async def sweep(self) -> int:
        """Publish what is older than the grace; the number of events. Raises the first error, after all shards."""
        return await self._sweeper.sweep()

    async def run_sweeper(self) -> None:
        """Sweep until cancelled; a sweep that fails is logged."""
        await self._sweeper.run()

    async def drain(self, timeout: float = 5.0) -> None:
        """Accept no more events, publish the queued ones for at most `timeout` seconds, leave the rest to a sweeper."""
        self._accepting = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        await cancel_all(self._workers)
        self._workers = []
        if self._in_flight:
            log.warning("left events to the sweeper", extra={"events": len(self._in_flight)})
            self.counts["left"] += len(self._in_flight)
            self._queue.clear()
            self._in_flight.clear()

    async def _work(self) -> None:
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            await foreground.turn()
            if not self._queue:
                continue  # the other publishers have taken all
            batch = self._next_batch()
            try:
                await self._publish(batch)
            except Exception:
                log.exception("publishing failed; the sweeper will publish these events", extra={"events": len(batch)})
            finally:
                self._in_flight.difference_update(event.id for event in batch)
                if not self._in_flight:
                    self._idle.set()

    def _next_batch(self) -> list[Event]:
        """Remove from the queue what one call to the bus may hold, of each user in turn."""
        batch: list[Event] = []
        size = 0
        while self._queue and len(batch) < CALL_ENTRIES:
            more = entry_bytes(self._queue.next())
            if batch and size + more > CALL_BYTES:
                break
            batch.append(self._queue.take())
            self._queued_bytes -= more
            size += more
        return batch

    async def _publish(self, batch: Sequence[Event]) -> None:
        """Publish a batch and delete what the bus took; after some attempts the rest is left to the sweeper."""
        left: Sequence[Event] = batch
        refused: list[Refused] = []

        async def publish() -> None:
            nonlocal left, refused
            taken, refused = await self._bus.publish(left)
            if taken:
                self.counts["published"] += len(taken)
                await self._delete(taken)
            left = [one.event for one in refused if not one.permanent]
            if left:
                raise Unavailable(
                    "the bus did not take events", reason="BUS_UNAVAILABLE", retry_after=self._bus.breaker.retry_after
                )

        with contextlib.suppress(Unavailable):
            await retry(publish, attempts=_ATTEMPTS, backoff=self._backoff, sleep=self._sleep, rng=self._rng)
        if refused:
            self.counts["refused"] += len(refused)
            codes = dict(Counter(one.code for one in refused))
            log.warning("the bus did not take events, the sweeper tries again", extra={"codes": codes})

    async def _delete(self, events: Sequence[Event]) -> None:
        try:
            await self._table.batch_write(deletes=[(self.partition(event.id), event.id) for event in events])
        except Brain2Error as error:
            # The sweeper publishes them a second time; consumers compare versions.
            log.warning("published events are still in the outbox", extra={"error": str(error)})
