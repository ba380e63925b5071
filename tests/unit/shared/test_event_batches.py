"""Events of one user that are handled together: what a batch holds, and what becomes of each event when some fail."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import telemetry
from shared.errors import InvalidArgument, ResourceExhausted, Unavailable
from shared.events.consumer import Consumer
from shared.events.envelope import Event
from shared.events.handlers import BatchHandler
from shared.resilience.breaker import Breaker
from tests.support.clock import ManualClock, Middle, run_ready


class Sqs:
    """Gives each of the polls once; records the ids that are deleted, put back and sent to the dead-letter queue.

    receives: how often an event was received, if not once.
    """

    def __init__(self, *polls: Sequence[Event]) -> None:
        self.polls = [list(poll) for poll in polls]
        self.receives: dict[str, int] = {}
        self.more = asyncio.Event()
        self.deleted: list[str] = []
        self.put_back: list[str] = []
        self.hides = 0
        self.dead: list[str] = []

    async def receive_message(self, **_: Any) -> Any:
        while not self.polls:
            self.more.clear()
            await self.more.wait()
        return {
            "Messages": [
                {
                    "Body": json.dumps({"detail": json.loads(event.to_json())}),
                    "ReceiptHandle": event.id,
                    "MessageId": event.id,
                    "Attributes": {"ApproximateReceiveCount": str(self.receives.get(event.id, 1))},
                }
                for event in self.polls.pop(0)
            ]
        }

    async def change_message_visibility_batch(self, **request: Any) -> Any:
        self.hides += 1
        self.put_back += [entry["ReceiptHandle"] for entry in request["Entries"] if entry["VisibilityTimeout"]]
        return {}

    async def delete_message_batch(self, **request: Any) -> Any:
        self.deleted += [entry["ReceiptHandle"] for entry in request["Entries"]]
        return {}

    async def send_message(self, **request: Any) -> Any:
        self.dead.append(json.loads(request["MessageBody"])["detail"]["id"])
        return {}


class Batches:
    """Notes the ids of each batch. wait: the first call ends when it is set. failing: what happens to each event."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.wait: asyncio.Event | None = None
        self.failing: dict[str, Exception] = {}
        self.raises: dict[str, Exception] = {}

    async def __call__(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        self.seen.append([event.id for event in events])
        wait, self.wait = self.wait, None
        if wait is not None:
            await wait.wait()
        for event in events:
            if event.id in self.raises:
                raise self.raises[event.id]
        return {event.id: self.failing[event.id] for event in events if event.id in self.failing}


def event(id: str, node_id: str = "", user_id: str = "u", type: str = "node.created") -> Event:
    return Event(id, type, "brain2.node", user_id, node_id or id, 1, 0, {})


async def consume(sqs: Sqs, batches: Batches, **options: Any) -> Consumer:
    clock = ManualClock()
    handler = BatchHandler(batches, **options)
    return Consumer(
        sqs,  # type: ignore[arg-type]
        "queue",
        {"node.created": handler, "node.updated": handler},
        service="test",
        dlq_url="dlq",
        clock=clock,
        sleep=clock.sleep,
        rng=Middle(),
        receivers=1,
        breaker=Breaker("x", clock, failures=100),
    )


async def ran(consumer: Consumer) -> None:
    running = asyncio.create_task(consumer.run())
    await run_ready()
    await consumer.drain()
    await running


async def test_events_of_one_poll_are_handled_together_one_batch_for_each_user() -> None:
    sqs, batches = Sqs([event("a"), event("x", user_id="v"), event("b", type="node.updated")]), Batches()

    await ran(await consume(sqs, batches))

    assert sorted(batches.seen) == [["a", "b"], ["x"]]
    assert sorted(sqs.deleted) == ["a", "b", "x"]


async def test_while_a_batch_is_handled_the_next_events_gather() -> None:
    sqs, batches = Sqs([event("a")], [event("b")], [event("c")], [event("d")]), Batches()
    first = batches.wait = asyncio.Event()
    consumer = await consume(sqs, batches, most=2)
    running = asyncio.create_task(consumer.run())
    await run_ready()
    assert batches.seen == [["a"]]

    first.set()
    await run_ready()

    assert batches.seen == [["a"], ["b", "c"], ["d"]]
    await consumer.drain()
    await running


async def test_two_events_of_one_note_are_never_in_one_batch() -> None:
    sqs, batches = Sqs([event("a1", "a"), event("b1", "b"), event("a2", "a"), event("c1", "c")]), Batches()

    await ran(await consume(sqs, batches))

    assert batches.seen == [["a1", "b1"], ["a2", "c1"]]


async def test_a_message_that_was_lost_often_is_handled_alone() -> None:
    sqs, batches = Sqs([event(id) for id in "abcde"]), Batches()
    sqs.receives = {"a": 4, "d": 4}

    await ran(await consume(sqs, batches))

    assert batches.seen == [["a"], ["b", "c"], ["d"], ["e"]]


async def test_only_the_event_that_failed_is_given_back() -> None:
    sqs, batches = Sqs([event("a"), event("b"), event("c")]), Batches()
    batches.failing = {"b": Unavailable("not now")}

    await ran(await consume(sqs, batches))

    assert batches.seen == [["a", "b", "c"]]
    assert (sqs.deleted, sqs.put_back, sqs.dead) == (["a", "c"], ["b"], [])


async def test_events_that_failed_together_are_hidden_by_one_call_for_ten() -> None:
    sqs, batches = Sqs([event(f"{n:02d}") for n in range(25)]), Batches()
    batches.failing = {f"{n:02d}": Unavailable("not now") for n in range(25)}

    await ran(await consume(sqs, batches))

    assert sorted(sqs.put_back) == sorted(batches.failing)
    assert sqs.hides == 3


async def test_a_batch_that_fails_as_a_whole_is_handled_one_by_one() -> None:
    sqs, batches = Sqs([event("a"), event("b"), event("c")]), Batches()
    batches.raises = {"b": ValueError("a fault that this note sets off")}

    await ran(await consume(sqs, batches))

    assert batches.seen == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert (sqs.deleted, sqs.put_back) == (["a", "c"], ["b"])


async def test_a_batch_is_not_tried_one_by_one_while_a_dependency_is_down() -> None:
    sqs, batches = Sqs([event("a"), event("b")]), Batches()
    batches.raises = {"b": Unavailable("no database")}

    await ran(await consume(sqs, batches))

    assert batches.seen == [["a", "b"]]
    assert (sqs.deleted, sqs.put_back) == ([], ["a", "b"])


async def test_of_a_batch_that_is_throttled_what_the_store_takes_is_handled() -> None:
    sqs, batches = Sqs([event("a"), event("b"), event("c")]), Batches()
    batches.raises = {"b": ResourceExhausted("the user's partition is throttled")}
    consumer = await consume(sqs, batches)

    await ran(consumer)

    assert batches.seen == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert (sqs.deleted, sqs.put_back) == (["a", "c"], ["b"])
    assert consumer.breaker.state == "closed"


async def test_an_event_that_can_never_be_handled_goes_alone_to_the_dead_letters() -> None:
    sqs, batches = Sqs([event("a"), event("b")]), Batches()
    batches.failing = {"a": InvalidArgument("malformed", reason="EVENT_MALFORMED")}

    await ran(await consume(sqs, batches))

    assert (sqs.dead, sorted(sqs.deleted), sqs.put_back) == (["a"], ["a", "b"], [])


async def test_while_the_breaker_is_open_one_event_is_tried() -> None:
    clock = ManualClock()
    breaker = Breaker("x", clock, failures=1)
    sqs, batches = Sqs([event("a")], [event("b"), event("c")]), Batches()
    batches.raises = {"a": Unavailable("no database")}
    wait = batches.wait = asyncio.Event()
    consumer = Consumer(
        sqs,  # type: ignore[arg-type]
        "queue",
        {"node.created": BatchHandler(batches)},
        service="test",
        dlq_url="dlq",
        clock=clock,
        sleep=clock.sleep,
        rng=Middle(),
        receivers=1,
        breaker=breaker,
    )
    running = asyncio.create_task(consumer.run())
    await run_ready()
    wait.set()
    await run_ready()
    assert batches.seen == [["a"]]
    assert breaker.state == "open"

    await clock.advance(breaker.retry_after + 1)
    await run_ready()

    assert batches.seen[1] == ["b"]
    await consumer.drain()
    await running


@pytest.mark.parametrize("traces", [1, 2])
async def test_a_batch_continues_the_one_trace_of_its_events_or_is_linked_to_all(
    traces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Settings:
        trace_ratio = 0.0
        otlp_endpoint = ""

    monkeypatch.setattr(telemetry, "_active", telemetry.active())
    exporter = InMemorySpanExporter()
    active = telemetry.setup("test", Settings(), exporter=exporter)
    parents = [f"00-{'ab'[n % traces] * 32}-{str(n + 1) * 16}-01" for n in range(2)]
    events = [replace(event(str(n)), traceparent=parent) for n, parent in enumerate(parents)]

    await ran(await consume(Sqs(events), Batches()))

    active.provider.force_flush()
    [span] = exporter.get_finished_spans()
    assert span.name == "process node.created"
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
    assert {f"{link.context.trace_id:032x}" for link in span.links} == {parent[3:35] for parent in parents}
    assert (f"{span.context.trace_id:032x}" == "a" * 32) is (traces == 1)
