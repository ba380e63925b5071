"""Edges through the real API on real stores: make, read, change, remove, reject."""

import asyncio
from typing import Any

import pytest

from protos import table
from protos.graph.v1 import graph_pb2
from services.graph_service.adapters import items
from services.graph_service.adapters.dynamo import DynamoEdgeStore
from services.graph_service.model.edge import Metadata, NewEdge, edge_key, first_version, suppression
from services.graph_service.ports import ChangeType, EdgeChange, Write
from shared.dynamo import Put, Table
from shared.dynamo.marshal import marshal_item
from shared.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from shared.events.envelope import Event
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from tests.support.graph_nodes import FakeNodes
from tests.support.graph_service import GraphService
from tests.support.stores import Stores


async def test_an_edge_is_seen_from_both_ends(graph: GraphService, user: str) -> None:
    response = await graph.create(user, "b", "a", weight=0.5)
    assert response.created
    assert (response.edge.source_id, response.edge.target_id, response.edge.type) == ("a", "b", "related")
    assert (response.edge.weight, response.edge.version) == (0.5, 1)
    assert await graph.neighbors(user, "a") == ["b"]
    assert await graph.neighbors(user, "b") == ["a"]
    assert await graph.get(user, "a", "b") == response.edge == await graph.get(user, "b", "a")


async def test_an_unknown_note_has_no_neighbours(graph: GraphService, user: str) -> None:
    page = await graph.page(user, "nobody")
    assert (list(page.neighbors), page.total_degree, page.next_page_token) == ([], 0, "")


