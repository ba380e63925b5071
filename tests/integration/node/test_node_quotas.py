"""Quotas of notes and bytes: what counts, what gives back, and what a caller is told."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from protos.node.v1 import node_pb2
from protos.table import usage_key
from shared.dynamo import Table
from shared.errors import ResourceExhausted
from tests.support.node_service import NodeService, running
from tests.support.stores import Stores


@pytest.fixture(scope="module")
async def limited(stores: Stores) -> AsyncIterator[NodeService]:
    async with running(stores, BRAIN2_QUOTA_NOTES="3", BRAIN2_QUOTA_BYTES="1000") as found:
        yield found


async def used(stores: Stores, user: str) -> tuple[int, int]:
    async with stores.client("dynamodb") as client:
        item = await Table(client, stores.resources.table).get(usage_key("node", user), consistent=True)
    assert item is not None
    return item["notes"], item["bytes"]


async def batch(service: NodeService, user: str, ids: list[str], request_id: str = "", **fields: Any) -> list[str]:
    """The reason of each result; "" for a note that was created."""
    notes = [node_pb2.NewNode(node_id=node_id, **({"title": "T"} | fields)) for node_id in ids]
    request = node_pb2.BatchCreateNodesRequest(user_id=user, nodes=notes, request_id=request_id)
    return [result.reason for result in (await service.stub.BatchCreateNodes(request)).results]


async def test_a_note_too_many_is_refused_with_the_quota_and_the_numbers(limited: NodeService, user: str) -> None:
    for node_id in "abc":
        await limited.create(user, node_id)
    with pytest.raises(ResourceExhausted) as caught:
        await limited.create(user, "d")
    error = caught.value
    assert (error.reason, error.retry_after) == ("QUOTA_EXCEEDED", None)
    assert dict(error.metadata) == {"quota": "notes", "limit": "3", "used": "3", "wanted": "1"}
    assert [(each.field, each.description) for each in error.violations] == [
        ("notes", "3 of 3 notes are used, and this needs 1 more")
    ]


async def test_a_deletion_gives_back_and_a_restore_takes(limited: NodeService, stores: Stores, user: str) -> None:
    for node_id in "abc":
        await limited.create(user, node_id, title="1234567890")
    await limited.delete(user, "a")
    assert await used(stores, user) == (2, 20)
    await limited.create(user, "d")
    with pytest.raises(ResourceExhausted, match="notes"):
        await limited.restore(user, "a")
    await limited.delete(user, "b")
    await limited.restore(user, "a")
    assert await used(stores, user) == (3, 21)
    # A purge of a deleted note gives nothing back a second time.
    version = (await limited.get(user, "b", show_deleted=True)).version
    for fence in (True, False):
        await limited.stub.PurgeNode(node_pb2.PurgeNodeRequest(user_id=user, node_id="b", version=version, fence=fence))
    assert await used(stores, user) == (3, 21)


async def test_the_bytes_of_all_texts_count_and_a_smaller_text_is_always_allowed(
    limited: NodeService, stores: Stores, user: str
) -> None:
    await limited.create(user, "a", title="ü", content="é" * 400, tags=["tag"], metadata={"k": "vv"}, aliases=["al"])
    assert await used(stores, user) == (1, 2 + 800 + 3 + 3 + 2)
    with pytest.raises(ResourceExhausted) as caught:
        await limited.update(user, "a", content="x" * 991)
    assert caught.value.metadata["quota"] == "bytes"
    await limited.update(user, "a", content="x" * 990)
    assert await used(stores, user) == (1, 1000)
    await limited.update(user, "a", content="x")
    assert await used(stores, user) == (1, 11)


async def test_a_batch_creates_what_fits(limited: NodeService, stores: Stores, user: str) -> None:
    assert await batch(limited, user, list("abcde"), "r1") == ["", "", "", "QUOTA_EXCEEDED", "QUOTA_EXCEEDED"]
    assert await used(stores, user) == (3, 3)
    # The same request finds the notes that it has made, and creates the others once there is room.
    await limited.delete(user, "a")
    assert (await batch(limited, user, list("abcde"), "r1"))[1:] == ["", "", "", "QUOTA_EXCEEDED"]


async def test_a_large_note_of_a_batch_does_not_keep_out_a_small_one(limited: NodeService, user: str) -> None:
    notes = [node_pb2.NewNode(title="T", content="x" * size) for size in (900, 500, 20)]
    answer = await limited.stub.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=user, nodes=notes))
    assert [result.reason for result in answer.results] == ["", "QUOTA_EXCEEDED", ""]


async def test_a_repeated_request_gets_its_answer_when_the_quota_is_full(limited: NodeService, user: str) -> None:
    request = node_pb2.CreateNodeRequest(user_id=user, node=node_pb2.NewNode(title="T"), request_id="r1")
    first = await limited.stub.CreateNode(request)
    await batch(limited, user, ["b", "c"])
    assert (await limited.stub.CreateNode(request)).node == first.node


async def test_a_whole_batch_of_the_largest_transactions_has_room_for_the_count(stores: Stores, user: str) -> None:
    async with running(stores, BRAIN2_QUOTA_NOTES="60") as service:
        ids = [f"n{number}" for number in range(100)]
        reasons = await batch(service, user, ids, "r1", content="x" * 9_000)
    assert sorted(reasons) == [""] * 60 + ["QUOTA_EXCEEDED"] * 40


async def test_quota_failure_is_the_detail_on_the_wire(limited: NodeService, user: str) -> None:
    await batch(limited, user, ["a", "b", "c"])
    async with grpc.aio.insecure_channel(limited.target) as channel:
        call: Any = channel.unary_unary("/brain2.node.v1.NodeService/CreateNode")
        request = node_pb2.CreateNodeRequest(user_id=user, node=node_pb2.NewNode(title="T"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request.SerializeToString())
    [details] = [value for key, value in caught.value.trailing_metadata() or () if key == "grpc-status-details-bin"]
    assert isinstance(details, bytes)
    assert b"google.rpc.QuotaFailure" in details
    assert b"google.rpc.RetryInfo" not in details
