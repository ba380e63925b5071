"""Waits until nothing is on its way any more: queues, outboxes, deletions, the graph's journal, notes to relink."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.history import History
from tests.support.stores import Stores

_SERVICES = ("node", "graph", "similarity", "cleanup")


@dataclass
class Calm:
    """How it went. redriven: events that had ended in the dead letters and were sent again, as an operator would."""

    seconds: float
    redriven: int
    quiet: bool
    left: dict[str, int]


async def until_quiet(stores: Stores, history: History, limit: float, say: Callable[[str], None]) -> Calm:
    """Returns when nothing is left for two looks in a row, or after `limit` seconds."""
    started = said = time.monotonic()
    redriven = looks = 0
    left: dict[str, int] = {}
    async with stores.client("sqs") as sqs, stores.client("dynamodb") as dynamodb:
        while time.monotonic() - started < limit:
            redriven += await _redrive(sqs, stores, history)
            left = await _left(sqs, dynamodb, stores)
            looks = looks + 1 if not left else 0
            if looks == 3:
                return Calm(time.monotonic() - started, redriven, True, {})
            if time.monotonic() - said > 15:
                said = time.monotonic()
                say(f"  still on its way: {_summary(left)}")
            await asyncio.sleep(0.5)
    return Calm(time.monotonic() - started, redriven, False, left)


async def _left(sqs: Any, dynamodb: Any, stores: Stores) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, url in stores.resources.queues.items():
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        found[f"queue {name}"] = sum(int(answer["Attributes"][one]) for one in names)
    partitions = [f"OUTBOX#{service}#{shard}" for service in _SERVICES for shard in range(8)]
    partitions += [f"GRAPH#JOURNAL#{shard}" for shard in range(4)]
    for pk in partitions:
        found[pk] = await _count(dynamodb, stores, "PK", pk)
    queued = [f"SAGA#{state}#{shard}" for state in ("PENDING", "RUNNING") for shard in range(16)]
    queued += [f"SETTLE#{shard}" for shard in range(4)]
    for pk in queued:
        found[pk] = await _count(dynamodb, stores, "GSI2PK", pk, index="DeletionQueue")
    return {name: count for name, count in found.items() if count}


async def _count(dynamodb: Any, stores: Stores, key: str, value: str, index: str = "") -> int:
    more = {"IndexName": index} if index else {}
    answer = await dynamodb.query(
        TableName=stores.resources.table,
        KeyConditionExpression=f"{key} = :pk",
        ExpressionAttributeValues={":pk": {"S": value}},
        Select="COUNT",
        **more,
    )
    return int(answer["Count"])


async def _redrive(sqs: Any, stores: Stores, history: History) -> int:
    count = 0
    for name, dlq in stores.resources.dlqs.items():
        while messages := (await sqs.receive_message(QueueUrl=dlq, MaxNumberOfMessages=10)).get("Messages"):
            for message in messages:
                history.note("a dead letter", queue=name, body=_gist(message["Body"]))
                await sqs.send_message(QueueUrl=stores.resources.queues[name], MessageBody=message["Body"])
                await sqs.delete_message(QueueUrl=dlq, ReceiptHandle=message["ReceiptHandle"])
                count += 1
    return count


def _summary(left: dict[str, int]) -> str:
    kinds: Counter[str] = Counter()
    for name, count in left.items():
        kinds[name.rpartition("#")[0] or name] += count
    return ", ".join(f"{kind} {count}" for kind, count in kinds.items())


def _gist(body: str) -> str:
    try:
        found = json.loads(body)
        detail = found.get("detail", found)
        return f"{detail.get('type')} {detail.get('subject')} v{detail.get('brain2version')}"
    except ValueError:
        return body[:100]
