"""Everything that was made of a user's events is lost, and made again by a replay of them."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from deploy.local.stack import Stack
from deploy.local.stores import ROOT
from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import NotFound
from shared.grpc.client import Channels
from tests.e2e.test_restart import draft, is_indexed
from tests.support.client import Client
from tests.support.stack import whole_stack
from tests.support.stores import Stores, fresh_user
from tests.support.traces import table_items
from tests.support.waiting import until, until_stable

# What a stopped service's last long poll took along waits until SQS shows it again.
pytestmark = pytest.mark.timeout(300)
NOTES = 40
GONE, BACK, CHANGED = "n00000", "n00004", "n00008"
CONSUMERS = ("graph", "similarity", "cleanup")


async def picture(client: Client, ids: list[str]) -> dict[str, Any]:
    """All that a user sees of what is made from events."""
    queries = ("honey", "tea kettle", "harbour anchor", '"more bees"', "moraine*", "lighthouse")
    keyword = similarity_pb2.ListNodesByKeywordRequest(user_id=client.user, keyword="tea", page_size=100)
    return {
        # Which are linked; a link's score is of when it was made.
        "links": sorted(await client.links(ids)),
        "search": {query: [hit.node_id for hit in (await client.search(query, limit=100)).hits] for query in queries},
        "keyword": sorted(each.node_id for each in (await client.similarity.ListNodesByKeyword(keyword)).nodes),
    }


async def pending(client: Client, node_id: str) -> bool:
    request = cleanup_pb2.GetDeletionRequest(user_id=client.user, node_id=node_id)
    try:
        state = (await client.cleanup.GetDeletion(request)).deletion.state
    except NotFound:
        return False
    return bool(state == cleanup_pb2.DELETION_STATE_PENDING)


async def all_indexed(client: Client, ids: list[str]) -> bool:
    return all(await asyncio.gather(*(is_indexed(client, node_id) for node_id in ids)))


async def lose_it(stack: Stack, user: str) -> int:
    """Index records, keywords, automatic edges, marks of hidden notes, deletions, and all of Redis."""
    stores = Stores(stack.endpoints, stack.resources)
    lost = [
        item
        for item in await table_items(stores, stack.resources.table)
        if item["PK"]["S"] == f"USER#{user}"
        and (
            item["SK"]["S"].startswith(("TERMS#", "KW#", "CLEANUP#", "GRAPH#HIDDEN#"))
            or (item["SK"]["S"].startswith("EDGE#") and "auto" in item)
        )
    ]
    async with stores.client("dynamodb") as dynamodb:
        for item in lost:
            key = {"PK": item["PK"], "SK": item["SK"]}
            await dynamodb.delete_item(TableName=stack.resources.table, Key=key)
    connect: Any = redis.Redis.from_url
    async with connect(stores.redis_url) as cache:
        await cache.flushall()
    return len(lost)


async def replay(stack: Stack, user: str) -> dict[str, Any]:
    """By the command, as an operator would; its last line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.node_service", "replay", "--user", user, "--target", stack.addresses["node"],
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    last: dict[str, Any] = json.loads(output.splitlines()[-1])
    return last


async def relink(client: Client) -> None:
    request = similarity_pb2.ReindexUserRequest(user_id=client.user, relink=True)
    assert [answer async for answer in client.similarity.ReindexUser(request)][-1].finished


async def test_a_replay_makes_again_what_was_made_of_the_events(tmp_path: Path) -> None:
    user = fresh_user()
    async with whole_stack(tmp_path) as (stack, _), Channels() as channels:
        client = Client(channels, stack.addresses, user)
        drafts = [draft(number) for number in range(NOTES)]
        await client.node.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=user, nodes=drafts))
        ids = [each.node_id for each in drafts]
        await until(lambda: all_indexed(client, ids), what="every note being indexed")
        await until_stable(lambda: client.links(ids), quiet=3.0, seconds=60.0)

        # One note is changed, one deleted, one deleted and restored; one link made and one rejected by a person.
        text = node_pb2.NewNode(content="About a lighthouse and its harbour, anchor, keel, tide and mast.")
        await client.node.UpdateNode(node_pb2.UpdateNodeRequest(user_id=user, node_id=CHANGED, node=text))
        for node_id in (GONE, BACK):
            await client.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=user, node_id=node_id))
        await client.node.RestoreNode(node_pb2.RestoreNodeRequest(user_id=user, node_id=BACK))
        own = graph_pb2.NewEdge(source_id=ids[1], target_id=ids[2], type="by_hand", weight=0.75)
        await client.graph.CreateEdge(graph_pb2.CreateEdgeRequest(user_id=user, edge=own))
        live = [node_id for node_id in ids if node_id != GONE]
        await until_stable(lambda: client.links(live), quiet=3.0, seconds=60.0)
        rejected = next(pair for pair in sorted(await client.links(live)) if pair != (ids[1], ids[2]))
        unlike = graph_pb2.SuppressEdgeRequest(user_id=user, source_id=rejected[0], target_id=rejected[1])
        await client.graph.SuppressEdge(unlike)
        await until(lambda: pending(client, GONE), what="the deletion")
        # What was made long ago follows the slow drift of IDF with a delay (docs/adr/0033): compared is what is made
        # of the notes as they are now.
        await relink(client)
        before = await until_stable(lambda: picture(client, live), quiet=3.0, seconds=60.0)
        assert len(before["links"]) > 20
        assert rejected not in before["links"]
        assert CHANGED in before["search"]["lighthouse"]

        for name in CONSUMERS:
            await stack.children[name].stop(15.0)
        assert await lose_it(stack, user) > 3 * NOTES
        await asyncio.gather(*(stack.restart(name) for name in CONSUMERS))
        after = await picture(client, live)
        assert after["links"] == [(ids[1], ids[2])]
        assert not any(after["search"].values())
        assert not await pending(client, GONE)

        assert await replay(stack, user) == {"replayed": str(NOTES), "finished": True}
        await until(lambda: all_indexed(client, live), seconds=90.0, what="every note being indexed again")
        await until(lambda: pending(client, GONE), seconds=90.0, what="the deletion again")

        again = await until_stable(lambda: picture(client, live), quiet=5.0, seconds=90.0)
        assert {**again, "keyword": []} == {**before, "keyword": []}
        # A note's keywords are those of the time when it was indexed, among the notes that there were then.
        await relink(client)
        assert await until_stable(lambda: picture(client, live), quiet=5.0, seconds=90.0) == before
        ends = {end for link in await client.links(ids) for end in link}
        assert GONE not in ends

        # Whoever is up to date isn't disturbed by another.
        await replay(stack, user)
        assert await until_stable(lambda: picture(client, live), quiet=5.0, seconds=60.0) == before
        await client.node.RestoreNode(node_pb2.RestoreNodeRequest(user_id=user, node_id=GONE))
        await until(lambda: is_indexed(client, GONE), what="the restored note in the index")
