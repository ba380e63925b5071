"""The main job on four real services: a note is stored, linked, found, deleted, cleaned up, or brought back."""

import gzip
import json
from collections.abc import Awaitable
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.local.stack import Stack
from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import FailedPrecondition, NotFound
from tests.support.client import Client
from tests.support.stores import Stores
from tests.support.waiting import until, until_stable

# What a delete promises is 30 ms; a test on a busy machine allows a second, and still fails if only a purge would help.
_AT_ONCE = 1.0


async def deletion(client: Client, node_id: str) -> cleanup_pb2.Deletion:
    request = cleanup_pb2.GetDeletionRequest(user_id=client.user, node_id=node_id)
    answer: cleanup_pb2.GetDeletionResponse = await client.cleanup.GetDeletion(request)
    return answer.deletion


async def found_by(client: Client, query: str) -> set[str]:
    return {hit.node_id for hit in (await client.search(query, limit=100)).hits}


async def is_hidden(client: Client, node_id: str, friend: str, query: str) -> bool:
    return not (
        await client.is_there(node_id)
        or node_id in await client.neighbor_ids(friend)
        or node_id in await found_by(client, query)
    )


async def items_about(stack: Stack, user: str, node_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Everything in the table whose sort key names the note: sort key and item."""
    found: list[tuple[str, dict[str, Any]]] = []
    async with Stores(stack.endpoints, stack.resources).client("dynamodb") as dynamodb:
        pages = dynamodb.get_paginator("query").paginate(
            TableName=stack.resources.table,
            KeyConditionExpression="PK = :user",
            ExpressionAttributeValues={":user": {"S": f"USER#{user}"}},
        )
        async for page in pages:
            found += [(item["SK"]["S"], item) for item in page["Items"] if node_id in item["SK"]["S"].split("#")]
    return found


def is_remains(key: str, item: dict[str, Any]) -> bool:
    """What may be left of a purged note: the record of its cleanup, and tombstones, which expire and hold no text."""
    texts = [value["S"] for name, value in item.items() if "S" in value and name not in ("PK", "SK")]
    return key.startswith("CLEANUP#") or ("expires_at" in item and not texts)


async def archived(stack: Stack, manifest_uri: str) -> dict[str, Any]:
    """The note of an archive, by the address of its manifest."""
    bucket, _, key = manifest_uri.removeprefix("s3://").partition("/")
    async with Stores(stack.endpoints, stack.resources).client("s3") as s3:
        note = await s3.get_object(Bucket=bucket, Key=key.rpartition("/")[0] + "/note.json.gz")
        found = json.loads(gzip.decompress(await note["Body"].read()))
    assert isinstance(found, dict)
    return found


async def test_a_new_note_gets_links_that_say_why(library: Client) -> None:
    draft = node_pb2.NewNode(
        node_id="e2e-new",
        title="How names become numbers",
        content="The Domain Name System turns the name of a server into its IP address, so that a router can pass the "
        "packets of a TCP/IP connection on.",
    )
    await library.node.CreateNode(node_pb2.CreateNodeRequest(user_id=library.user, node=draft))
    await until(lambda: library.neighbor_ids("e2e-new"), what="the first automatic link")
    near = await library.neighbors("e2e-new")
    assert near.total_degree == len(near.neighbors)
    weights = [neighbor.weight for neighbor in near.neighbors]
    assert weights == sorted(weights, reverse=True)
    for neighbor in near.neighbors:
        edge = await library.edge("e2e-new", neighbor.node_id)
        assert edge.metadata.auto_generated
        assert edge.metadata.method
        assert edge.metadata.shared_keywords
        assert 0 < edge.metadata.score <= 1
        assert neighbor.title
        # An edge has two ends, and is seen from both.
        assert "e2e-new" in await library.neighbor_ids(neighbor.node_id)
    assert await library.neighbor_ids("e2e-new") & {"domain-name-system", "ip-address", "router", "tcp-ip"}


async def test_two_hops_hold_the_neighbours_and_theirs(library: Client) -> None:
    request = graph_pb2.GetSubgraphRequest(user_id=library.user, node_id="compiler", max_hops=2, max_fanout=200)
    answer = await library.graph.GetSubgraph(request)
    hops = {node.node_id: node.hops for node in answer.nodes}
    near = await library.neighbor_ids("compiler")
    assert near
    assert {node_id for node_id, distance in hops.items() if distance == 1} == near
    assert hops["compiler"] == 0
    friend = max(near)
    assert await library.neighbor_ids(friend) <= hops.keys()
    assert {(edge.source_id, edge.target_id) for edge in answer.edges} >= {
        (min("compiler", other), max("compiler", other)) for other in near
    }


async def test_search_finds_notes_by_their_words(library: Client) -> None:
    answer = await library.search('"garbage collection"')
    assert answer.total >= len(answer.hits) > 0
    assert "garbage-collection" in {hit.node_id for hit in answer.hits[:3]}
    assert all(hit.snippet for hit in answer.hits)
    assert any(hit.highlights for hit in answer.hits)


async def test_similar_notes_to_a_text_that_is_no_note(library: Client) -> None:
    request = similarity_pb2.FindSimilarRequest(
        user_id=library.user, text="sorting a list by repeatedly choosing a pivot and partitioning around it", limit=5
    )
    answer = await library.similarity.FindSimilar(request)
    assert "quicksort" in {node.node_id for node in answer.nodes}


async def test_a_deleted_note_is_gone_at_once_and_then_for_good(stack: Stack, library: Client) -> None:
    node_id, query = "semaphore", "semaphore"
    friends = await library.neighbor_ids(node_id)
    friend = min(friends)
    assert node_id in await found_by(library, query)
    answer = await library.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=library.user, node_id=node_id))
    assert answer.purge_time.seconds > Timestamp(seconds=0).seconds
    await until(lambda: is_hidden(library, node_id, friend, query), seconds=_AT_ONCE, what="the note being hidden")
    # The edges wait for a restore.
    assert [key for key, _ in await items_about(stack, library.user, node_id) if key.startswith("EDGE#")]

    queue = cleanup_pb2.QueueDeletionRequest(user_id=library.user, node_id=node_id)
    await library.cleanup.QueueDeletion(queue)

    async def done() -> bool:
        state = (await deletion(library, node_id)).state
        assert state != cleanup_pb2.DELETION_STATE_FAILED
        return state == cleanup_pb2.DELETION_STATE_DONE

    await until(done, what="the cleanup")
    saga = await deletion(library, node_id)
    assert saga.removed_edges == len(friends)
    steps = [event.step for event in saga.history if event.step]
    assert steps == sorted(steps)
    assert steps

    async def nothing_left() -> bool:
        return all(is_remains(key, item) for key, item in await items_about(stack, library.user, node_id))

    await until(nothing_left, what="nothing of the note being left in the table")
    assert not await library.is_there(node_id, show_deleted=True)
    assert not await library.neighbor_ids(node_id)
    for other in friends:
        assert node_id not in await library.neighbor_ids(other)

    archive = await archived(stack, saga.archive_uri)
    assert archive["note"]["title"] == "semaphore"
    assert archive["note"]["text"]

    with pytest.raises((NotFound, FailedPrecondition)):
        await library.node.RestoreNode(node_pb2.RestoreNodeRequest(user_id=library.user, node_id=node_id))


async def test_a_restored_note_is_back_with_everything(library: Client) -> None:
    node_id, query = "interrupt", "interrupt"
    # Links are made some time after the notes: the same links must come again.
    friends = await until_stable(lambda: library.neighbor_ids(node_id), quiet=3.0, seconds=60.0)
    assert friends
    before = (await library.node.GetNode(node_pb2.GetNodeRequest(user_id=library.user, node_id=node_id))).node
    await library.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=library.user, node_id=node_id))
    await until(lambda: is_hidden(library, node_id, min(friends), query), seconds=_AT_ONCE, what="it being hidden")
    restored = await library.node.RestoreNode(node_pb2.RestoreNodeRequest(user_id=library.user, node_id=node_id))
    assert (restored.node.title, restored.node.content) == (before.title, before.content)
    assert restored.node.version > before.version

    async def back() -> bool:
        return (
            await library.neighbor_ids(node_id) >= friends
            and node_id in await library.neighbor_ids(min(friends))
            and node_id in await found_by(library, query)
        )

    await until(back, what="the note being back")

    async def cancelled() -> bool:
        try:
            return (await deletion(library, node_id)).state == cleanup_pb2.DELETION_STATE_CANCELLED
        except NotFound:
            return False  # it hears of both by events, and the note was back before that

    await until(cancelled, what="the deletion being cancelled")


async def test_a_deletion_that_is_not_written_hides_nothing(library: Client) -> None:
    """It was carried out before under its request_id, so its transaction is refused after it was announced."""
    node_id, query = "interrupt", "interrupt"
    friend = min(await until(lambda: library.neighbor_ids(node_id), what="its links"))
    request = node_pb2.DeleteNodeRequest(user_id=library.user, node_id=node_id, request_id="delete-interrupt")
    await library.node.DeleteNode(request)
    await library.node.RestoreNode(node_pb2.RestoreNodeRequest(user_id=library.user, node_id=node_id))
    await library.node.DeleteNode(request)

    async def shown() -> bool:
        return node_id in await library.neighbor_ids(friend) and node_id in await found_by(library, query)

    await until(shown, seconds=_AT_ONCE, what="the note being shown")
    assert await library.is_there(node_id)


async def test_nothing_of_one_user_is_seen_by_another(library: Client, client: Client) -> None:
    assert not await client.is_there("compiler")
    assert not await client.neighbor_ids("compiler")
    assert not await found_by(client, "compiler")
    listed = await client.node.ListNodes(node_pb2.ListNodesRequest(user_id=client.user))
    assert not listed.nodes
    await refused(
        client.graph.GetEdge(
            graph_pb2.GetEdgeRequest(
                user_id=client.user, source_id="compiler", target_id=min(await library.neighbor_ids("compiler"))
            )
        )
    )


async def refused(call: Awaitable[Any]) -> None:
    with pytest.raises(NotFound):
        await call
