"""The consumer on a real queue: what is handled, deleted, put back, given up, and when."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import telemetry
from shared.aws import Aws
from shared.dynamo import Table
from shared.errors import Internal, InvalidArgument, Unavailable
from shared.events.consumer import Consumer
from shared.events.envelope import Event
from shared.events.failures import MOST_RECEIVES
from shared.events.handlers import Handler
from shared.events.outbox import Outbox
from shared.ids import SystemClock
from shared.resilience.breaker import Breaker
from tests.integration.shared.conftest import Channel, Events
from tests.support.faults import Faulty, unreachable
from tests.support.waiting import PATIENCE, until


def consumer_of(client: Any, channel: Channel, handler: Handler, **options: Any) -> Consumer:
    given: dict[str, Any] = {
        "service": "test",
        "dlq_url": channel.dlq_url,
        "clock": SystemClock(),
        "wait_seconds": 1,
        "backoffs": (0.0,),
        **options,
    }
    types = given.pop("types", ("node.created",))
    return Consumer(client, channel.queue_url, dict.fromkeys(types, handler), **given)


@contextlib.asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[Consumer]:
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
        await consumer.drain(timeout=5)
        await asyncio.wait_for(task, 5 * PATIENCE)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def send(aws: Aws, channel: Channel, bodies: Sequence[Event | str]) -> None:
    """Straight to the queue, as EventBridge would put it there."""
    texts = [body if isinstance(body, str) else json.dumps({"detail": json.loads(body.to_json())}) for body in bodies]
    for at in range(0, len(texts), 10):
        entries: Any = [{"Id": str(n), "MessageBody": text} for n, text in enumerate(texts[at : at + 10])]
        answer = await aws.sqs.send_message_batch(QueueUrl=channel.queue_url, Entries=entries)
        assert not answer.get("Failed")


async def is_empty(aws: Aws, url: str) -> bool:
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return all(int(count) == 0 for count in answer["Attributes"].values())


async def dead(aws: Aws, channel: Channel) -> list[tuple[str, dict[str, str]]]:
    """Body and attributes of what is on the dead-letter queue; hidden afterwards."""
    found: list[tuple[str, dict[str, str]]] = []
    names: Any = ["All"]
    while True:
        answer = await aws.sqs.receive_message(
            QueueUrl=channel.dlq_url, MaxNumberOfMessages=10, MessageAttributeNames=names, WaitTimeSeconds=0
        )
        if not answer.get("Messages"):
            return found
        for message in answer["Messages"]:
            attributes = {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()}
            found.append((message["Body"], attributes))


class Seen:
    """A handler that notes what it is given; `fails` says what to raise."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fails: dict[str, list[Exception]] = {}
        self.inside = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.gate.wait()
            if errors := self.fails.get(event.id):
                raise errors.pop(0)
        finally:
            self.inside -= 1

    def counts(self) -> Counter[str]:
        return Counter(event.id for event in self.events)


async def test_from_the_outbox_through_bus_and_queue_to_the_handler(
    aws: Aws, table: Table, channel: Channel, service: str, events: Events
) -> None:
    seen, made = Seen(), [events.make(n, data={"title": "naïve 😀"}) for n in range(30)]
    async with (
        Outbox(table, aws.events, service=service, bus=channel.bus, clock=SystemClock()) as outbox,
        running(consumer_of(aws.sqs, channel, seen)) as consumer,
    ):
        await table.transact([outbox.put(event) for event in made])
        outbox.announce(*made)
        await until(lambda: len(seen.events) == 30)
    assert sorted(seen.events, key=lambda event: event.id) == made
    assert await is_empty(aws, channel.queue_url)
    assert consumer.counts == Counter(received=30, handled=30)
    assert 0 < consumer.lag() < 60
    assert consumer.lag() == 0


async def test_no_more_at_once_than_it_may(aws: Aws, channel: Channel, events: Events) -> None:
    seen = Seen()
    seen.gate.clear()
    await send(aws, channel, [events.make(n) for n in range(30)])
    async with running(consumer_of(aws.sqs, channel, seen, concurrency=20, ahead=10)) as consumer:
        # One user has a quarter of the handlers; the other messages wait for their turn.
        await until(lambda: seen.inside == 5)
        await until(lambda: consumer.in_flight == 30)
        seen.gate.set()
        await until(lambda: len(seen.events) == 30)
    assert seen.most == 5
    assert set(seen.counts().values()) == {1}


