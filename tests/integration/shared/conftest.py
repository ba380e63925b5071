"""The kernel's parts on the session's stores: clients, the table, and a bus with queues of a test's own."""

import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.aws import Aws
from shared.dynamo import Table
from shared.events.envelope import Event
from shared.events.failures import MOST_RECEIVES
from shared.ids import SystemClock, UlidFactory
from tests.support.stores import Stores


@dataclass(frozen=True)
class AwsAt:
    """shared.aws.AwsConfig of the session's stores."""

    region: str
    dynamodb_endpoint: str
    eventbridge_endpoint: str
    sqs_endpoint: str
    s3_endpoint: str


@dataclass(frozen=True)
class Channel:
    """A bus whose events of source `source` go to a queue; its maxReceiveCount is that of the template."""

    bus: str
    source: str
    queue_url: str
    dlq_url: str


@pytest.fixture(scope="session")
async def aws(stores: Stores) -> AsyncIterator[Aws]:
    at = stores.endpoints
    config = AwsAt(stores.region, at.dynamodb, at.eventbridge, at.sqs, at.s3)
    async with Aws(config) as clients:
        yield clients


@pytest.fixture(scope="session")
def table(aws: Aws, stores: Stores) -> Table:
    return Table(aws.dynamodb, stores.resources.table)


@pytest.fixture
async def channel(aws: Aws) -> AsyncIterator[Channel]:
    name = f"kernel-{uuid.uuid4().hex[:10]}"
    sqs: Any = aws.sqs
    events: Any = aws.events
    async with contextlib.AsyncExitStack() as undo:
        dlq = (await sqs.create_queue(QueueName=f"{name}-dlq"))["QueueUrl"]
        undo.push_async_callback(sqs.delete_queue, QueueUrl=dlq)
        redrive = {"deadLetterTargetArn": await _arn(sqs, dlq), "maxReceiveCount": str(MOST_RECEIVES)}
        attributes = {"RedrivePolicy": json.dumps(redrive)}
        queue = (await sqs.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"]
        undo.push_async_callback(sqs.delete_queue, QueueUrl=queue)
        arn = await _arn(sqs, queue)
        policy = {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                }
            ]
        }
        await sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
        await events.create_event_bus(Name=name)
        undo.push_async_callback(events.delete_event_bus, Name=name)
        await events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"source": ["brain2.test"]}))
        undo.push_async_callback(events.delete_rule, Name=name, EventBusName=name)
        await events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "queue", "Arn": arn}])
        undo.push_async_callback(events.remove_targets, Rule=name, EventBusName=name, Ids=["queue"])
        yield Channel(name, "brain2.test", queue, dlq)


async def _arn(sqs: Any, url: str) -> str:
    answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


@pytest.fixture
def service() -> str:
    """The name of a service that no other test knows: an outbox and idempotency records of its own."""
    return f"test-{uuid.uuid4().hex[:10]}"


class Events:
    """Makes events as a service would."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.ids = UlidFactory(self.clock)

    def make(self, number: int = 0, *, type: str = "node.created", age: float = 0, **changes: Any) -> Event:
        """age: seconds since it happened."""
        given: dict[str, Any] = {
            "id": self.ids.new_id(),
            "type": type,
            "source": "brain2.test",
            "user_id": "u",
            "node_id": f"n{number}",
            "version": 1,
            "time_ms": self.clock.now_ms() - int(age * 1000),
            "data": {"number": number},
            **changes,
        }
        return Event(**given)


@pytest.fixture
def events() -> Events:
    return Events()
