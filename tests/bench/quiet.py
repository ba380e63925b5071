"""Whether a stack still works on something that no caller waits for."""

import asyncio

from protos.table import RELINKS, user_partition
from tests.support.stores import Stores


async def queued(stores: Stores) -> bool:
    """Whether a message waits in a queue or is being handled."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    async with stores.client("sqs") as sqs:
        for url in stores.resources.queues.values():
            found = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
            if any(int(found["Attributes"].get(name, 0)) for name in names):
                return True
    return False


async def relinking(stores: Stores, user_id: str) -> bool:
    """Whether notes of the user are still to be linked."""
    async with stores.client("dynamodb") as dynamodb:
        found = await dynamodb.query(
            TableName=stores.resources.table,
            KeyConditionExpression="PK = :pk AND begins_with(SK, :sk)",
            ExpressionAttributeValues={":pk": {"S": user_partition(user_id)}, ":sk": {"S": RELINKS}},
            ConsistentRead=True,
        )
    return bool(found["Items"])


async def until_quiet(stores: Stores, user_id: str, *, seconds: float = 600.0) -> None:
    """Wait until all events are handled and nothing of the user is to be linked; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while await queued(stores) or await relinking(stores, user_id):
            await asyncio.sleep(0.5)
