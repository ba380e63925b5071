"""The transactional outbox: an event is an item in the write's own transaction, so it exists if and only if the write
does. Publishing follows in the background and then deletes the item; the sweeper publishes what a crash left behind.

Delivery is at least once, in any order (docs/adr/0005). Between the commit and the delete there is no instant at
which the event is held by memory alone.
"""

import asyncio
import contextlib
import logging
import random as _random
import secrets
import zlib
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from shared.dynamo import Put, Table
from shared.errors import Brain2Error, InvalidArgument
from shared.events.bus import CALL_BYTES, CALL_ENTRIES, Bus, Refused, calls, entry_bytes
from shared.events.envelope import MAX_BYTES, Event
from shared.events.sweeper import Sweeper
from shared.ids import Clock
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, Rng, Sleep

if TYPE_CHECKING:
    from types_aiobotocore_events import EventBridgeClient

log = logging.getLogger(__name__)

# What is announced beyond this is left to the sweeper: memory stays bounded while the bus is away.
_MOST_QUEUED = 10_000
_MOST_QUEUED_BYTES = 32 * 1024 * 1024
_TRIES = 3


class Outbox:
    """`async with Outbox(...)` runs `publishers` background publishers; supervise run_sweeper() beside it.

    service: "node". bus: the name or ARN of the event bus. shards: partitions of the outbox; may be raised, never
    lowered while items are left. grace: seconds after which the sweeper takes an item for left behind. period: mean
    seconds between sweeps. counts: published, refused, left (to the sweeper), overflow, swept.
    """

    def __init__(
        self,
        table: Table,
        events_client: "EventBridgeClient",
        *,
        service: str,
        bus: str,
        clock: Clock,
        shards: int = 8,
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
        self._queue: deque[Event] = deque()
        self._queued_bytes = 0
        self._mine: set[str] = set()  # announced here and not yet dealt with: the sweeper leaves them alone
        self._accepting = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._workers: list[asyncio.Task[None]] = []
        self.counts: Counter[str] = Counter()
        self._sweeper = Sweeper(
            table,
            self._bus,
            [f"OUTBOX#{service}#{shard}" for shard in range(shards)],
            owner=secrets.token_hex(8),
            clock=clock,
            grace=grace,
            period=period,
            skip=self._mine,
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
        """Events announced and not yet dealt with."""
        return len(self._mine)

    @property
    def breaker(self) -> Breaker:
        """Whether the bus answers."""
        return self._bus.breaker

    def age(self) -> float:
        """Age of the oldest event in the outbox, whichever process wrote it, at the last sweep; seconds, 0 for none."""
        return self._sweeper.age()

    def put(self, event: Event) -> Put:
        """The operation to include in the write's transaction.

        InvalidArgument (reason EVENT_TOO_LARGE) for an event that could never be published: better no write than one
        that nobody hears of.
        """
        text = event.to_json()
        if len(text) > MAX_BYTES or (not text.isascii() and len(text.encode()) > MAX_BYTES):
            raise InvalidArgument(
                f"the event {event.type} of {event.node_id} is over {MAX_BYTES} bytes", reason="EVENT_TOO_LARGE"
            )
        return Put({"PK": self.partition(event.id), "SK": event.id, "event": text, "at": event.time_ms})

    def partition(self, event_id: str) -> str:
        """The PK of an event's item."""
        # crc32 and not hash(): every process must come to the same answer.
        return f"OUTBOX#{self._service}#{zlib.crc32(event_id.encode()) % self._shards}"

    def announce(self, *events: Event) -> None:
        """After the commit: publish soon. Never blocks or fails; what doesn't fit is left to the sweeper."""
        for event in events:
            size = entry_bytes(event)
            full = len(self._queue) >= self._most_queued or self._queued_bytes + size > _MOST_QUEUED_BYTES
            if full or not self._accepting:
                self.counts["overflow"] += 1
                continue
            self._queue.append(event)
            self._queued_bytes += size
            self._mine.add(event.id)
        if self._queue:
            self._idle.clear()
            self._wake.set()

    async def sweep(self) -> int:
        """Publish what was left behind for longer than the grace; how many were. Raises when that can't be done now."""
        return await self._sweeper.sweep()

    async def run_sweeper(self) -> None:
        """Sweep for ever, at jittered intervals; a sweep that fails is logged and the next comes later."""
        await self._sweeper.run()

    async def drain(self, timeout: float = 5.0) -> None:
        """Take no more and publish what is queued, for `timeout` seconds at most; the rest is left to a sweeper."""
        self._accepting = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []
        if self._mine:
            log.warning("left events to the sweeper", extra={"events": len(self._mine)})
            self.counts["left"] += len(self._mine)
            self._queue.clear()
            self._mine.clear()

    async def _work(self) -> None:
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            batch = self._take()
            try:
                await self._settle(batch)
            except Exception:
                log.exception("publishing failed, the sweeper will do it", extra={"events": len(batch)})
            finally:
                self._mine.difference_update(event.id for event in batch)
                if not self._mine:
                    self._idle.set()

    def _take(self) -> list[Event]:
        """As much of the queue as one call holds."""
        batch: list[Event] = []
        size = 0
        while self._queue and len(batch) < CALL_ENTRIES:
            more = entry_bytes(self._queue[0])
            if batch and size + more > CALL_BYTES:
                break
            batch.append(self._queue.popleft())
            self._queued_bytes -= more
            size += more
        return batch

    async def _settle(self, batch: Sequence[Event]) -> None:
        """Publish a batch and delete what the bus took; some tries, then the sweeper's."""
        left: Sequence[Event] = batch
        refused: list[Refused] = []
        for attempt in range(_TRIES):
            if attempt:
                await self._sleep(self._backoff.delay(attempt - 1, self._rng, self._bus.breaker.retry_after))
            taken, refused = await self._bus.publish(left)
            if taken:
                self.counts["published"] += len(taken)
                await self._forget(taken)
            left = [one.event for one in refused if not one.hopeless]
            if not left:
                break
        if refused:
            self.counts["refused"] += len(refused)
            codes = dict(Counter(one.code for one in refused))
            log.warning("the bus didn't take events, the sweeper tries again", extra={"codes": codes})

    async def _forget(self, events: Sequence[Event]) -> None:
        try:
            await self._table.batch_write(deletes=[(self.partition(event.id), event.id) for event in events])
        except Brain2Error as error:
            # They will be published a second time: consumers know an event by its id and version.
            log.warning("published events are still in the outbox", extra={"error": str(error)})


__all__ = ["Outbox", "calls"]
