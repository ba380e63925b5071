"""What the proxy of `make bench-cost` counts, by DynamoDB's rules, in front of a store that answers as it is told."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from protos import table
from tests.bench.cost.operations import check_read
from tests.bench.cost.proxy import OWNERS, CostProxy, UncountedError, item_name

KB = 1024
NOTE = table.node_key("ada", "n")
OTHER = table.node_key("ada", "m")
DEFINITION = {
    "GlobalSecondaryIndexes": [
        {
            "IndexName": table.USER_TIME_INDEX,
            "KeySchema": [
                {"KeyType": "HASH", "AttributeName": "GSI3PK"},
                {"KeyType": "RANGE", "AttributeName": "GSI3SK"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["title"]},
        }
    ]
}
Item = dict[str, Any]


def key(of: table.Key) -> Item:
    return {"PK": {"S": of[0]}, "SK": {"S": of[1]}}


def item(of: table.Key = NOTE, size: int = 100, **others: str) -> Item:
    """About as many bytes."""
    return {**key(of), "content": {"S": "x" * size}, **{name: {"S": value} for name, value in others.items()}}


def error(code: str, **others: Any) -> tuple[int, Item]:
    return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **others}


class Store:
    """A DynamoDB that has `items`, and answers an operation with what `answers` has for it. written: what a write makes
    of the items."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self.answers: dict[str, tuple[int, Item]] = {}
        self.written: Mapping[table.Key, Item | None] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        asked = await request.json()
        if operation == "BatchGetItem" and operation not in self.answers:
            (keys,) = (each["Keys"] for each in asked["RequestItems"].values())
            found = [self.items[each["PK"]["S"], each["SK"]["S"]] for each in keys if self._has(each)]
            return web.json_response({"Responses": dict.fromkeys(asked["RequestItems"], found)})
        status, body = self.answers.get(operation, (200, {}))
        if status == 200:
            for where, made in self.written.items():
                self.items.pop(where, None)
                if made is not None:
                    self.items[where] = made
        return web.json_response(body, status=status)

    def _has(self, of: Item) -> bool:
        return (of["PK"]["S"], of["SK"]["S"]) in self.items