async def test_duplicates_and_disorder_end_in_the_right_state_when_versions_are_compared(
    aws: Aws, channel: Channel, events: Events
) -> None:
    rng = random.Random(11)
    made = [events.make(node, version=version, data={"v": version}) for node in range(10) for version in range(1, 7)]
    sent = [*made, *rng.sample(made, 30)]
    rng.shuffle(sent)
    state: dict[str, tuple[int, Any]] = {}
    handled = 0

    async def apply(event: Event) -> None:
        nonlocal handled
        await asyncio.sleep(0)
        if event.version > state.get(event.node_id, (0, None))[0]:
            state[event.node_id] = (event.version, event.data)
        handled += 1
        if rng.random() < 0.2:
            raise Unavailable("done, but nobody heard: it comes again")

    await send(aws, channel, sent)
    async with running(consumer_of(aws.sqs, channel, apply)) as consumer:
        await until(lambda: consumer.counts["handled"] == len(sent))
    assert state == {f"n{node}": (6, {"v": 6}) for node in range(10)}
    assert handled > len(sent)


async def test_an_unknown_type_is_acknowledged_and_counted(aws: Aws, channel: Channel, events: Events) -> None:
    seen = Seen()
    await send(aws, channel, [events.make(type="node.polished"), events.make(1)])
    async with running(consumer_of(aws.sqs, channel, seen)) as consumer:
        await until(lambda: consumer.counts["unknown"] == 1 and consumer.counts["handled"] == 1)
    assert await is_empty(aws, channel.queue_url)
    assert await dead(aws, channel) == []


async def test_what_can_never_be_handled_goes_to_the_dead_letter_queue_with_its_reason(
    aws: Aws, channel: Channel, events: Events
) -> None:
    seen, refused = Seen(), events.make(1)
    seen.fails[refused.id] = [InvalidArgument("title:\x00 too long", reason="TITLE_TOO_LONG")]
    malformed = ["no JSON", '{"detail": 3}', '{"detail": {"id": "x"}}']
    await send(aws, channel, [*malformed, refused])
    async with running(consumer_of(aws.sqs, channel, seen)) as consumer:
        await until(lambda: consumer.counts["dead"] == 4)
    assert await is_empty(aws, channel.queue_url)
    found = dict(await dead(aws, channel))
    assert set(found) == {*malformed, json.dumps({"detail": json.loads(refused.to_json())})}
    reasons = Counter(attributes["reason"] for attributes in found.values())
    assert reasons == Counter(EVENT_MALFORMED=3, TITLE_TOO_LONG=1)
    [attributes] = [one for one in found.values() if one["reason"] == "TITLE_TOO_LONG"]
    assert attributes == {
        "reason": "TITLE_TOO_LONG",
        "error": "title:? too long",
        "type": "node.created",
        "service": "test",
    }


@pytest.mark.parametrize("error", [Unavailable("down"), Internal("bug"), KeyError("bug"), TimeoutError()])
async def test_what_fails_comes_again_and_what_succeeded_does_not(
    aws: Aws, channel: Channel, events: Events, error: Exception
) -> None:
    seen, made = Seen(), [events.make(n) for n in range(10)]
    for event in made[:3]:
        seen.fails[event.id] = [error, error]
    await send(aws, channel, made)
    async with running(consumer_of(aws.sqs, channel, seen)) as consumer:
        await until(lambda: consumer.counts["handled"] == 10)
    assert seen.counts() == Counter({event.id: 3 if event in made[:3] else 1 for event in made})
    assert consumer.counts == Counter(received=16, handled=10, postponed=6)
    assert await is_empty(aws, channel.queue_url)
    assert await dead(aws, channel) == []


async def lose(aws: Aws, channel: Channel, times: int) -> None:
    """Receive the only message and do nothing with it, as processes that are killed."""
    for _ in range(times):
        answer = await aws.sqs.receive_message(QueueUrl=channel.queue_url, WaitTimeSeconds=20, VisibilityTimeout=600)
        [message] = answer["Messages"]
        await aws.sqs.change_message_visibility(
            QueueUrl=channel.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )


