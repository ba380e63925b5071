"""A queue of one test that receives all events of one user."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator

from shared.events.envelope import Event
from tests.support.stores import Stores
from tests.support.waiting import until


class Listener:
    """received: the events so far, duplicates left out."""

    def __init__(self) -> None:
        self.received: list[Event] = []

    def add(self, event: Event) -> None:
        if all(event.id != known.id for known in self.received):
            self.received.append(event)

    async def wait_for(self, count: int) -> list[Event]:
        await until(lambda: len(self.received) >= count, what=f"the {count}th event")
        return self.received


@contextlib.asynccontextmanager
async def listening(stores: Stores, user: str) -> AsyncIterator[Listener]:
    """Listens from now on."""
    listener = Listener()
    name = f"test-{uuid.uuid4().hex[:12]}"
    bus = stores.resources.bus
    async with stores.client("sqs") as sqs, stores.client("events") as events:
        queue = (await sqs.create_queue(QueueName=name))["QueueUrl"]
        attributes = await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        pattern = {"detail": {"brain2user": [user]}}
        await events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
        target = {"Id": name, "Arn": attributes["Attributes"]["QueueArn"]}
        await events.put_targets(Rule=name, EventBusName=bus, Targets=[target])

        async def receive() -> None:
            while True:
                answer = await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
                for message in answer.get("Messages", []):
                    listener.add(Event.from_json(json.loads(message["Body"])["detail"]))
                    await sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

        receiving = asyncio.create_task(receive())
        try:
            yield listener
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            await events.remove_targets(Rule=name, EventBusName=bus, Ids=[name])
            await events.delete_rule(Name=name, EventBusName=bus)
            await sqs.delete_queue(QueueUrl=queue)