class World:
    """The proxy and the store behind it."""

    def __init__(self, proxy: CostProxy, store: Store, session: aiohttp.ClientSession) -> None:
        self.proxy, self.store = proxy, store
        self._session = session

    async def send(self, operation: str, **asked: Any) -> int:
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        async with self._session.post(self.proxy.urls["dynamodb"], data=json.dumps(asked), headers=headers) as answer:
            return answer.status

    @property
    def writes(self) -> dict[str, int]:
        return dict(self.proxy.bill.write_units)

    @property
    def reads(self) -> dict[str, float]:
        return dict(self.proxy.bill.read_units)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = Store()
    runner = web.ServerRunner(web.Server(store.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with (
            CostProxy({"dynamodb": f"http://127.0.0.1:{port}"}, DEFINITION).running() as proxy,
            aiohttp.ClientSession() as session,
        ):
            yield World(proxy, store, session)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("stored", "units"), [(None, 1), (100, 1), (5 * KB, 6)])
async def test_a_failed_condition_costs_what_is_stored(world: World, stored: int | None, units: int) -> None:
    world.store.items = {} if stored is None else {NOTE: item(size=stored, GSI3PK="u", GSI3SK="1")}
    world.store.answers["PutItem"] = error("ConditionalCheckFailedException")
    assert await world.send("PutItem", TableName="t", Item=item(), ConditionExpression="x") == 400
    assert world.writes == {"note": units}
    world.proxy.check()


@pytest.mark.parametrize(
    "code", ["ValidationException", "ProvisionedThroughputExceededException", "ThrottlingException"]
)
async def test_a_write_that_is_refused_costs_nothing(world: World, code: str) -> None:
    world.store.answers["UpdateItem"] = error(code)
    assert await world.send("UpdateItem", TableName="t", Key=key(NOTE)) == 400
    assert world.writes == {}
    assert world.proxy.bill.requests == {"UpdateItem": 1}
    world.proxy.check()


def transaction(*keys: table.Key, again: str = "a") -> Item:
    return {
        "TransactItems": [{"Put": {"TableName": "t", "Item": item(of)}} for of in keys],
        "ClientRequestToken": again,
    }


async def test_a_transaction_costs_twice(world: World) -> None:
    world.store.items = {OTHER: item(OTHER)}
    world.store.written = {NOTE: item(size=1500)}
    check = {"ConditionCheck": {"TableName": "t", "Key": key(OTHER)}}
    asked = transaction(NOTE)
    await world.send("TransactWriteItems", **asked | {"TransactItems": [*asked["TransactItems"], check]})
    assert world.writes == {"note": 4, "note (condition)": 2}


@pytest.mark.parametrize(
    ("reasons", "units"),
    [
        (["ConditionalCheckFailed", "None"], 4),
        (["ThrottlingError", "None"], 0),
        (["ValidationError", "None"], 0),
    ],
)
async def test_a_cancelled_transaction_costs_when_a_condition_failed(
    world: World, reasons: list[str], units: int
) -> None:
    found = [{"Code": reason} for reason in reasons]
    world.store.answers["TransactWriteItems"] = error("TransactionCanceledException", CancellationReasons=found)
    await world.send("TransactWriteItems", **transaction(NOTE, OTHER))
    assert sum(world.writes.values()) == units
    world.proxy.check()


async def test_a_transaction_that_is_repeated_costs_reads(world: World) -> None:
    world.store.written = {NOTE: item(size=5 * KB), OTHER: item(OTHER)}
    for _ in range(3):
        await world.send("TransactWriteItems", **transaction(NOTE, OTHER))
    assert world.writes == {"note": 12 + 2}, "the first one"
    assert world.reads == {"note": 2 * (4 + 2)}, "two units for 4 KB of each item, twice"
    await world.send("TransactWriteItems", **transaction(NOTE, OTHER, again="b"))
    assert world.writes == {"note": 2 * 14}


async def test_a_transaction_is_repeated_only_after_it_was_written(world: World) -> None:
    found = [{"Code": "ThrottlingError"}]
    world.store.answers["TransactWriteItems"] = error("TransactionCanceledException", CancellationReasons=found)
    await world.send("TransactWriteItems", **transaction(NOTE))
    del world.store.answers["TransactWriteItems"]
    await world.send("TransactWriteItems", **transaction(NOTE))
    assert (world.writes, world.reads) == ({"note": 2}, {})


async def test_what_a_batch_of_writes_leaves_out_costs_nothing(world: World) -> None:
    left = {"t": [{"PutRequest": {"Item": item(OTHER)}}]}
    world.store.answers["BatchWriteItem"] = 200, {"UnprocessedItems": left}
    world.store.written = {NOTE: item(size=3000)}
    requests = [{"PutRequest": {"Item": item(size=3000)}}, {"PutRequest": {"Item": item(OTHER)}}]
    await world.send("BatchWriteItem", RequestItems={"t": requests})
    assert world.writes == {"note": 3}


async def test_what_a_batch_of_reads_leaves_out_costs_nothing(world: World) -> None:
    answer = {"Responses": {"t": [item(size=5 * KB)]}, "UnprocessedKeys": {"t": {"Keys": [key(OTHER)]}}}
    world.store.answers["BatchGetItem"] = 200, answer
    missing = key(table.node_key("ada", "none"))
    await world.send("BatchGetItem", RequestItems={"t": {"Keys": [key(NOTE), key(OTHER), missing]}})
    assert world.reads == {"note": 1 + 0.5}, "an item that is not there costs a read"


def query(**others: Any) -> Item:
    values = {":pk": {"S": "USER#ada"}, ":sk": {"S": "NODE#n"}}
    return {"TableName": "t", "ExpressionAttributeValues": values, **others}


@pytest.mark.parametrize(("consistent", "units"), [(False, 0.5), (True, 1)])
async def test_an_empty_query_costs_a_read(world: World, consistent: bool, units: float) -> None:
    world.store.answers["Query"] = 200, {"Items": [], "Count": 0}
    await world.send("Query", **query(ConsistentRead=consistent))
    assert world.reads == {"note": units}


@pytest.mark.parametrize(
    ("low", "name"),
    [
        (table.HIDDEN, "visibility marker"),
        (table.edges_prefix("n"), "edge, stored twice; also a suppressed one"),
        (table.postings_prefix("n"), "keyword posting"),
        (table.RELINKS, "links to make"),
        (table.EDGES, "edge, stored twice; also a suppressed one"),
        (table.edge_sort_key("n", "m"), "edge, stored twice; also a suppressed one"),
    ],
)
async def test_an_empty_query_is_named_by_what_it_asks_for(world: World, low: str, name: str) -> None:
    world.store.answers["Query"] = 200, {"Items": [], "Count": 0}
    values = {":pk": {"S": "USER#ada"}, ":sk": {"S": low}}
    await world.send("Query", TableName="t", ExpressionAttributeValues=values)
    assert world.reads == {name: 0.5}


async def test_a_query_costs_the_sum_of_its_items(world: World) -> None:
    world.store.answers["Query"] = 200, {"Items": [item(size=2 * KB), item(OTHER, size=1900)], "Count": 2}
    await world.send("Query", **query(ConsistentRead=True))
    assert world.reads == {"note": 1}


async def test_a_throttled_read_costs_nothing(world: World) -> None:
    world.store.answers["Query"] = error("ThrottlingException")
    assert await world.send("Query", **query()) == 400
    assert world.reads == {}


INDEXED = item(GSI3PK="u", GSI3SK="1", title="a")


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (None, INDEXED, 1),
        (INDEXED, None, 1),
        (INDEXED, {**INDEXED, "GSI3SK": {"S": "2"}}, 2),
        (INDEXED, {**INDEXED, "title": {"S": "b"}}, 1),
        (INDEXED, {**INDEXED, "content": {"S": "other"}}, 0),
    ],
    ids=["enters", "leaves", "moves", "changes", "stays"],
)
async def test_an_index_costs_what_changes_in_it(
    world: World, before: Item | None, after: Item | None, units: int
) -> None:
    world.store.items = {} if before is None else {NOTE: before}
    world.store.written = {NOTE: after}
    await world.send("UpdateItem", TableName="t", Key=key(NOTE))
    assert world.writes.get("UserTimeIndex: note", 0) == units
    assert world.proxy.bill.write_units_of("node") == 1 + units


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("TransactGetItems", {"TransactItems": []}),
        ("Scan", {"TableName": "t"}),
        ("ExecuteStatement", {}),
        ("Query", query(FilterExpression="x")),
        ("PutItem", {"TableName": "t", "Item": key(("a partition", "of nothing"))}),
        ("UpdateItem", {"TableName": "t", "Key": key(("a partition", "of nothing"))}),
    ],
)
async def test_what_cannot_be_counted_is_an_error(world: World, operation: str, asked: Item) -> None:
    await world.send(operation, **asked)
    with pytest.raises(UncountedError):
        world.proxy.check()


