"""SQS on the embedded store, whose looks at messages are ours (deploy/local/ministack_queues.py), against a model."""

import json
import random
from collections import Counter
from typing import Any

from tests.support.stores import Stores

_MOST_RECEIVES = 3


async def test_messages_are_received_until_they_are_deleted_or_dead(stores: Stores, user: str) -> None:
    rng = random.Random(1)
    sent = 0
    receives: Counter[str] = Counter()
    deleted: set[str] = set()
    async with stores.client("sqs") as sqs:
        dlq = (await sqs.create_queue(QueueName=f"dead-{user}"))["QueueUrl"]
        arn = (await sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": _MOST_RECEIVES})
        made = await sqs.create_queue(QueueName=f"live-{user}", Attributes={"RedrivePolicy": redrive})
        url = made["QueueUrl"]
        for _ in range(40):
            entries: Any = [{"Id": str(n), "MessageBody": str(sent + n)} for n in range(rng.randrange(1, 11))]
            await sqs.send_message_batch(QueueUrl=url, Entries=entries)
            sent += len(entries)
            messages = await _receive(sqs, url)
            receives.update(message["Body"] for message in messages)
            assert not deleted & {message["Body"] for message in messages}
            rng.shuffle(messages)
            at = rng.randrange(len(messages) + 1)
            gone, back = messages[:at], messages[at:]
            if gone:
                handles: Any = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(gone)]
                handles = [*handles[:9], {"Id": "unknown", "ReceiptHandle": "unknown"}]
                answer = await sqs.delete_message_batch(QueueUrl=url, Entries=handles)
                assert [each["Id"] for each in answer["Failed"]] == ["unknown"]
                deleted |= {each["Body"] for each in gone[:9]}
            await _give_back(sqs, url, [*back, *gone[9:]])
        while messages := await _receive(sqs, url):
            receives.update(message["Body"] for message in messages)
            await _give_back(sqs, url, messages)
        dead: set[str] = set()
        while messages := await _receive(sqs, dlq):
            dead |= {message["Body"] for message in messages}
        assert max(receives.values()) == _MOST_RECEIVES
        assert not dead & deleted
        assert dead | deleted == {str(n) for n in range(sent)}
        assert all(receives[body] == _MOST_RECEIVES for body in dead)


async def _receive(sqs: Any, url: str) -> list[Any]:
    answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0, VisibilityTimeout=600)
    return list(answer.get("Messages", ()))


async def _give_back(sqs: Any, url: str, messages: list[Any]) -> None:
    if messages:
        entries = [
            {"Id": str(n), "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": 0}
            for n, each in enumerate(messages)
        ]
        assert not (await sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)).get("Failed")