async def test_what_fails_five_times_is_a_dead_letter_with_the_reason_of_its_last_failure(
    aws: Aws, channel: Channel, events: Events
) -> None:
    seen, event = Seen(), events.make()
    seen.fails[event.id] = [Internal("always", reason="BUG") for _ in range(10)]
    await send(aws, channel, [event])
    async with running(consumer_of(aws.sqs, channel, seen)) as consumer:
        await until(lambda: consumer.counts["dead"] == 1)
    assert seen.counts() == Counter({event.id: 5})
    assert await is_empty(aws, channel.queue_url)
    [(_, attributes)] = await dead(aws, channel)
    assert attributes["reason"] == "BUG"


async def test_receives_that_were_lost_are_no_failures(aws: Aws, channel: Channel, events: Events) -> None:
    seen, event = Seen(), events.make()
    seen.fails[event.id] = [Internal("once")]
    await send(aws, channel, [event])
    await lose(aws, channel, 6)
    async with running(consumer_of(aws.sqs, channel, seen)) as consumer:
        await until(lambda: consumer.counts["handled"] == 1)
    assert seen.counts() == Counter({event.id: 2})
    assert await dead(aws, channel) == []


async def test_what_is_always_lost_is_moved_to_the_dead_letters_by_sqs(
    aws: Aws, channel: Channel, events: Events
) -> None:
    seen = Seen()
    await send(aws, channel, [events.make()])
    await lose(aws, channel, MOST_RECEIVES)
    found: list[Any] = []

    async def is_dead() -> bool:
        found.extend(await dead(aws, channel))
        return bool(found)

    async with running(consumer_of(aws.sqs, channel, seen)):
        await until(is_dead)
    assert seen.events == []
    assert await is_empty(aws, channel.queue_url)


async def test_work_that_takes_longer_than_the_visibility_stays_hidden_from_others(
    aws: Aws, channel: Channel, events: Events
) -> None:
    slow, other = Seen(), Seen()
    slow.gate.clear()
    client = Faulty(aws.sqs)
    await send(aws, channel, [events.make(n) for n in range(3)])
    async with running(consumer_of(client, channel, slow, visibility=2.0)) as first:
        await until(lambda: slow.inside == 3)
        async with running(consumer_of(aws.sqs, channel, other)):
            # Three extensions by one second each: without them the messages would have come back to the other by now.
            await until(lambda: client.calls["change_message_visibility_batch"] >= 3)
            assert other.events == []
            slow.gate.set()
            await until(lambda: first.counts["handled"] == 3)
    assert await is_empty(aws, channel.queue_url)


async def test_drain_finishes_what_is_in_flight_and_deletes_it(aws: Aws, channel: Channel, events: Events) -> None:
    seen = Seen()
    seen.gate.clear()
    await send(aws, channel, [events.make(n) for n in range(5)])
    consumer = consumer_of(aws.sqs, channel, seen)
    running_task = asyncio.create_task(consumer.run())
    await until(lambda: seen.inside == 5)
    draining = asyncio.create_task(consumer.drain(timeout=30))
    await asyncio.sleep(0)
    await send(aws, channel, [events.make(9)])
    seen.gate.set()
    await draining
    await running_task
    assert consumer.counts["handled"] == 5
    depth = await consumer.depth()
    assert depth == {"visible": 1, "in_flight": 0, "delayed": 0}


async def test_drain_gives_back_at_once_what_it_can_not_finish(aws: Aws, channel: Channel, events: Events) -> None:
    stuck, other, event = Seen(), Seen(), events.make()
    stuck.gate.clear()
    await send(aws, channel, [event])
    consumer = consumer_of(aws.sqs, channel, stuck, visibility=600.0)
    task = asyncio.create_task(consumer.run())
    await until(lambda: stuck.inside == 1)
    await consumer.drain(timeout=0.01)
    await task
    assert stuck.inside == 0
    async with running(consumer_of(aws.sqs, channel, other)):
        await until(lambda: other.events == [event], seconds=10)