@pytest.mark.parametrize("answer", [error("SomethingNew"), (500, {"__type": "InternalServerError"})])
async def test_an_answer_without_a_rule_is_an_error(world: World, answer: tuple[int, Item]) -> None:
    world.store.answers["PutItem"] = answer
    await world.send("PutItem", TableName="t", Item=item())
    with pytest.raises(UncountedError):
        world.proxy.check()


@pytest.mark.parametrize("service", table.SERVICES)
def test_an_item_that_each_service_has_is_named_with_its_service(service: str) -> None:
    partition = table.outbox_partition(service, 3)
    assert item_name(partition, "an event") == f"event in the outbox of {service}"
    assert item_name(*table.outbox_lease_key(partition)) == f"lease of an outbox shard of {service}"
    assert item_name(*table.settings_key(service, "ada")) == f"user settings of {service}"
    assert OWNERS[f"event in the outbox of {service}"] == service


@pytest.mark.parametrize("name", ["read_miss", "lookup_miss", "get_edge"])
def test_a_read_without_a_cache_must_read_the_table(name: str) -> None:
    check_read(name, {"read_units": 0.5})
    check_read("lookup_hit", {"read_units": 0})
    with pytest.raises(RuntimeError, match="a cache has answered it"):
        check_read(name, {"read_units": 0})
