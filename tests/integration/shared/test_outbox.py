"""The outbox on real stores: whatever dies, and whenever, every event that was committed reaches the queue."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from shared.aws import Aws
from shared.dynamo import Put, Table
from shared.errors import InvalidArgument, Unavailable
from shared.events.envelope import Event
from shared.events.outbox import Outbox
from shared.ids import SystemClock
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff
from tests.integration.shared.conftest import Channel, Events
from tests.support.clock import ManualClock
from tests.support.faults import Death, Faulty, throttled, unreachable
from tests.support.stores import Stores
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]


def outbox_of(table: Table, client: Any, service: str, bus: str, kind: type[Outbox] = Outbox, **options: Any) -> Outbox:
    given = {"clock": SystemClock(), "shards": 2, "backoff": Backoff(0.001, 0.002), **options}
    return kind(table, client, service=service, bus=bus, **given)


async def stored(table: Table, service: str, shards: int = 2) -> list[str]:
    """The ids of what is in an outbox."""
    return [
        item["SK"]
        for shard in range(shards)
        async for item in table.query_all(f"OUTBOX#{service}#{shard}", consistent=True)
    ]


class Heard:
    """What has come out of a queue so far."""

    def __init__(self, aws: Aws, url: str) -> None:
        self._sqs: Any = aws.sqs
        self._url = url
        self.ids: Counter[str] = Counter()
        self.events: list[Event] = []

    async def look(self) -> None:
        answer = await self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        for message in answer.get("Messages", ()):
            event = Event.from_json(json.loads(message["Body"])["detail"])
            self.ids[event.id] += 1
            self.events.append(event)
            await self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    async def all_of(self, events: Iterable[Event | str], seconds: float = 30.0) -> None:
        wanted = {event if isinstance(event, str) else event.id for event in events}

        async def there() -> bool:
            await self.look()
            return wanted <= set(self.ids)

        await until(there, seconds=seconds, what="hearing all events")


async def test_what_is_announced_is_published_and_leaves_the_outbox(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    made = [events.make(n, data={"title": "naïve 😀", "n": n}) for n in range(25)]
    async with outbox_of(table, aws.events, service, channel.bus) as outbox:
        await table.transact([outbox.put(event) for event in made])
        assert sorted(await stored(table, service)) == sorted(event.id for event in made)
        outbox.announce(*made)
        await until(lambda: outbox.queued == 0)
        assert await stored(table, service) == []
    heard = Heard(aws, channel.queue_url)
    await heard.all_of(made)
    assert sorted(heard.events, key=lambda event: event.id) == made
    assert outbox.counts == Counter(published=25)


async def test_what_was_not_announced_is_swept_after_the_grace_and_not_before(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    old, young = [events.make(n, age=60) for n in range(130)], [events.make(n) for n in range(3)]
    async with outbox_of(table, aws.events, service, channel.bus, grace=30.0) as outbox:
        await table.batch_write(outbox.put(event).item for event in (*old, *young))
        assert await outbox.sweep() == 130
        assert await outbox.sweep() == 0
        assert sorted(await stored(table, service)) == sorted(event.id for event in young)
    heard = Heard(aws, channel.queue_url)
    await heard.all_of(old)
    assert not heard.ids.keys() & {event.id for event in young}


async def test_replicas_that_sweep_together_do_not_do_the_same_work(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    made = [events.make(n, age=60) for n in range(60)]
    boxes = [outbox_of(table, aws.events, service, channel.bus) for _ in range(4)]
    await table.batch_write(boxes[0].put(event).item for event in made)
    swept = await asyncio.gather(*(box.sweep() for box in boxes))
    assert sum(swept) == 60
    heard = Heard(aws, channel.queue_url)
    await heard.all_of(made)
    assert set(heard.ids.values()) == {1}
    # The lease is given back: another may sweep at once.
    await table.batch_write(boxes[0].put(event).item for event in made)
    assert await boxes[3].sweep() == 60


async def test_a_sweeper_that_died_holds_nothing_up_for_longer_than_its_lease(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    event = events.make(age=60)
    clock = ManualClock(SystemClock().now_ms())
    death = Death()
    doomed = outbox_of(
        Table(death.client(aws.dynamodb), table.name),
        Faulty(aws.events, put_events=lambda _: death.die()),
        service,
        channel.bus,
        clock=clock,
    )
    await table.put(doomed.put(event).item)
    assert await death.run(doomed.sweep())
    other = outbox_of(table, aws.events, service, channel.bus, clock=clock)
    assert await other.sweep() == 0
    await clock.advance(31)
    assert await other.sweep() == 1


async def test_events_that_this_process_is_about_to_publish_are_not_swept(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    gate = asyncio.Event()

    async def wait(_: Any) -> None:
        await gate.wait()

    event = events.make(age=60)
    client = Faulty(aws.events, put_events=lambda request: wait(request))
    async with outbox_of(table, client, service, channel.bus) as outbox:
        await table.put(outbox.put(event).item)
        outbox.announce(event)
        await until(lambda: client.calls["put_events"] == 1)
        assert await outbox.sweep() == 0
        gate.set()
        await until(lambda: outbox.queued == 0)
    heard = Heard(aws, channel.queue_url)
    await heard.all_of([event])
    assert heard.ids == Counter({event.id: 1})


@pytest.mark.parametrize("error", [throttled, unreachable])
async def test_while_the_bus_is_away_events_stay_and_are_published_when_it_is_back(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events, error: Any
) -> None:
    def fail(_: Any) -> None:
        raise error()

    made = [events.make(n, age=60) for n in range(30)]
    client = Faulty(aws.events, put_events=fail)
    breaker = Breaker("eventbridge", SystemClock(), failures=3, cooldown=0.01, max_cooldown=0.02)
    async with outbox_of(table, client, service, channel.bus, breaker=breaker) as outbox:
        await table.batch_write(outbox.put(event).item for event in made)
        outbox.announce(*made)
        await until(lambda: outbox.queued == 0)
        assert len(await stored(table, service)) == 30
        client.faults.clear()

        async def swept() -> bool:
            with contextlib.suppress(Exception):  # the breaker may still be open
                await outbox.sweep()
            return not await stored(table, service)

        await until(swept)
    await Heard(aws, channel.queue_url).all_of(made)


async def test_only_the_entries_that_failed_are_sent_again(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    sent: Counter[str] = Counter()

    async def every_third_fails_once(request: Any) -> Any:
        entries, results, passed = request["Entries"], [], []
        for entry in entries:
            id = json.loads(entry["Detail"])["id"]
            sent[id] += 1
            if sent[id] == 1 and len(sent) % 3 == 0:
                results.append({"ErrorCode": "InternalFailure", "ErrorMessage": "try again"})
            else:
                results.append({"EventId": id})
                passed.append(entry)
        if passed:
            await aws.events.put_events(Entries=passed)
        return {"FailedEntryCount": len(entries) - len(passed), "Entries": results}

    made = [events.make(n) for n in range(20)]
    client = Faulty(aws.events, put_events=every_third_fails_once)
    async with outbox_of(table, client, service, channel.bus) as outbox:
        await table.transact([outbox.put(event) for event in made])
        outbox.announce(*made)
        await until(lambda: outbox.queued == 0)
        assert await stored(table, service) == []
    heard = Heard(aws, channel.queue_url)
    await heard.all_of(made)
    assert set(heard.ids.values()) == {1}
    assert sorted(sent.values()) == [1] * 14 + [2] * 6


async def test_entries_that_fail_every_time_stay_in_the_outbox_beside_those_that_went(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    made = [events.make(n, age=60) for n in range(10)]
    stuck = {event.id for event in made[4:7]}

    async def refuse_some(request: Any) -> Any:
        details = [json.loads(entry["Detail"])["id"] for entry in request["Entries"]]
        good = [entry for id, entry in zip(details, request["Entries"], strict=True) if id not in stuck]
        if good:
            await aws.events.put_events(Entries=good)
        results = [{"ErrorCode": "ThrottlingException"} if id in stuck else {"EventId": id} for id in details]
        return {"FailedEntryCount": len(details) - len(good), "Entries": results}

    client = Faulty(aws.events, put_events=refuse_some)
    async with outbox_of(table, client, service, channel.bus) as outbox:
        await table.transact([outbox.put(event) for event in made])
        outbox.announce(*made)
        await until(lambda: outbox.queued == 0)
        assert set(await stored(table, service)) == stuck
        client.faults.clear()
        assert await outbox.sweep() == 3
    await Heard(aws, channel.queue_url).all_of(made)


async def test_an_event_that_is_refused_in_each_sweep_holds_up_no_other(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    """The events after it fill more than a page of its shard."""
    made = [events.make(n, age=60) for n in range(150)]
    stuck = made[3]

    async def refuse_one(request: Any) -> Any:
        bad = [stuck.id in entry["Detail"] for entry in request["Entries"]]
        good = [entry for entry, is_bad in zip(request["Entries"], bad, strict=True) if not is_bad]
        await aws.events.put_events(Entries=good)
        results = [{"ErrorCode": "InternalFailure"} if is_bad else {"EventId": "x"} for is_bad in bad]
        return {"FailedEntryCount": sum(bad), "Entries": results}

    outbox = outbox_of(table, Faulty(aws.events, put_events=refuse_one), service, channel.bus, shards=1)
    await table.batch_write(outbox.put(event).item for event in made)
    with pytest.raises(Unavailable):
        await outbox.sweep()
    assert await stored(table, service) == [stuck.id]
    assert outbox.counts["swept"] == 149


async def test_a_sweep_ends_after_a_few_calls_while_the_bus_is_away(
    table: Table, service: str, events: Events, aws: Aws, channel: Channel
) -> None:
    made = [events.make(n, age=60) for n in range(150)]

    def refuse(_: Any) -> Any:
        raise throttled()

    client = Faulty(aws.events, put_events=refuse)
    outbox = outbox_of(table, client, service, channel.bus, shards=1)
    await table.batch_write(outbox.put(event).item for event in made)
    with pytest.raises(Unavailable):
        await outbox.sweep()
    assert client.calls["put_events"] == 3
    assert len(await stored(table, service)) == 150


async def test_an_entry_that_the_bus_will_never_take_stays_and_does_not_hold_up_the_rest(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    made = [events.make(n, age=60) for n in range(5)]

    async def refuse_one(request: Any) -> Any:
        bad = [n for n, entry in enumerate(request["Entries"]) if made[2].id in entry["Detail"]]
        good = [entry for n, entry in enumerate(request["Entries"]) if n not in bad]
        if good:
            await aws.events.put_events(Entries=good)
        results = [
            {"ErrorCode": "MalformedDetail"} if n in bad else {"EventId": "x"} for n in range(len(request["Entries"]))
        ]
        return {"FailedEntryCount": len(bad), "Entries": results}

    outbox = outbox_of(table, Faulty(aws.events, put_events=refuse_one), service, channel.bus)
    await table.batch_write(outbox.put(event).item for event in made)
    assert await outbox.sweep() == 4
    assert await stored(table, service) == [made[2].id]


async def test_more_than_fits_is_left_to_the_sweeper(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    made = [events.make(n, age=60) for n in range(50)]
    async with outbox_of(table, aws.events, service, channel.bus, most_queued=20) as outbox:
        await table.batch_write(outbox.put(event).item for event in made)
        outbox.announce(*made)
        assert outbox.queued == 20
        await until(lambda: outbox.queued == 0)
        assert await outbox.sweep() == 30
    await Heard(aws, channel.queue_url).all_of(made)


async def test_drain_publishes_what_is_queued_and_takes_no_more(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    made = [events.make(n) for n in range(40)]
    async with outbox_of(table, aws.events, service, channel.bus) as outbox:
        await table.transact([outbox.put(event) for event in made])
        outbox.announce(*made)
        await outbox.drain()
        assert await stored(table, service) == []
        outbox.announce(events.make())
        assert outbox.queued == 0


async def test_drain_does_not_wait_for_a_bus_that_hangs(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    async def hang(_: Any) -> None:
        await asyncio.Event().wait()

    event = events.make()
    async with outbox_of(table, Faulty(aws.events, put_events=hang), service, channel.bus) as outbox:
        await table.put(outbox.put(event).item)
        outbox.announce(event)
        await outbox.drain(timeout=0.01)
        assert await stored(table, service) == [event.id]


async def test_an_event_that_could_never_be_published_stops_the_write(
    aws: Aws, table: Table, service: str, events: Events
) -> None:
    outbox = outbox_of(table, aws.events, service, "bus")
    for text in ("x" * 250_000, "é" * 125_000):
        with pytest.raises(InvalidArgument) as error:
            outbox.put(events.make(data={"content": text}))
        assert error.value.reason == "EVENT_TOO_LARGE"
    outbox.put(events.make(data={"content": "x" * 230_000}))


# What a process does, and dying at every call of a store on the way.


async def write_and_publish(table: Table, outbox: Outbox, batches: Sequence[Sequence[Event]]) -> None:
    async with outbox:
        for batch in batches:
            note: list[Put] = [Put({"PK": f"{outbox._service}-notes", "SK": event.id}) for event in batch]
            await table.transact([*note, *(outbox.put(event) for event in batch)])
            outbox.announce(*batch)
        await until(lambda: outbox.queued == 0)


async def die_and_recover(
    aws: Aws,
    table: Table,
    channel: Channel,
    service: str,
    events: Events,
    kind: type[Outbox],
    at: int,
    when: Literal["before", "after"],
) -> tuple[bool, set[str], set[str]]:
    """(died, ids whose note is stored, ids that never came out of the queue)."""
    death = Death(at, when)
    doomed_table = Table(death.client(aws.dynamodb), table.name)
    doomed = outbox_of(doomed_table, death.client(aws.events), service, channel.bus, kind)
    batches = [[events.make(n, age=60) for n in range(6)] for _ in range(2)]
    died = await death.run(write_and_publish(doomed_table, doomed, batches))
    # The process that comes after it.
    survivor = outbox_of(table, aws.events, service, channel.bus, clock=ManualClock(SystemClock().now_ms() + 60_000))

    async def swept() -> bool:
        # What the dead process had sent may still be written after one sweep: the next one finds it.
        await survivor.sweep()
        return not await stored(table, service)

    await until(swept, what="an empty outbox")
    notes = {item["SK"] async for item in table.query_all(f"{service}-notes", consistent=True)}
    marker = events.make(type="marker")
    await aws.events.put_events(
        Entries=[{"EventBusName": channel.bus, "Source": "brain2.test", "DetailType": "m", "Detail": marker.to_json()}]
    )
    heard = Heard(aws, channel.queue_url)
    # The marker came last: what wasn't heard by then, and a little more looking, isn't coming.
    await heard.all_of([marker])
    for _ in range(3):
        await heard.look()
    return died, notes, notes - set(heard.ids)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 9))
async def test_dying_at_any_call_loses_no_committed_event(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events, at: int, when: Literal["before", "after"]
) -> None:
    died, notes, lost = await die_and_recover(aws, table, channel, service, events, Outbox, at, when)
    assert lost == set()
    if at <= 4:  # two transactions, at least one PutEvents and one delete
        assert died
    if not died:
        assert len(notes) == 12


class DeletesFirst(Outbox):
    """Has the bug that the tests above must find: it deletes the item before the event is on the bus."""

    async def _publish(self, batch: Sequence[Event]) -> None:
        await self._delete(batch)
        await super()._publish(batch)


async def test_the_crash_tests_find_an_outbox_that_deletes_before_it_publishes(
    aws: Aws, table: Table, channel: Channel, events: Events, service: str
) -> None:
    lost = set()
    for at in range(1, 7):
        lost |= (await die_and_recover(aws, table, channel, f"{service}-{at}", events, DeletesFirst, at, "after"))[2]
    assert lost


WRITER = """
import asyncio, sys
from shared.aws import Aws
from shared.dynamo import Table
from shared.events.outbox import Outbox
from shared.ids import SystemClock
from tests.integration.shared.conftest import AwsAt, Events

