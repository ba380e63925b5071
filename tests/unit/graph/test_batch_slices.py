"""Creating many edges in one call does not hold the event loop: other tasks run between them."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import json_format

from protos.graph.v1 import events_pb2, graph_pb2
from services.graph_service.adapters.dynamo import DynamoEdgeStore
from services.graph_service.adapters.items import edge_items
from services.graph_service.model.consistency_token import token_for
from services.graph_service.model.edge import Edge, NewEdge, first_version
from services.graph_service.ports import ChangeType, EdgeChange, Write
from services.graph_service.servicer import GraphServicer
from services.graph_service.usecases.batch_create_edges import BatchCreateEdges, EdgeResult
from shared.dynamo import Put, Table
from shared.dynamo.marshal import marshal_item
from shared.events.envelope import Event
from shared.ids import UlidFactory
from shared.resilience import foreground
from tests.support.clock import ManualClock
from tests.support.turns import turns_during

EDGES = 40


@pytest.fixture(autouse=True)
def every_value_ends_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.0)


class Stored:
    """An outbox and a client of DynamoDB that take everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.requests: list[Any] = []

    def put(self, event: Event) -> Put:
        self.events.append(event)
        return Put({"PK": "outbox", "SK": event.id})

    def announce(self, *events: Event) -> None:
        assert list(events) == self.events

    async def query(self, **request: Any) -> Any:
        return {"Items": []}

    async def transact_write_items(self, **request: Any) -> Any:
        self.requests.append(request)
        return {}


def edge(number: int) -> Edge:
    return first_version("u", NewEdge("hub", f"n{number}", weight=0.5), 1_000)


@pytest.mark.parametrize("change_type", [ChangeType.CREATED, ChangeType.DELETED])
async def test_a_transaction_is_made_in_slices(change_type: ChangeType) -> None:
    stored, clock = Stored(), ManualClock()
    client: Any = stored
    unused: Any = None
    store = DynamoEdgeStore(Table(client, "table"), stored, unused, UlidFactory(clock), clock)
    before = None if change_type is ChangeType.CREATED else edge(0)
    changes = [
        EdgeChange(change_type, edge(number), before and edge(number), "" if before is None else "test")
        for number in range(EDGES)
    ]
    # The items of the edges, those of the event, and the operations of the request.
    assert await turns_during(store.commit(Write("u", changes=tuple(changes)))) >= 4 * EDGES
    assert len(stored.requests[0]["TransactItems"]) == 2 * EDGES + 1
    (event,) = stored.events
    message: Any = events_pb2.EdgeCreated() if before is None else events_pb2.EdgeDeleted()
    json_format.ParseDict(json.loads(json.dumps(event.data)), message)
    assert [each.target_id for each in message.edges] == [f"n{number}" for number in range(EDGES)]
    assert event.data.get("cause") == (None if before is None else "test")


async def test_messages_are_converted_in_slices() -> None:
    class Creates:
        async def batch_create_edges(self, user_id: str, news: Any, *_: Any) -> Any:
            assert foreground.stands_back(), "other calls come first"
            token = SimpleNamespace(encode=lambda: "")
            return [EdgeResult(edge(number)) for number, _ in enumerate(news)], token

    unused: Any = None
    names = ("edges", "fast_path", "batch_get_neighbors", "get_subgraph", "find_shortest_path", "list_edges")
    others = (
        "list_suppressed_edges",
        "get_graph_stats",
        "warm_cache",
        "watch_edges",
        "detach_node",
        "announce_node_visibility",
    )
    creates: Any = Creates()
    servicer = GraphServicer(
        batch_create_edges=creates, set_node_visibility=unused, **dict.fromkeys((*names, *others), unused)
    )
    request = graph_pb2.BatchCreateEdgesRequest(
        user_id="u", edges=[graph_pb2.NewEdge(source_id="hub", target_id=f"n{number}") for number in range(EDGES)]
    )
    assert await turns_during(servicer.BatchCreateEdges(request, unused)) >= 2 * EDGES


async def test_a_batch_is_checked_in_slices() -> None:
    class Nothing:
        async def get_many(self, user_id: str, keys: Any) -> Any:
            return {}

        async def hidden(self, user_id: str) -> Any:
            return frozenset()

        async def missing(self, user_id: str, ends: Any) -> Any:
            return ()

        async def commit_edges(self, write: Write) -> Any:
            return token_for("space", 1, 1_000, set())

    nothing: Any = Nothing()
    edges: Any = SimpleNamespace(lookup=nothing, existence=nothing)
    creates = BatchCreateEdges(nothing, nothing, edges, ManualClock())
    news = [NewEdge("hub", f"n{number}", weight=0.5) for number in range(EDGES)]
    working = asyncio.ensure_future(creates.batch_create_edges("u", news))
    # Once when they are checked, once when they become changes.
    assert await turns_during(working) >= 2 * EDGES
    results, _ = working.result()
    assert all(result.created for result in results)


async def test_stored_edges_are_read_in_slices() -> None:
    class Stores:
        async def batch_get_item(self, **request: Any) -> Any:
            return {"Responses": {"table": [marshal_item(each) for each in found]}}

    found = [edge_items(edge(number))[0] for number in range(EDGES)]
    client: Any = Stores()
    unused: Any = None
    store = DynamoEdgeStore(Table(client, "table"), unused, unused, unused, ManualClock())
    keys = [edge(number).key for number in range(EDGES)]
    working = asyncio.ensure_future(store.get_many("u", keys))
    assert await turns_during(working) >= 2 * EDGES  # the answer, and the edges in it
    assert working.result().keys() == set(keys)
