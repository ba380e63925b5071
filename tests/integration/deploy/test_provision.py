"""The template applied for real: events reach the right queues, and applying it again is harmless."""

import json
from typing import Any

import pytest

from deploy.local import provision
from deploy.local.console import LaunchError
from shared.events.failures import MOST_RECEIVES
from tests.support.stores import Stores
from tests.support.waiting import within

# The contract between the services, docs/contracts.md: who hears what.
HEARD_BY = {
    "node.created": {"graph", "similarity"},
    "node.updated": {"graph", "similarity"},
    "node.deleted": {"graph", "similarity", "cleanup"},
    "node.restored": {"graph", "similarity", "cleanup"},
    "node.purged": {"graph", "similarity"},
    "edge.created": set(),
}


@pytest.fixture
async def own(stores: Stores, user: str) -> provision.Resources:
    """A bus and queues that no other test uses."""
    return await provision.apply(stores.endpoints, prefix=f"t-{user}")


async def test_applying_twice_keeps_names_and_data(stores: Stores, own: provision.Resources, user: str) -> None:
    key: dict[str, Any] = {"PK": {"S": "USER#a"}, "SK": {"S": "NODE#b"}}
    async with stores.client("dynamodb") as dynamodb:
        await dynamodb.put_item(TableName=own.table, Item=key)
        assert await provision.apply(stores.endpoints, prefix=f"t-{user}") == own
        assert (await dynamodb.get_item(TableName=own.table, Key=key)).get("Item") == key


async def test_a_stack_of_an_earlier_release_gets_the_bound_of_receives_and_keeps_its_messages(
    stores: Stores, user: str, tmp_path: Any
) -> None:
    bound = f"maxReceiveCount: {MOST_RECEIVES}"
    earlier = tmp_path / "earlier.yaml"
    earlier.write_text(provision.TEMPLATE.read_text(encoding="utf-8").replace(bound, "maxReceiveCount: 5"))
    made = await provision.apply(stores.endpoints, prefix=f"t-{user}", template=earlier)
    async with stores.client("sqs") as sqs:
        await sqs.send_message(QueueUrl=made.queues["graph"], MessageBody="kept")
        assert await provision.apply(stores.endpoints, prefix=f"t-{user}") == made
        for url in made.queues.values():
            found = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
            assert int(json.loads(found["Attributes"]["RedrivePolicy"])["maxReceiveCount"]) == MOST_RECEIVES
        [message] = (await sqs.receive_message(QueueUrl=made.queues["graph"]))["Messages"]
        assert message["Body"] == "kept"


async def test_expired_items_are_removed_by_the_store(stores: Stores, own: provision.Resources) -> None:
    async with stores.client("dynamodb") as dynamodb:
        found = (await dynamodb.describe_time_to_live(TableName=own.table))["TimeToLiveDescription"]
        assert found["TimeToLiveStatus"] in ("ENABLED", "ENABLING")
        assert found["AttributeName"] == "expires_at"


async def test_each_consumer_gets_the_events_it_hears_and_no_others(stores: Stores, own: provision.Resources) -> None:
    entries = [
        {"Source": "test", "DetailType": kind, "Detail": json.dumps({"kind": kind}), "EventBusName": own.bus}
        for kind in HEARD_BY
    ]
    async with stores.client("events") as events:
        assert (await events.put_events(Entries=entries))["FailedEntryCount"] == 0
    for consumer in provision.CONSUMERS:
        wanted = sorted(kind for kind, heard in HEARD_BY.items() if consumer in heard)
        assert sorted(await _receive(stores, own.queues[consumer], len(wanted))) == wanted


async def _receive(stores: Stores, queue: str, count: int) -> list[str]:
    """The types of `count` events, and of any further one that is there already."""
    kinds: list[str] = []
    async with stores.client("sqs") as sqs, within(30):
        while True:
            wait = 5 if len(kinds) < count else 0
            answer = await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait)
            messages = answer.get("Messages", [])
            kinds += [json.loads(message["Body"])["detail"]["kind"] for message in messages]
            if len(kinds) >= count and not messages:
                return kinds


async def test_a_template_that_is_refused_is_told_in_one_line(stores: Stores, user: str, tmp_path: Any) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("Resources: {Table: {Type: 'AWS::No::Such', Properties: {}}}")
    with pytest.raises(LaunchError) as caught:
        await provision.apply(stores.endpoints, prefix=f"b-{user}", template=broken)
    assert "\n" not in str(caught.value)