async def main(service, bus, name, *endpoints):
    async with Aws(AwsAt(*endpoints), use=("dynamodb", "events")) as aws:
        table, events = Table(aws.dynamodb, name), Events()
        async with Outbox(table, aws.events, service=service, bus=bus, clock=SystemClock(), shards=2) as outbox:
            while True:
                batch = [events.make(n) for n in range(5)]
                await table.transact([outbox.put(event) for event in batch])
                print(*(event.id for event in batch), flush=True)
                outbox.announce(*batch)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_kill_9_of_a_writer_loses_no_acknowledged_event(
    aws: Aws, table: Table, stores: Stores, channel: Channel, service: str
) -> None:
    at = stores.endpoints
    endpoints = (stores.region, at.dynamodb, at.eventbridge, at.sqs, at.s3)
    acknowledged: set[str] = set()
    for writes in (3, 10, 17):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, service, channel.bus, table.name, *endpoints),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        for _ in range(writes):
            acknowledged.update((await process.stdout.readline()).decode().split())
        process.send_signal(signal.SIGKILL)
        rest = await process.stdout.read()
        acknowledged.update(id for line in rest.decode().splitlines() for id in line.split())
        await process.wait()
    assert len(acknowledged) >= 150
    survivor = outbox_of(table, aws.events, service, channel.bus, clock=ManualClock(SystemClock().now_ms() + 60_000))
    await survivor.sweep()
    assert await stored(table, service) == []
    await Heard(aws, channel.queue_url).all_of(acknowledged)
