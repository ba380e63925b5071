"""The goals for what operations cost on DynamoDB, by the accounting of `make bench-cost`."""

from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from tests.bench.cost import units
from tests.bench.cost.operations import LINKS, create, make_peers, text_about, update
from tests.bench.cost.world import Words, World, world
from tests.support.stores import Stores, fresh_user

KB = 1024


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("cost")) as found:
        yield found


async def test_a_note_of_1_kb_with_five_links(stack: World) -> None:
    user, words = fresh_user(), Words()
    text = text_about(await make_peers(stack, user, words), words, 700)
    bill = await stack.cost(create(stack, user, "note", "a title", text), user)
    asked = graph_pb2.GetNeighborsRequest(user_id=user, node_id="note")
    assert len((await stack.graph.GetNeighbors(asked)).neighbors) == LINKS
    assert sum(bill.write_units.values()) < 60
    assert bill.events == {"node.created": 1, "edge.created": 1}
    assert bill.write_units["note"] == 2, "one item of one unit, in a transaction"
    hit = await stack.cost(stack.graph.GetNeighbors(asked))
    assert (hit.write_units.total(), hit.read_units.total(), hit.requests.total()) == (0, 0, 0)


async def test_a_new_note_and_its_known_empty_list_are_read_from_the_caches(stack: World) -> None:
    user = fresh_user()
    await create(stack, user, "note", "a title", "a text that shares nothing with another note")
    await stack.quiet(user)
    note = node_pb2.GetNodeRequest(user_id=user, node_id="note")
    asked = graph_pb2.GetNeighborsRequest(user_id=user, node_id="note")
    bills = [await stack.cost(stack.nodes.GetNode(note)), await stack.cost(stack.graph.GetNeighbors(asked))]
    assert [(bill.read_units.total(), bill.requests.total()) for bill in bills] == [(0, 0), (0, 0)]
    await stack.forget_caches()
    bill = await stack.cost(stack.graph.GetNeighbors(asked))
    assert bill.read_units.total() == 2, "the list and the hidden notes: no memory is left, either"


@pytest.mark.parametrize("size", [700, 256 * KB])
async def test_what_leaves_the_content_alone_costs_the_same_at_any_size(stack: World, size: int) -> None:
    user, words = fresh_user(), Words()
    await create(stack, user, "note", "a title", words.text(words.some(60), size))
    await stack.quiet(user)
    renamed = await stack.cost(update(stack, user, "title", title="another"), user)
    deletion = node_pb2.DeleteNodeRequest(user_id=user, node_id="note")
    deleted = await stack.cost(stack.nodes.DeleteNode(deletion), user)
    restored = await stack.cost(
        stack.nodes.RestoreNode(node_pb2.RestoreNodeRequest(user_id=user, node_id="note")), user
    )
    for bill in (renamed, deleted, restored):
        assert bill.write_units_of("node") <= 8
        assert bill.write_units["content of a note"] == 0
    summary = node_pb2.GetNodeRequest(user_id=user, node_id="note", view=node_pb2.NODE_VIEW_SUMMARY)
    await stack.forget_caches()
    read = await stack.cost(stack.nodes.GetNode(summary))
    assert read.read_units == {"note": 1}


@pytest.mark.parametrize("size", [700, 256 * KB])
async def test_a_request_id_costs_two_units_more_for_a_new_content_of_any_size(stack: World, size: int) -> None:
    user, words = fresh_user(), Words()
    for title in ("a title", "another"):
        content = f"{' '.join(words.some(60))}. " * (1 + size // 500)
        node = node_pb2.NewNode(node_id="note", title=title, content=content[:size])
        if title == "a title":
            request = node_pb2.CreateNodeRequest(user_id=user, node=node, request_id="create")
            bill = await stack.cost(stack.nodes.CreateNode(request), user)
        else:
            update_request = node_pb2.UpdateNodeRequest(user_id=user, node_id="note", node=node, request_id="update")
            bill = await stack.cost(stack.nodes.UpdateNode(update_request), user)
        assert bill.write_units["idempotency record (expires) of node"] == 2, "one unit, in a transaction"
    await stack.nodes.DeleteNode(node_pb2.DeleteNodeRequest(user_id=user, node_id="note"))
    await stack.quiet(user)
    restore = node_pb2.RestoreNodeRequest(user_id=user, node_id="note", request_id="restore")
    bill = await stack.cost(stack.nodes.RestoreNode(restore), user)
    assert bill.write_units["idempotency record (expires) of node"] <= 10, (
        "a larger content is kept beside the transaction"
    )


async def test_the_store_words_its_refusals_as_dynamodb_does(stack: World) -> None:
    """What tests/unit/bench/test_cost_proxy.py counts by is what the proxy meets here."""
    user = fresh_user()
    key = {"PK": {"S": f"USER#{user}"}, "SK": {"S": "NODE#n"}}
    table = stack.stack.resources.table
    put = {"TableName": table, "Item": {**key, "content": {"S": "x" * 1500}}}
    once = {**put, "ConditionExpression": "attribute_not_exists(PK)"}
    through = Stores(replace(stack.stores.endpoints, dynamodb=stack.proxy.urls["dynamodb"]), stack.stack.resources)
    async with through.client("dynamodb") as client:

        async def refused(call: Awaitable[Any]) -> None:
            with pytest.raises(ClientError):
                await call

        checked = {"TransactItems": [{"Put": once}]}
        repeated = {"TransactItems": [{"Put": put}], "ClientRequestToken": user}
        for work, writes, reads in (
            (client.put_item(**once), 2, 0),
            (refused(client.put_item(**once)), 2, 0),
            (refused(client.put_item(**put, ConditionExpression="no expression")), 0, 0),
            (refused(client.transact_write_items(**checked)), 4, 0),
            (client.transact_write_items(**repeated), 4, 0),
            (client.transact_write_items(**repeated), 0, 2),
            (client.delete_item(TableName=table, Key=key), 2, 0),
            (client.delete_item(TableName=table, Key=key), 1, 0),
        ):
            bill = await stack.cost(work)
            assert (bill.write_units.total(), bill.read_units.total()) == (writes, reads)


def test_units_follow_the_rules_of_dynamodb() -> None:
    item: dict[str, dict[str, Any]] = {
        "PK": {"S": "a"},
        "SK": {"S": "b"},
        "x": {"S": "é" * 10},
        "n": {"N": "-12.5"},
        "l": {"L": [{"BOOL": True}]},
    }
    assert units.item_size(item) == 3 + 3 + 21 + (1 + 4) + (1 + 3 + 1 + 1)
    assert [units.write_units(size) for size in (0, 1, 1024, 1025)] == [1, 1, 1, 2]
    assert units.read_units(4097, consistent=True) == 2
    assert units.read_units(0, consistent=False) == 0.5
    index = units.Index("i", ("gp", "gs"), frozenset({"t"}))
    first = {"PK": {"S": "p"}, "SK": {"S": "s"}, "gp": {"S": "1"}, "gs": {"S": "1"}, "t": {"S": "T"}, "c": {"S": "C"}}
    assert units.index_write(index, None, first) == 1
    assert units.index_write(index, first, first | {"c": {"S": "other"}}) == 0, "not projected"
    assert units.index_write(index, first, first | {"t": {"S": "other"}}) == 1
    assert units.index_write(index, first, first | {"gs": {"S": "2"}}) == 2, "the entry moves"
    assert units.table_write(first, None, transaction=True) == 2