async def test_a_drained_consumer_that_never_ran_ends(aws: Aws, channel: Channel) -> None:
    consumer = consumer_of(aws.sqs, channel, Seen())
    await consumer.drain()
    await consumer.run()


async def test_an_outage_of_what_handlers_need_does_not_use_messages_up(
    aws: Aws, channel: Channel, events: Events
) -> None:
    down = True
    tries = 0

    async def handler(event: Event) -> None:
        nonlocal tries
        tries += 1
        if down:
            raise Unavailable("the graph service is away")

    breaker = Breaker("graph", SystemClock(), failures=5, cooldown=0.02, max_cooldown=0.02)
    await send(aws, channel, [events.make(n) for n in range(40)])
    async with running(consumer_of(aws.sqs, channel, handler, breaker=breaker)) as consumer:
        # Without the breaker, 40 messages would be dead after 200 tries; with it, each try is a probe.
        await until(lambda: tries >= 25)
        assert consumer.counts["received"] < 100
        down = False
        await until(lambda: consumer.counts["handled"] == 40)
    assert await dead(aws, channel) == []


async def test_a_queue_that_is_away_is_asked_again(aws: Aws, channel: Channel, events: Events) -> None:
    seen, failures = Seen(), 3

    def fail(_: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise unreachable()

    client = Faulty(aws.sqs, receive_message=fail)
    await send(aws, channel, [events.make()])
    async with running(consumer_of(client, channel, seen, sleep=lambda _: asyncio.sleep(0))):
        await until(lambda: len(seen.events) == 1)


async def test_a_delete_that_fails_is_tried_again_for_what_failed_only(
    aws: Aws, channel: Channel, events: Events
) -> None:
    asked: list[int] = []

    async def half(request: Any) -> Any:
        entries = request["Entries"]
        asked.append(len(entries))
        if len(asked) == 1:
            raise unreachable()
        failed, fine = entries[: len(entries) // 2], entries[len(entries) // 2 :]
        await aws.sqs.delete_message_batch(QueueUrl=request["QueueUrl"], Entries=fine)
        return {"Successful": [], "Failed": [{"Id": one["Id"], "Code": "InternalError"} for one in failed]}

    seen = Seen()
    seen.gate.clear()
    client = Faulty(aws.sqs, delete_message_batch=half)
    await send(aws, channel, [events.make(n) for n in range(4)])
    async with running(consumer_of(client, channel, seen)) as consumer:
        await until(lambda: seen.inside == 4)
        seen.gate.set()
        await until(lambda: consumer.counts["handled"] == 4)
    assert asked == [4, 4, 2, 1]
    assert await is_empty(aws, channel.queue_url)


async def test_a_dead_letter_queue_that_is_away_loses_nothing(aws: Aws, channel: Channel) -> None:
    failures = 2

    def fail(_: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise unreachable()

    await send(aws, channel, ["not an event"])
    async with running(consumer_of(Faulty(aws.sqs, send_message=fail), channel, Seen())) as consumer:
        await until(lambda: consumer.counts["dead"] == 1)
    [(body, _)] = await dead(aws, channel)
    assert body == "not an event"


async def test_the_handler_works_in_the_trace_of_the_event(
    aws: Aws, channel: Channel, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Settings:
        trace_ratio = 0.0
        otlp_endpoint = ""

    monkeypatch.setattr(telemetry, "_active", telemetry.active())
    exporter = InMemorySpanExporter()
    active = telemetry.setup("test", Settings(), exporter=exporter)
    recorded, trace = "a" * 32, []

    async def handler(event: Event) -> None:
        trace.append(telemetry.inject().get("traceparent", "")[3:35])

    await send(
        aws,
        channel,
        [
            events.make(1, traceparent=f"00-{recorded}-{'b' * 16}-01"),
            events.make(2, traceparent=f"00-{'c' * 32}-{'b' * 16}-00"),
        ],
    )
    async with running(consumer_of(aws.sqs, channel, handler)):
        await until(lambda: len(trace) == 2)
    active.provider.force_flush()
    assert sorted(trace) == [recorded, "c" * 32]
    [span] = exporter.get_finished_spans()
    assert span.name == "process node.created"
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (recorded, "b" * 16)
