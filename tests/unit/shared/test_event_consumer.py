"""The consumer's times: how long a message is put back for, when it is extended. A scripted queue, a clock of the
test's."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared.errors import Unavailable
from shared.events.consumer import Consumer
from shared.events.envelope import Event
from shared.resilience import foreground, slices
from shared.resilience.breaker import Breaker
from tests.support.clock import ManualClock, Middle, run_ready


class Sqs:
    """Answers one receive with `messages` (receive counts), the next never; notes everything else."""

    def __init__(self, *receives: int) -> None:
        event = Event("1", "node.created", "brain2.node", "u", "n", 1, 0, {})
        self.messages = [
            {
                "Body": json.dumps({"detail": json.loads(event.to_json())}),
                "ReceiptHandle": f"h{n}",
                "MessageId": f"m{n}",
                "Attributes": {"ApproximateReceiveCount": str(count)},
            }
            for n, count in enumerate(receives)
        ]
        self.hidden: list[tuple[str, int]] = []
        self.deleted: list[str] = []

    async def receive_message(self, **request: Any) -> Any:
        if not self.messages:
            await asyncio.get_running_loop().create_future()
        messages, self.messages = self.messages, []
        return {"Messages": messages}

    async def change_message_visibility_batch(self, **request: Any) -> Any:
        self.hidden += [(entry["ReceiptHandle"], entry["VisibilityTimeout"]) for entry in request["Entries"]]
        return {}

    async def delete_message_batch(self, **request: Any) -> Any:
        self.deleted += [entry["ReceiptHandle"] for entry in request["Entries"]]
        return {}


def consumer_of(sqs: Sqs, handler: Any, clock: ManualClock, **options: Any) -> Consumer:
    given: dict[str, Any] = {
        "service": "test",
        "dlq_url": "dlq",
        "clock": clock,
        "sleep": clock.sleep,
        "rng": Middle(),
        "receivers": 1,
        "breaker": Breaker("x", clock, failures=100),
        **options,
    }
    return Consumer(sqs, "queue", {"node.created": handler}, **given)  # type: ignore[arg-type]


async def test_a_message_that_was_received_and_lost_waits_as_after_its_first_failure() -> None:
    async def fail(_: Event) -> None:
        raise Unavailable("down")

    sqs = Sqs(5)
    consumer = consumer_of(sqs, fail, ManualClock())
    task = asyncio.create_task(consumer.run())
    await run_ready()
    assert sqs.hidden == [("h0", 2)]
    assert sqs.deleted == []
    await consumer.drain(timeout=0)
    await task


async def test_a_message_in_flight_is_extended_at_half_its_visibility_until_it_is_handled() -> None:
    clock, gate = ManualClock(), asyncio.Event()

    async def slow(_: Event) -> None:
        await gate.wait()

    sqs = Sqs(1, 1)
    consumer = consumer_of(sqs, slow, clock, visibility=40.0)
    task = asyncio.create_task(consumer.run())
    await run_ready()
    await clock.advance(19)
    assert sqs.hidden == []
    for round_ in (1, 2, 3):
        await clock.advance(20)
        assert sorted(sqs.hidden) == sorted([("h0", 40), ("h1", 40)] * round_)
    gate.set()
    await clock.advance(0)
    sqs.hidden.clear()
    await clock.advance(200)
    assert (sqs.hidden, sorted(sqs.deleted)) == ([], ["h0", "h1"])
    await consumer.drain(timeout=0)
    await task


class Backlog(Sqs):
    """Holds `waiting` messages; notes the calls that receive at one time and how long they would wait."""

    def __init__(self, waiting: int) -> None:
        super().__init__(*[1] * waiting)
        self.now = self.most = 0
        self.waits: Counter[int] = Counter()
        self.gate = asyncio.Event()

    async def receive_message(self, **request: Any) -> Any:
        self.waits[request["WaitTimeSeconds"]] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
            await run_ready(5)
            taken, self.messages = self.messages[:10], self.messages[10:]
            if not taken and request["WaitTimeSeconds"]:
                await asyncio.get_running_loop().create_future()
        finally:
            self.now -= 1
        return {"Messages": taken}


async def test_more_calls_receive_while_the_queue_gives_full_batches() -> None:
    handled: list[str] = []

    async def handle(event: Event) -> None:
        handled.append(event.id)

    sqs = Backlog(95)
    consumer = consumer_of(sqs, handle, ManualClock(), wait_seconds=20)
    task = asyncio.create_task(consumer.run())
    await run_ready()
    assert (sqs.now, sqs.waits) == (1, {20: 1}), "one long poll finds out whether there is something"
    sqs.gate.set()
    await run_ready(500)
    assert len(handled) == 95
    assert sqs.most == 3
    assert sqs.now == 1, "the long poll is left, and waits"
    short = sqs.waits[0]
    assert short > 0
    await run_ready(100)
    assert sqs.waits[0] == short, "an empty queue is not polled more often"
    await consumer.drain(timeout=0)
    await task


async def test_too_many_messages_in_flight_of_all_consumers_are_waited_for() -> None:
    handled: list[str] = []

    async def handle(event: Event) -> None:
        handled.append(event.id)

    class Full(Sqs):
        refusals = 3

        async def receive_message(self, **request: Any) -> Any:
            self.refusals -= 1
            if self.refusals >= 0:
                raise ClientError({"Error": {"Code": "OverLimit"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "Op")  # type: ignore[typeddict-item]
            return await super().receive_message(**request)

    clock = ManualClock()
    consumer = consumer_of(Full(1), handle, clock)
    task = asyncio.create_task(consumer.run())
    await clock.advance(5)
    assert handled == ["1"]
    await consumer.drain(timeout=0)
    await task


class UnderWay(Sqs):
    """SQS hands messages out while the consumer drains: to calls that were sent before."""

    def __init__(self, waiting: int) -> None:
        super().__init__(*[1] * waiting)
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive_message(self, **request: Any) -> Any:
        taken, self.messages = self.messages[:10], self.messages[10:]
        await self.gate.wait()
        return {"Messages": taken}


async def test_messages_that_sqs_hands_out_during_the_drain_are_given_back() -> None:
    end = asyncio.Event()

    async def handle(_: Event) -> None:
        await end.wait()

    sqs = UnderWay(60)
    consumer = consumer_of(sqs, handle, ManualClock(), concurrency=4, ahead=1000)
    task = asyncio.create_task(consumer.run())
    while consumer.in_flight < 20:
        await asyncio.sleep(0)
    sqs.gate.clear()
    await run_ready()
    handed_out = 60 - len(sqs.messages)
    assert handed_out > consumer.in_flight, "some are under way"
    draining = asyncio.create_task(consumer.drain(timeout=1))
    await run_ready()
    sqs.gate.set()
    end.set()
    await draining
    await task
    given_back = {handle for handle, seconds in sqs.hidden if seconds == 0}
    assert given_back | set(sqs.deleted) == {f"h{n}" for n in range(handed_out)}


async def test_calls_to_the_queue_stand_back_behind_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(_: Event) -> None:
        pass

    gate = asyncio.Event()
    monkeypatch.setattr(foreground, "turn", gate.wait)
    sqs = Backlog(5)
    sqs.gate.set()
    consumer = consumer_of(sqs, handle, ManualClock(), wait_seconds=20, visibility=40.0)
    task = asyncio.create_task(consumer.run())
    await run_ready()
    assert not sqs.waits
    gate.set()
    await run_ready(6)
    gate.clear()
    await run_ready()
    assert sqs.waits, "they were received"
    assert not sqs.deleted, "and wait to be handled or deleted"
    gate.set()
    await run_ready()
    assert len(sqs.deleted) == 5
    await consumer.drain(timeout=0)
    await task


async def test_messages_that_were_received_are_given_back_when_the_drain_comes_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handle(_: Event) -> None:
        raise AssertionError("nothing is handled")

    monkeypatch.setattr(slices, "_SECONDS", 0.0)  # each value ends a slice
    sqs = Sqs(*[1] * 5)
    consumer = consumer_of(sqs, handle, ManualClock())
    task = asyncio.create_task(consumer.run())
    while not consumer.in_flight:
        await asyncio.sleep(0)
    assert consumer.in_flight < 5, "the others are not even looked at"
    await consumer.drain(timeout=0)
    await task
    assert sorted(sqs.hidden) == [(f"h{n}", 0) for n in range(5)]


async def test_a_handler_that_never_ends_is_stopped_and_its_message_put_back() -> None:
    stopped = False

    async def hang(_: Event) -> None:
        nonlocal stopped
        try:
            await asyncio.Event().wait()
        finally:
            stopped = True

    sqs = Sqs(1)
    consumer = consumer_of(sqs, hang, ManualClock(), handler_timeout=0.0)
    task = asyncio.create_task(consumer.run())
    await run_ready()
    assert stopped
    assert sqs.hidden == [("h0", 2)]
    await consumer.drain(timeout=0)
    await task


async def test_while_the_breaker_is_open_messages_in_flight_are_kept_and_tried_one_at_a_time() -> None:
    clock, tried, down = ManualClock(), 0, True

    async def handler(_: Event) -> None:
        nonlocal tried
        tried += 1
        if down:
            raise Unavailable("down")

    breaker = Breaker("x", clock, failures=2, cooldown=10, max_cooldown=10, rng=Middle())
    sqs = Sqs(*[1] * 10)
    consumer = consumer_of(sqs, handler, clock, breaker=breaker, visibility=1000.0)
    task = asyncio.create_task(consumer.run())
    await run_ready()
    assert (tried, consumer.in_flight) == (2, 8)
    await clock.advance(11)
    assert (tried, consumer.in_flight) == (3, 7)
    down = False
    await clock.advance(30)
    assert (tried, consumer.in_flight, consumer.counts["handled"]) == (10, 0, 7)
    await consumer.drain(timeout=0)
    await task


class ManyUsers(Sqs):
    """A queue with the messages of these users, in this order."""

    def __init__(self, *users: str) -> None:
        super().__init__()
        self.messages = []
        for n, user in enumerate(users):
            event = Event(f"{n}", "node.created", "brain2.node", user, f"{user}-{n}", 1, 0, {})
            body = json.dumps({"detail": json.loads(event.to_json())})
            self.messages.append({"Body": body, "ReceiptHandle": f"h{n}", "MessageId": f"m{n}", "Attributes": {}})

    async def receive_message(self, **request: Any) -> Any:
        if not self.messages:
            await asyncio.get_running_loop().create_future()
        count = request["MaxNumberOfMessages"]
        found, self.messages = self.messages[:count], self.messages[count:]
        return {"Messages": found}


async def test_one_users_import_does_not_delay_another_user() -> None:
    gates: dict[str, asyncio.Event] = {}

    async def handle(event: Event) -> None:
        gates[event.node_id] = asyncio.Event()
        await gates[event.node_id].wait()

    sqs = ManyUsers(*["import"] * 300, "single", "other")
    consumer = consumer_of(sqs, handle, ManualClock(), concurrency=8, ahead=1_000)
    task = asyncio.create_task(consumer.run())
    await run_ready()
    for _ in range(40):
        await run_ready()
    # A quarter of the handlers have the import, and the others are there for others, although they came last.
    assert sum(name.startswith("import") for name in gates) == 2
    assert [name for name in gates if not name.startswith("import")] == ["single-300", "other-301"]
    gates["single-300"].set()
    await run_ready()
    assert sum(name.startswith("import") for name in gates) == 2
    assert consumer.in_flight == 301
    await consumer.drain(timeout=0)
    await task
    given_back = {handle for handle, seconds in sqs.hidden if seconds == 0}
    assert len(given_back) == 301, "what waits and what is handled is made visible at once"


async def test_messages_far_back_in_a_line_are_extended_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(event: Event) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("shared.events.consumer._NEAR", 100)
    clock = ManualClock()
    sqs = ManyUsers(*["import"] * 250, "single")
    consumer = consumer_of(sqs, handle, clock, concurrency=4, visibility=40.0)
    task = asyncio.create_task(consumer.run())
    for _ in range(60):
        await run_ready()
    assert consumer.in_flight == 251
    await clock.advance(20)
    seconds = dict(sqs.hidden)
    # One is handled and a hundred are near; the single one of another user has a line of its own.
    assert Counter(seconds.values()) == {40: 1 + 100 + 1, 160: 149}
    assert seconds["h250"] == 40
    sqs.hidden.clear()
    await clock.advance(60)
    assert Counter(seconds for _, seconds in sqs.hidden) == {40: 3 * 102}
    await clock.advance(20)
    assert sum(seconds == 160 for _, seconds in sqs.hidden) == 149
    await consumer.drain(timeout=0)
    await task


async def test_no_more_is_received_ahead_than_allowed() -> None:
    async def handle(event: Event) -> None:
        await asyncio.get_running_loop().create_future()

    sqs = ManyUsers(*["import"] * 300)
    consumer = consumer_of(sqs, handle, ManualClock(), concurrency=4, ahead=50)
    task = asyncio.create_task(consumer.run())
    for _ in range(40):
        await run_ready()
    assert consumer.in_flight == 54
    await consumer.drain(timeout=0)
    await task