async def test_nothing_of_one_user_is_seen_by_another(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b")
    assert await graph.neighbors(user + "x", "a") == []
    with pytest.raises(NotFound):
        await graph.get(user + "x", "a", "b")


async def test_a_second_creation_answers_the_first_edge(graph: GraphService, user: str) -> None:
    first = await graph.create(user, "a", "b", weight=0.5)
    second = await graph.create(user, "b", "a", weight=0.9)
    assert not second.created
    assert second.edge == first.edge


async def test_two_writers_at_once_make_one_edge(graph: GraphService, replica: GraphService, user: str) -> None:
    answers = await asyncio.gather(*((graph, replica)[i % 2].create(user, "a", "b", weight=0.5) for i in range(8)))
    assert sum(answer.created for answer in answers) == 1
    assert len({answer.edge.etag for answer in answers}) == 1
    assert (await graph.page(user, "a")).total_degree == 1


async def test_a_person_takes_over_an_automatic_edge(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", weight=0.3, auto=True)
    taken = await graph.create(user, "a", "b", weight=0.8)
    assert not taken.created
    assert not taken.edge.metadata.auto_generated
    assert (taken.edge.weight, taken.edge.version, taken.edge.metadata.score) == (0.8, 2, 0.5)
    back = await graph.create(user, "a", "b", weight=0.1, auto=True)
    assert back.edge == taken.edge, "an automatic request never changes a person's edge"


async def test_an_automatic_edge_that_is_found_again_gets_its_new_reasons(graph: GraphService, user: str) -> None:
    async def found(score: float, word: str) -> graph_pb2.CreateEdgeResult:
        why = [graph_pb2.SharedKeyword(keyword=word, contribution=score)]
        meta = graph_pb2.EdgeMetadata(auto_generated=True, score=score, shared_keywords=why, method="lexical/1")
        new = graph_pb2.NewEdge(source_id="a", target_id="b", weight=score, metadata=meta)
        result: graph_pb2.CreateEdgeResult = (await graph.batch(user, [new])).results[0]
        return result

    first = await found(0.3, "bread")
    assert (await found(0.31, "flour")).edge == first.edge, "nearly the same is the same"
    second = await found(0.5, "flour")
    assert (second.created, second.edge.version, second.edge.weight) == (False, 2, 0.5)
    assert [each.keyword for each in second.edge.metadata.shared_keywords] == ["flour"]
    page = await graph.page(user, "a")
    assert [(each.node_id, round(each.weight, 3)) for each in page.neighbors] == [("b", 0.5)]
    update = graph_pb2.UpdateEdgeRequest(user_id=user, source_id="a", target_id="b", weight=0.9)
    update.metadata.labels["mine"] = "yes"
    await graph.stub.UpdateEdge(update)
    third = await found(0.2, "yeast")
    assert (third.edge.weight, third.edge.metadata.score) == (0.9, 0.2), "a weight that somebody chose stays"
    assert dict(third.edge.metadata.labels) == {"mine": "yes"}
    update.update_mask.paths.append("metadata.confirmed")
    update.metadata.confirmed = True
    confirmed = (await graph.stub.UpdateEdge(update)).edge
    assert (await found(0.7, "salt")).edge == confirmed, "and a confirmed edge stays as it is"


async def test_directed_edges_show_where_they_point(graph: GraphService, user: str) -> None:
    await graph.create(user, "b", "a", type="cites", directed=True)
    assert [n.direction for n in (await graph.page(user, "b")).neighbors] == [graph_pb2.DIRECTION_OUT]
    assert [n.direction for n in (await graph.page(user, "a")).neighbors] == [graph_pb2.DIRECTION_IN]
    assert await graph.neighbors(user, "b", direction=graph_pb2.DIRECTION_IN) == []
    assert await graph.neighbors(user, "b", direction=graph_pb2.DIRECTION_OUT) == ["a"]
    assert (await graph.get(user, "a", "b", type="cites")).source_id == "b"


async def test_types_are_edges_of_their_own(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", weight=0.2)
    await graph.create(user, "a", "b", weight=0.9, type="cites")
    page = await graph.page(user, "a")
    assert [(n.node_id, n.type) for n in page.neighbors] == [("b", "cites"), ("b", "related")]
    assert page.total_degree == 2
    assert [n.type for n in (await graph.page(user, "a", types=["related"])).neighbors] == ["related"]
    assert (await graph.delete(user, "a", "b")).deleted
    assert [n.type for n in (await graph.page(user, "a")).neighbors] == ["cites"]


@pytest.mark.parametrize(
    ("ends", "fields", "field"),
    [
        (("a", "a"), {}, "edge.target_id"),
        (("a", "b"), {"weight": 1.5}, "edge.weight"),
        (("a", "b"), {"weight": float("nan")}, "edge.weight"),
        (("a", "b#c"), {}, "edge.target_id"),
        (("a", "b"), {"type": "Related"}, "edge.type"),
        (("a", "b"), {"metadata": graph_pb2.EdgeMetadata(labels={"k": "v" * 3000})}, "edge.metadata.labels"),
        (("a", "b"), {"metadata": graph_pb2.EdgeMetadata(labels={"": "v"})}, "edge.metadata.labels"),
        (("a", "b"), {"metadata": graph_pb2.EdgeMetadata(method="m" * 5000)}, "edge.metadata.method"),
    ],
)
async def test_what_is_refused(
    graph: GraphService, user: str, ends: tuple[str, str], fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await graph.create(user, *ends, **fields)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert await graph.neighbors(user, "a") == []


async def test_an_end_that_is_missing_is_named(graph: GraphService, nodes: FakeNodes, user: str) -> None:
    nodes.gone.add((user, "ghost"))
    with pytest.raises(FailedPrecondition) as caught:
        await graph.create(user, "a", "ghost")
    assert caught.value.reason == "NODE_MISSING"
    assert caught.value.metadata == {"end": "target_id", "node_ids": "ghost"}


async def test_a_hidden_end_is_missing_without_asking(graph: GraphService, user: str) -> None:
    await graph.hide(user, "b", 2)
    with pytest.raises(FailedPrecondition) as caught:
        await graph.create(user, "a", "b")
    assert caught.value.reason == "NODE_MISSING"


async def test_update_changes_what_the_mask_names(graph: GraphService, user: str) -> None:
    first = (await graph.create(user, "a", "b", weight=0.5, metadata=graph_pb2.EdgeMetadata(labels={"x": "1"}))).edge
    request = graph_pb2.UpdateEdgeRequest(user_id=user, source_id="a", target_id="b", weight=0.25, etag=first.etag)
    request.update_mask.paths.append("weight")
    changed = (await graph.stub.UpdateEdge(request)).edge
    assert (changed.weight, changed.version, dict(changed.metadata.labels)) == (0.25, 2, {"x": "1"})
    assert changed.etag != first.etag
    assert [n.weight for n in (await graph.page(user, "b")).neighbors] == [0.25]
    with pytest.raises(Aborted) as caught:
        await graph.stub.UpdateEdge(request)
    assert caught.value.reason == "ETAG_MISMATCH"
    with pytest.raises(NotFound):
        await graph.stub.UpdateEdge(graph_pb2.UpdateEdgeRequest(user_id=user, source_id="a", target_id="c"))


async def test_delete_with_etag_and_only_if_automatic(graph: GraphService, user: str) -> None:
    edge = (await graph.create(user, "a", "b")).edge
    with pytest.raises(Aborted):
        await graph.delete(user, "a", "b", etag='"9-9"')
    assert not (await graph.delete(user, "a", "b", only_if_automatic=True)).deleted
    assert (await graph.delete(user, "b", "a", etag=edge.etag)).deleted
    assert not (await graph.delete(user, "a", "b")).deleted
    assert await graph.neighbors(user, "a") == []


async def test_a_rejected_link_is_not_made_again(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", auto=True)
    request = graph_pb2.SuppressEdgeRequest(user_id=user, source_id="b", target_id="a")
    assert (await graph.stub.SuppressEdge(request)).removed
    assert await graph.neighbors(user, "a") == []
    with pytest.raises(FailedPrecondition) as caught:
        await graph.create(user, "a", "b", auto=True)
    assert caught.value.reason == "EDGE_SUPPRESSED"
    assert (await graph.create(user, "a", "b")).created, "by hand it may"
    await graph.delete(user, "a", "b")
    assert (await graph.create(user, "a", "b", auto=True)).created, "and that lifted the rejection"


async def reject(graph: GraphService, user: str, a: str, b: str, **fields: str) -> bool:
    request = graph_pb2.SuppressEdgeRequest(user_id=user, source_id=a, target_id=b, **fields)
    return bool((await graph.stub.SuppressEdge(request)).removed)


async def test_a_rejected_link_is_shown_nowhere(graph: GraphService, stores: Stores, user: str) -> None:
    await graph.create(user, "a", "c")
    await graph.create(user, "a", "b", auto=True)
    await graph.create(user, "a", "d", type="cites")
    assert await reject(graph, user, "a", "b")
    assert not await reject(graph, user, "a", "b"), "it is rejected already"
    assert not await reject(graph, user, "a", "x"), "there was no edge"
    assert await reject(graph, user, "a", "d", type="cites")
    for node_id, others in {"a": ["c"], "b": [], "d": [], "x": [], "c": ["a"]}.items():
        assert await graph.neighbors(user, node_id) == others
    for call in (
        graph.stub.GetEdge(graph_pb2.GetEdgeRequest(user_id=user, source_id="a", target_id="b")),
        graph.stub.UpdateEdge(graph_pb2.UpdateEdgeRequest(user_id=user, source_id="a", target_id="x")),
    ):
        with pytest.raises(NotFound):
            await call
    assert not (await graph.delete(user, "a", "b")).deleted
    for node_id in ("", "a"):
        listed = [
            (edge.source_id, edge.target_id)
            async for part in graph.stub.ListEdges(graph_pb2.ListEdgesRequest(user_id=user, node_id=node_id))
            for edge in part.edges
        ]
        assert listed == [("a", "c")]
    stats = await graph.stub.GetGraphStats(graph_pb2.GetGraphStatsRequest(user_id=user))
    assert stats.edges == 1
    warm = await graph.batch(user, [graph_pb2.NewEdge(source_id="a", target_id="e")])
    assert (await graph.page(user, "a", consistency_token=warm.consistency_token)).total_degree == 2
    with pytest.raises(FailedPrecondition):
        await graph.create(user, "x", "a", auto=True)


async def test_a_rejection_is_one_of_the_edge_s_own_items(graph: GraphService, stores: Stores, user: str) -> None:
    await reject(graph, user, "b", "a")
    found = await items_of(stores, user)
    assert {item["SK"]["S"]: item["rej"]["BOOL"] for item in found} == {"EDGE#a#b": True, "EDGE#b#a": True}
    detached = await graph.stub.DetachNode(graph_pb2.DetachNodeRequest(user_id=user, node_id="b"))
    assert (detached.removed, detached.done, list(detached.edges)) == (0, True, [])
    assert await items_of(stores, user) == []


async def test_of_a_rejection_and_an_automatic_creation_at_once_the_rejection_stays(
    graph: GraphService, user: str
) -> None:
    for number in range(10):
        other = f"n{number}"
        await asyncio.gather(
            reject(graph, user, "a", other), graph.create(user, "a", other, auto=True), return_exceptions=True
        )
        with pytest.raises(FailedPrecondition):
            await graph.create(user, "a", other, auto=True)
    assert await graph.neighbors(user, "a") == []


async def test_rejections_of_an_earlier_release_are_honoured_and_converted(
    graph: GraphService, stores: Stores, user: str
) -> None:
    """The edge a - d was created after its rejection, by a replica that knew only the new form."""
    async with stores.client("dynamodb") as dynamodb:
        for key in (("a", "b"), ("a", "c", "cites"), ("a", "d")):
            pk, sk = table.suppressed_key(user, *key)
            item = {"PK": {"S": pk}, "SK": {"S": sk}, "ct": {"N": "1700000000000"}}
            await dynamodb.put_item(TableName=stores.resources.table, Item=item)
        edge = first_version(user, NewEdge("a", "d"), 1)
        for item in items.edge_items(edge):
            await dynamodb.put_item(TableName=stores.resources.table, Item=marshal_item(item))
    meta = graph_pb2.EdgeMetadata(auto_generated=True)
    news = [
        graph_pb2.NewEdge(source_id="a", target_id="b", metadata=meta),
        graph_pb2.NewEdge(source_id="a", target_id="c", type="cites", metadata=meta),
        graph_pb2.NewEdge(source_id="a", target_id="d", metadata=meta),
        graph_pb2.NewEdge(source_id="a", target_id="e", metadata=meta),
    ]
    answer = await graph.batch(user, news)
    assert [result.reason for result in answer.results] == ["EDGE_SUPPRESSED", "EDGE_SUPPRESSED", "", ""]
    assert sorted(await graph.neighbors(user, "a")) == ["d", "e"]
    keys = [item["SK"]["S"] for item in await items_of(stores, user)]
    assert len(keys) == 8
    assert not any(key.startswith(table.SUPPRESSED) for key in keys)


class Log:
    """An outbox that keeps what is announced."""

    def __init__(self) -> None:
        self.announced: list[Event] = []

    def put(self, event: Event) -> Put:
        return Put({"PK": "OUTBOX#test#0", "SK": event.id, "event": event.to_json()})

    def announce(self, *events: Event) -> None:
        self.announced += events


async def test_the_edges_of_one_write_are_one_event(stores: Stores, user: str) -> None:
    clock, log = SystemClock(), Log()
    news = [first_version(user, NewEdge("a", f"n{i}", metadata=Metadata(auto=True, score=0.5)), 1) for i in range(5)]
    hidden = suppression(user, edge_key("a", "x"), None, 1)
    async with stores.client("dynamodb") as client:
        edges = Table(client, stores.resources.table)
        idempotency = Idempotency(edges, "test", clock)
        store = DynamoEdgeStore(edges, log, idempotency, UlidFactory(clock), clock)
        await store.commit(Write(user, tuple(EdgeChange(ChangeType.CREATED, edge) for edge in news)))
        await store.commit(Write(user, (EdgeChange(ChangeType.DELETED, hidden, None, "suppressed"),)))
        changes = [EdgeChange(ChangeType.DELETED, edge, edge, "detach") for edge in (*news[1:], hidden)]
        rejected = suppression(user, news[0].key, news[0], 2)
        changes.append(EdgeChange(ChangeType.DELETED, rejected, news[0], "suppressed"))
        await store.commit(Write(user, tuple(changes)))
    created, detached, suppressed = log.announced
    assert (created.type, created.node_id, created.version) == ("edge.created", "a", 1)
    assert [edge["target_id"] for edge in created.data["edges"]] == [f"n{i}" for i in range(5)]
    assert len(created.to_json()) < 1800
    assert (detached.type, detached.data["cause"]) == ("edge.deleted", "detach")
    assert [edge["target_id"] for edge in detached.data["edges"]] == [f"n{i}" for i in range(1, 5)]
    assert [edge["target_id"] for edge in suppressed.data["edges"]] == ["n0"]
    assert suppressed.data["cause"] == "suppressed"


async def items_of(stores: Stores, user: str) -> list[dict[str, Any]]:
    async with stores.client("dynamodb") as dynamodb:
        found = await dynamodb.query(
            TableName=stores.resources.table,
            KeyConditionExpression="PK = :pk",
            ExpressionAttributeValues={":pk": {"S": table.user_partition(user)}},
            ConsistentRead=True,
        )
    return list(found["Items"])


async def test_a_deletion_that_had_no_effect_is_repeated_without_effect(graph: GraphService, user: str) -> None:
    assert not (await graph.delete(user, "a", "b", request_id="r1")).deleted
    await graph.create(user, "a", "b")
    assert not (await graph.delete(user, "a", "b", request_id="r1")).deleted
    assert await graph.neighbors(user, "a") == ["b"]


async def test_a_request_id_is_answered_once(graph: GraphService, user: str) -> None:
    first = await graph.create(user, "a", "b", request_id="r1")
    await graph.delete(user, "a", "b")
    again = await graph.create(user, "a", "b", request_id="r1")
    assert (again.edge, again.created) == (first.edge, True)
    assert await graph.neighbors(user, "a") == [], "the work was not done again"
    with pytest.raises(InvalidArgument) as caught:
        await graph.create(user, "a", "c", request_id="r1")
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_batch_has_a_result_for_each(graph: GraphService, nodes: FakeNodes, user: str) -> None:
    nodes.gone.add((user, "ghost"))
    edges = [
        graph_pb2.NewEdge(source_id="a", target_id="b", weight=0.5),
        graph_pb2.NewEdge(source_id="a", target_id="a"),
        graph_pb2.NewEdge(source_id="a", target_id="ghost"),
        graph_pb2.NewEdge(source_id="b", target_id="a"),
        *[graph_pb2.NewEdge(source_id="a", target_id=f"n{i}") for i in range(60)],
    ]
    answer = await graph.batch(user, edges, request_id="batch-1")
    assert [r.reason for r in answer.results[:4]] == ["", "INVALID_ARGUMENT", "NODE_MISSING", ""]
    assert [r.code for r in answer.results[:4]] == [0, 3, 9, 0]
    assert [r.created for r in answer.results[:4]] == [True, False, False, False]
    assert all(r.created for r in answer.results[4:])
    page = await graph.page(user, "a", page_size=100, consistency_token=answer.consistency_token)
    assert page.total_degree == len(page.neighbors) == 61
    again = await graph.batch(user, edges, request_id="batch-1")
    assert list(again.results) == list(answer.results)


async def test_automatic_edges_respect_the_cap(graph: GraphService, user: str) -> None:
    meta = graph_pb2.EdgeMetadata(auto_generated=True)
    edges = [graph_pb2.NewEdge(source_id="a", target_id=f"n{i:03}", metadata=meta) for i in range(60)]
    answer = await graph.batch(user, edges)
    assert [r.reason for r in answer.results] == [""] * 50 + ["AUTO_EDGE_CAP"] * 10
    with pytest.raises(FailedPrecondition) as caught:
        await graph.create(user, "a", "one-more", auto=True)
    assert caught.value.reason == "AUTO_EDGE_CAP"
    assert (await graph.create(user, "a", "one-more")).created, "people are never limited"


async def test_a_batch_meets_what_exists_and_what_is_rejected(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", weight=0.5)
    await graph.stub.SuppressEdge(graph_pb2.SuppressEdgeRequest(user_id=user, source_id="a", target_id="c"))
    meta = graph_pb2.EdgeMetadata(auto_generated=True)
    edges = [graph_pb2.NewEdge(source_id="a", target_id=t, metadata=meta, weight=0.1) for t in ("b", "c", "d")]
    answer = await graph.batch(user, edges)
    assert [(r.created, r.reason) for r in answer.results] == [(False, ""), (False, "EDGE_SUPPRESSED"), (True, "")]
    assert answer.results[0].edge.weight == 0.5


async def test_a_batch_that_names_a_pair_twice_has_a_result_for_each(
    graph: GraphService, nodes: FakeNodes, user: str
) -> None:
    nodes.gone.add((user, "ghost"))
    for other in ("b", "c"):
        await graph.stub.SuppressEdge(graph_pb2.SuppressEdgeRequest(user_id=user, source_id="a", target_id=other))
    auto = graph_pb2.EdgeMetadata(auto_generated=True, score=0.5)
    edges = [
        graph_pb2.NewEdge(source_id="a", target_id="b", metadata=auto),
        graph_pb2.NewEdge(source_id="a", target_id="b", metadata=auto),
        graph_pb2.NewEdge(source_id="a", target_id="ghost"),
        graph_pb2.NewEdge(source_id="ghost", target_id="a"),
        graph_pb2.NewEdge(source_id="a", target_id="c", metadata=auto),
        graph_pb2.NewEdge(source_id="c", target_id="a", weight=0.25),
        graph_pb2.NewEdge(source_id="a", target_id="d", weight=0.5, metadata=auto),
        graph_pb2.NewEdge(source_id="a", target_id="d", weight=0.75),
    ]
    answer = await graph.batch(user, edges)
    reasons = ["EDGE_SUPPRESSED", "EDGE_SUPPRESSED", "NODE_MISSING", "NODE_MISSING", "", "", "", ""]
    assert [result.reason for result in answer.results] == reasons
    assert [result.created for result in answer.results] == [False] * 5 + [True, False, True]
    for target, weight in (("c", 0.25), ("d", 0.75)):
        edge = await graph.get(user, "a", target, consistency_token=answer.consistency_token)
        assert (edge.weight, edge.metadata.auto_generated) == (weight, False), "what the person asked for is stored"
    assert answer.results[4].edge == answer.results[5].edge


async def test_a_batch_with_both_leaves_no_automatic_edge_beside_a_persons(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", auto=True)
    auto = graph_pb2.EdgeMetadata(auto_generated=True, score=0.9)
    edges = [
        graph_pb2.NewEdge(source_id="a", target_id="b", metadata=auto),
        graph_pb2.NewEdge(source_id="a", target_id="b", type="about"),
    ]
    answer = await graph.batch(user, edges)
    assert [result.reason for result in answer.results] == ["ALREADY_LINKED", ""]
    found = (await graph.page(user, "a", consistency_token=answer.consistency_token)).neighbors
    assert [(each.node_id, each.type) for each in found] == [("b", "about")]


async def test_the_edge_of_a_person_replaces_the_automatic_one_beside_it(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", auto=True)
    await graph.create(user, "a", "c", auto=True)
    assert (await graph.create(user, "b", "a", type="links_to", directed=True)).created
    edges = [graph_pb2.NewEdge(source_id="a", target_id=f"n{i}", type="links_to") for i in range(30)]
    edges.append(graph_pb2.NewEdge(source_id="c", target_id="a", type="about"))
    edges.append(graph_pb2.NewEdge(source_id="c", target_id="a", type="links_to"))
    assert all(result.created for result in (await graph.batch(user, edges)).results)
    found = [(each.node_id, each.type) for each in (await graph.page(user, "a", page_size=100)).neighbors]
    assert sorted(found)[:3] == [("b", "links_to"), ("c", "about"), ("c", "links_to")]
    assert len(found) == 33
    with pytest.raises(NotFound):
        await graph.get(user, "a", "b")


async def test_no_automatic_edge_is_made_beside_the_edge_of_a_person(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", type="links_to", directed=True)
    with pytest.raises(FailedPrecondition) as caught:
        await graph.create(user, "b", "a", auto=True)
    assert caught.value.reason == "ALREADY_LINKED"
    meta = graph_pb2.EdgeMetadata(auto_generated=True)
    edges = [graph_pb2.NewEdge(source_id=source, target_id="a", metadata=meta) for source in ("b", "c", "d")]
    edges.append(graph_pb2.NewEdge(source_id="a", target_id="d", type="about"))
    answer = await graph.batch(user, edges)
    assert [result.reason for result in answer.results] == ["ALREADY_LINKED", "", "ALREADY_LINKED", ""]
    assert (await graph.create(user, "a", "b")).created, "a person may make both"


async def test_an_automatic_edge_that_was_confirmed_stays_beside_another(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", auto=True)
    request = graph_pb2.UpdateEdgeRequest(
        user_id=user,
        source_id="a",
        target_id="b",
        metadata=graph_pb2.EdgeMetadata(confirmed=True),
        update_mask={"paths": ["metadata.confirmed"]},
    )
    await graph.stub.UpdateEdge(request)
    await graph.create(user, "a", "b", type="links_to")
    assert (await graph.get(user, "a", "b")).metadata.confirmed


def text_link(source: str, target: str, *, directed: bool = True) -> graph_pb2.NewEdge:
    meta = graph_pb2.EdgeMetadata(labels={"source": "text"})
    return graph_pb2.NewEdge(source_id=source, target_id=target, type="links_to", directed=directed, metadata=meta)


async def test_an_edge_from_texts_takes_the_direction_of_other_texts(graph: GraphService, user: str) -> None:
    await graph.batch(user, [text_link("a", "b")])
    for new, ends in (
        (text_link("b", "a"), ("b", "a", True)),
        (text_link("b", "a", directed=False), ("a", "b", False)),
        (text_link("a", "b"), ("a", "b", True)),
    ):
        edge = (await graph.batch(user, [new])).results[0].edge
        assert (edge.source_id, edge.target_id, edge.directed) == ends
        same = (await graph.batch(user, [new])).results[0].edge
        assert same == edge, "nothing is written for what is the same"


async def test_an_edge_from_texts_takes_the_words_of_its_link_from_an_import(graph: GraphService, user: str) -> None:
    imported = text_link("a", "b")
    imported.metadata.labels["label"] = "Bee here"
    await graph.batch(user, [text_link("a", "b")])
    edge = (await graph.batch(user, [imported])).results[0].edge
    assert dict(edge.metadata.labels) == {"source": "text", "label": "Bee here"}
    for again in (text_link("a", "b"), imported):
        assert (await graph.batch(user, [again])).results[0].edge == edge


async def test_an_edge_from_texts_becomes_the_persons_and_then_stays(graph: GraphService, user: str) -> None:
    await graph.batch(user, [text_link("a", "b")])
    taken = (await graph.create(user, "b", "a", type="links_to", directed=True, weight=0.4)).edge
    assert (taken.source_id, taken.weight, dict(taken.metadata.labels)) == ("b", 0.4, {})
    kept = (await graph.batch(user, [text_link("a", "b")])).results[0].edge
    assert kept == taken
    assert not (await graph.delete(user, "a", "b", type="links_to", only_if_from_text=True)).deleted
    await graph.batch(user, [text_link("a", "c")])
    assert (await graph.delete(user, "a", "c", type="links_to", only_if_from_text=True)).deleted
