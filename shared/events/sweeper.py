"""Publishes the events that stayed in an outbox: their process died, or the bus was unavailable (docs/outbox.md).

Every replica sweeps. A shard without old events costs one small query. Only a shard with old events is swept under a
lease, so that replicas don't do the same work. Correctness does not depend on the lease: two sweepers at once publish
duplicates, which consumers ignore.
"""

import asyncio
import logging
import random as _random
from collections import Counter
from collections.abc import Sequence, Set
from typing import Any, NoReturn

from protos.table import outbox_lease_key
from shared.dynamo import Condition, ConditionFailed, Item, Table
from shared.errors import Brain2Error, Unavailable
from shared.events.bus import Bus, Refused, calls
from shared.events.envelope import Event
from shared.events.stored import readable_event
from shared.ids import Clock
from shared.resilience.pace import IdlePace
from shared.resilience.retry import Rng, Sleep

log = logging.getLogger(__name__)

_PAGE = 100
_PARALLEL = 4
LEASE_SECONDS = 30.0
# Sweeps of an empty outbox after which others are left out, and how many of them.
_EMPTY_SWEEPS = 6
_RESTS = 7
# Calls in a row of which the bus took nothing, after which the rest of a shard waits for the next sweep. Fewer may be
# about single events that it never takes, and no other event is to wait for those.
_REFUSED_CALLS = 3


class Sweeper:
    """Sweeps the outbox of one service.

    partitions: the PKs of the shards.
    owner: who holds a lease.
    grace: seconds after which an event counts as overdue.
    period: mean seconds between sweeps.
    skip: ids of events that the publishers of this process have in flight.
    counts: published and swept are added to it.
    """

    def __init__(
        self,
        table: Table,
        bus: Bus,
        partitions: Sequence[str],
        *,
        owner: str,
        clock: Clock,
        grace: float,
        period: float,
        skip: Set[str] = frozenset(),
        counts: Counter[str] | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: Rng = _random,
    ) -> None:
        self._table = table
        self._bus = bus
        self._partitions = partitions
        self._owner = owner
        self._clock = clock
        self._grace = grace
        self._period = period
        self._skip = skip
        self._counts = counts if counts is not None else Counter()
        self._sleep = sleep
        self._rng = rng
        # PK -> when its oldest event happened, ms since 1970.
        self._oldest: dict[str, int] = {}
        self._pace = IdlePace(after=_EMPTY_SWEEPS, rests=_RESTS)

    def busy(self) -> None:
        """Events are being written: sweep in each period again."""
        self._pace.busy()

    def age(self) -> float:
        """Seconds since the oldest event that the last sweep found; 0 when there was none."""
        now = self._clock.now_ms()
        return max((max(0, now - at) / 1000 for at in self._oldest.values()), default=0.0)

    async def run(self) -> NoReturn:
        """Sweep until cancelled.

        The waits grow up to 16-fold while sweeps fail. Once the outbox has been empty for a while, and this process
        writes no events, only every eighth sweep is made.
        """
        failures = 0
        while True:
            # Between 0.5 and 1.5 periods, so that replicas drift apart.
            await self._sleep(self._period * (0.5 + self._rng.random()) * 2 ** min(failures, 4))
            if not self._pace.due():
                continue
            try:
                if found := await self.sweep():
                    log.info("published overdue events", extra={"events": found})
                self._pace.found(bool(self._oldest))
                failures = 0
            except Brain2Error as error:
                failures += 1
                log.warning("the outbox can't be swept now", extra={"error": str(error)})
            except Exception:
                failures += 1
                log.exception("sweeping the outbox failed")

    async def sweep(self) -> int:
        """Sweep all shards once; the number of events published. Raises the first error, after trying all shards."""
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(partition: str) -> int:
            async with gate:
                return await self._sweep_shard(partition)

        results = await asyncio.gather(*map(one, self._partitions), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def _sweep_shard(self, partition: str) -> int:
        # Ids rise with time, so old items come first.
        peek = await self._table.query(partition, limit=25, attributes=("SK", "at"))
        self._oldest.pop(partition, None)
        if peek.items:
            self._oldest[partition] = peek.items[0]["at"]
        if not any(self._is_overdue(item) for item in peek.items):
            return 0
        if not await self._lease(partition):
            return 0
        try:
            return await self._sweep_leased(partition)
        finally:
            await self._release(partition)

    async def _sweep_leased(self, partition: str) -> int:
        held_from = self._clock.monotonic()
        done = refused_calls = 0
        waiting: list[Refused] = []
        start: Item | None = None
        while True:
            page = await self._table.query(partition, limit=_PAGE, start=start, consistent=True)
            overdue = [readable_event(item) for item in page.items if self._is_overdue(item)]
            for batch in calls([event for event in overdue if event is not None]):
                taken, refused = await self._publish(partition, batch)
                done += len(taken)
                waiting += refused
                refused_calls = refused_calls + 1 if refused and not taken else 0
                if refused_calls == _REFUSED_CALLS:
                    break
            start = page.next_start
            if start is None or refused_calls == _REFUSED_CALLS:
                break
            if self._clock.monotonic() - held_from > LEASE_SECONDS / 2:
                if not await self._lease(partition):
                    break
                held_from = self._clock.monotonic()
        if waiting:
            raise Unavailable(f"the bus did not take events: {waiting[0].code}", reason="BUS_UNAVAILABLE")
        return done

    def _is_overdue(self, item: Item) -> bool:
        return item["SK"] not in self._skip and self._clock.now_ms() - item["at"] >= self._grace * 1000

    async def _publish(self, partition: str, batch: Sequence[Event]) -> tuple[list[Event], list[Refused]]:
        """Publish the events of one call: those that the bus took, and those that it may take in the next sweep."""
        taken, refused = await self._bus.publish(batch)
        if taken:
            await self._table.batch_write(deletes=[(partition, event.id) for event in taken])
            self._counts["published"] += len(taken)
            self._counts["swept"] += len(taken)
        for one in refused:
            if one.permanent:
                log.error(
                    "the bus refuses this event permanently; it stays in the outbox",
                    extra={"event_id": one.event.id, "type": one.event.type, "code": one.code},
                )
        return taken, [one for one in refused if not one.permanent]

    async def _lease(self, partition: str) -> bool:
        """Take or renew the lease of a shard; False while another replica has it."""
        now = self._clock.now_ms()
        pk, sk = outbox_lease_key(partition)
        lease: dict[str, Any] = {
            "PK": pk,
            "SK": sk,
            "owner": self._owner,
            "until_ms": now + int(LEASE_SECONDS * 1000),
            "expires_at": now // 1000 + 86_400,
        }
        free = Condition(
            "attribute_not_exists(PK) OR #until < :now OR #owner = :me",
            {"#until": "until_ms", "#owner": "owner"},
            {":now": now, ":me": self._owner},
        )
        try:
            await self._table.put(lease, condition=free)
        except ConditionFailed:
            return False
        return True

    async def _release(self, partition: str) -> None:
        mine = Condition("#owner = :me", {"#owner": "owner"}, {":me": self._owner})
        try:
            await self._table.delete(outbox_lease_key(partition), condition=mine)
        except Brain2Error:
            return  # another replica has taken it over, or it expires by itself
