"""Dead letters on real SQS: seen with their reasons, sent back, handled."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from deploy.local.stores import ROOT
from shared.aws import Aws
from shared.errors import InvalidArgument, Unavailable
from shared.events.consumer import Consumer
from shared.events.envelope import Event
from shared.events.redrive import WORN_OUT, DeadLetters, Letter
from shared.ids import SystemClock
from tests.integration.shared.conftest import Channel, Events
from tests.support.clock import ManualClock
from tests.support.faults import Faulty, unreachable
from tests.support.stores import Stores
from tests.support.waiting import until


async def put(aws: Aws, url: str, *events: Event | str, **attributes: str) -> None:
    found: Any = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    for event in events:
        body = event if isinstance(event, str) else json.dumps({"detail": json.loads(event.to_json())})
        await aws.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=found)


async def depth(aws: Aws, url: str) -> int:
    answer = await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


async def redriven(aws: Aws, channel: Channel, **options: Any) -> Sequence[tuple[Letter, bool]]:
    letters = DeadLetters(aws.sqs, channel.dlq_url, SystemClock())
    return [each async for each in letters.redrive(channel.queue_url, **options)]


async def test_what_died_with_a_reason_comes_back_and_is_handled(aws: Aws, channel: Channel, events: Events) -> None:
    refusing, handled = [True], []

    async def handle(event: Event) -> None:
        if refusing[0]:
            raise InvalidArgument("a bug", reason="EVENT_ODD")
        handled.append(event.id)

    made = [events.make(n) for n in range(3)]
    await put(aws, channel.queue_url, *made)
    consumer = Consumer(
        aws.sqs,
        channel.queue_url,
        {"node.created": handle},
        service="tests",
        dlq_url=channel.dlq_url,
        clock=SystemClock(),
        wait_seconds=1,
    )
    running = asyncio.create_task(consumer.run())
    await until(lambda: consumer.counts["dead"] == 3)
    refusing[0] = False  # mended
    found = await redriven(aws, channel)
    assert {letter.reason for letter, sent in found if sent} == {"EVENT_ODD"}
    described = [letter.describe() for letter, _ in found]
    assert {each["event_id"] for each in described} == {event.id for event in made}
    assert {(each["service"], each["type"], each["error"]) for each in described} == {
        ("tests", "node.created", "a bug")
    }
    assert not any("number" in json.dumps(each) for each in described), "the event's data isn't shown"
    await until(lambda: len(handled) == 3)
    await consumer.drain()
    await running
    assert sorted(handled) == [event.id for event in made]
    assert await depth(aws, channel.dlq_url) == 0


async def test_a_look_leaves_everything_where_it_is(aws: Aws, channel: Channel, events: Events) -> None:
    await put(aws, channel.dlq_url, events.make(), "no event at all")
    found = await redriven(aws, channel, dry_run=True)
    assert [(letter.reason, sent) for letter, sent in found] == [(WORN_OUT, False)] * 2
    # They can be seen again at once.
    assert await depth(aws, channel.dlq_url) == 2
    assert await depth(aws, channel.queue_url) == 0


async def test_only_those_with_a_reason_and_no_more_than_asked(aws: Aws, channel: Channel, events: Events) -> None:
    await put(aws, channel.dlq_url, *(events.make(n) for n in range(12)), reason="ONE")
    await put(aws, channel.dlq_url, *(events.make(n) for n in range(3)), reason="OTHER")
    assert len(await redriven(aws, channel, reason="OTHER")) == 3
    assert await depth(aws, channel.queue_url) == 3
    assert len(await redriven(aws, channel, limit=5)) == 5
    assert (await depth(aws, channel.queue_url), await depth(aws, channel.dlq_url)) == (8, 7)


async def test_a_letter_of_eventbridge_goes_only_to_the_queue_that_it_missed(
    aws: Aws, channel: Channel, events: Events
) -> None:
    missed, other = events.make(1), events.make(2)
    arn = "arn:aws:sqs:eu-central-1:000000000000:"
    await put(aws, channel.dlq_url, missed, TARGET_ARN=arn + channel.queue_url.rpartition("/")[2], ERROR_CODE="GONE")
    await put(aws, channel.dlq_url, other, TARGET_ARN=f"{arn}Brain2-other", ERROR_CODE="GONE")
    found = await redriven(aws, channel)
    assert [(letter.describe()["event_id"], sent) for letter, sent in found] == [(missed.id, True)]
    assert (await depth(aws, channel.queue_url), await depth(aws, channel.dlq_url)) == (1, 1)
    # A look without a queue shows whose it is.
    letters = DeadLetters(aws.sqs, channel.dlq_url, SystemClock())
    [(letter, sent)] = [each async for each in letters.redrive("", dry_run=True)]
    assert (letter.describe()["missed_queue"], sent) == ("Brain2-other", False)


async def test_letters_that_were_not_tried_are_visible_when_it_ends_by_an_error(
    aws: Aws, channel: Channel, events: Events
) -> None:
    def fail(_: Any) -> None:
        raise unreachable()

    await put(aws, channel.dlq_url, *(events.make(n) for n in range(5)))
    letters = DeadLetters(Faulty(aws.sqs, send_message=fail), channel.dlq_url, SystemClock())  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        [each async for each in letters.redrive(channel.queue_url)]
    assert await depth(aws, channel.dlq_url) == 5


async def test_what_dies_while_it_runs_is_not_sent_round_in_circles(aws: Aws, channel: Channel, events: Events) -> None:
    await put(aws, channel.dlq_url, events.make())
    earlier = DeadLetters(aws.sqs, channel.dlq_url, ManualClock())
    assert [each async for each in earlier.redrive(channel.queue_url)] == []
    assert (await depth(aws, channel.queue_url), await depth(aws, channel.dlq_url)) == (0, 1)


async def test_the_command_in_a_services_environment(
    stores: Stores, aws: Aws, channel: Channel, events: Events
) -> None:
    await put(aws, channel.dlq_url, events.make(), reason="EVENT_ODD")
    env = os.environ | stores.environment("graph")
    env |= {"BRAIN2_QUEUE_URL": channel.queue_url, "BRAIN2_DLQ_URL": channel.dlq_url}

    async def run(*arguments: str) -> list[Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shared.events.redrive", *arguments, cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return [json.loads(line) for line in output.splitlines()]

    look, counts = await run("--dry-run")
    assert (look["reason"], look["sent_back"], counts) == ("EVENT_ODD", False, {"found": 1, "sent": 0})
    assert (await run())[-1] == {"found": 1, "sent": 1}
    assert await depth(aws, channel.queue_url) == 1
