"""The whole graph of a user: stream, counts, warming; and the end of a note: detaching, purging."""

from typing import Any

import pytest

from protos.graph.v1 import graph_pb2
from services.graph_service.adapters import items
from services.graph_service.usecases import get_graph_stats
from shared.dynamo import Table
from shared.errors import Aborted, Unavailable
from tests.support.graph_nodes import FakeNodes
from tests.support.graph_service import GraphService
from tests.support.stores import Stores


async def fan(graph: GraphService, user: str, centre: str, count: int, weight: float = 0.5) -> None:
    news = [graph_pb2.NewEdge(source_id=centre, target_id=f"{centre}{i:04}", weight=weight) for i in range(count)]
    for start in range(0, len(news), 500):
        await graph.batch(user, news[start : start + 500])


async def listed(graph: GraphService, user: str, **fields: Any) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async for answer in graph.stub.ListEdges(graph_pb2.ListEdgesRequest(user_id=user, **fields)):
        found += [(edge.source_id, edge.target_id) for edge in answer.edges]
    return found


async def test_every_edge_once(graph: GraphService, user: str) -> None:
    await fan(graph, user, "a", 30)
    await fan(graph, user, "b", 20, weight=0.2)
    await graph.create(user, "z", "a", directed=True, type="cites")
    found = await listed(graph, user)
    assert len(found) == len(set(found)) == 51
    assert ("z", "a") in found
    assert len(await listed(graph, user, min_weight=0.3)) == 31
    assert sorted(await listed(graph, user, node_id="a")) == sorted(edge for edge in found if "a" in edge)
    await graph.hide(user, "b", 2)
    assert len(await listed(graph, user)) == 31
    assert len(await listed(graph, user, show_hidden=True)) == 51


async def test_the_suppressed_edges_of_a_note(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b", auto=True)
    await graph.create(user, "a", "c", auto=True)
    for other in ("b", "d", "hidden"):
        await graph.stub.SuppressEdge(graph_pb2.SuppressEdgeRequest(user_id=user, source_id="a", target_id=other))
    await graph.hide(user, "hidden", 2)
    assert await listed(graph, user, node_id="a") == [("a", "c")]

    async def suppressed(node_id: str) -> list[str]:
        request = graph_pb2.ListSuppressedEdgesRequest(user_id=user, node_id=node_id)
        return list((await graph.stub.ListSuppressedEdges(request)).node_ids)

    assert await suppressed("a") == ["b", "d"]
    assert await suppressed("d") == ["a"]
    # A person who creates the edge ends the rejection.
    await graph.create(user, "d", "a")
    assert await suppressed("a") == ["b"]


async def test_rejections_are_listed_when_they_are_asked_for(graph: GraphService, user: str) -> None:
    await graph.create(user, "a", "b")
    await graph.create(user, "a", "c", auto=True)
    for target in ("c", "d"):
        request = graph_pb2.SuppressEdgeRequest(user_id=user, source_id="a", target_id=target)
        await graph.stub.SuppressEdge(request)
    assert await listed(graph, user) == [("a", "b")]

    async def suppressed(**fields: Any) -> dict[str, bool]:
        request = graph_pb2.ListEdgesRequest(user_id=user, show_suppressed=True, min_weight=0.5, **fields)
        return {
            edge.target_id: edge.suppressed async for answer in graph.stub.ListEdges(request) for edge in answer.edges
        }

    assert await suppressed() == await suppressed(node_id="a") == {"b": False, "c": True, "d": True}
    assert await suppressed(node_id="d") == {"d": True}
    await graph.hide(user, "d", 2)
    assert await suppressed() == {"b": False, "c": True}


async def test_stats_count_visible_edges(graph: GraphService, nodes: FakeNodes, user: str) -> None:
    await fan(graph, user, "a", 9)
    await fan(graph, user, "b", 4)
    await graph.create(user, "a", "b", auto=True)
    await graph.create(user, "a", "gone")
    await graph.hide(user, "gone", 2)
    nodes.live = 250
    answer = await graph.stub.GetGraphStats(graph_pb2.GetGraphStatsRequest(user_id=user, top_hubs=2))
    assert (answer.linked_nodes, answer.edges, answer.automatic_edges) == (15, 14, 1)
    assert [(hub.node_id, hub.degree) for hub in answer.hubs] == [("a", 10), ("b", 5)]
    assert [(b.min_degree, b.max_degree, b.nodes) for b in answer.degrees] == [(1, 1, 13), (4, 7, 1), (8, 15, 1)]
    assert (answer.orphans, answer.orphans_incomplete) == (250 - 15, False)
    empty = await graph.stub.GetGraphStats(graph_pb2.GetGraphStatsRequest(user_id=user + "x"))
    assert (empty.linked_nodes, empty.edges, list(empty.hubs)) == (0, 0, [])


async def test_stats_say_when_the_notes_were_not_all_counted(
    graph: GraphService, nodes: FakeNodes, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fan(graph, user, "a", 2)
    request = graph_pb2.GetGraphStatsRequest(user_id=user)
    monkeypatch.setattr(nodes, "live", 1000)
    monkeypatch.setattr(get_graph_stats, "_MAX_COUNTED", 400)
    bounded = await graph.stub.GetGraphStats(request)
    assert (bounded.orphans, bounded.orphans_incomplete) == (400 - 3, True)
    monkeypatch.setattr(nodes, "trouble", Unavailable("away"))
    alone = await graph.stub.GetGraphStats(request)
    assert (alone.linked_nodes, alone.edges, alone.orphans, alone.orphans_incomplete) == (3, 2, 0, True)


async def test_warming_counts_and_stops_at_its_bound(graph: GraphService, user: str) -> None:
    await fan(graph, user, "a", 149)
    every = await graph.stub.WarmCache(graph_pb2.WarmCacheRequest(user_id=user))
    assert (every.warmed, every.truncated) == (150, False)
    some = await graph.stub.WarmCache(graph_pb2.WarmCacheRequest(user_id=user, max_nodes=120))
    assert (some.warmed, some.truncated) == (120, True)
    named = await graph.stub.WarmCache(graph_pb2.WarmCacheRequest(user_id=user, node_ids=["a", "a0001", "nobody"]))
    assert (named.warmed, named.truncated) == (3, False)


async def test_detaching_in_chunks(graph: GraphService, user: str) -> None:
    await fan(graph, user, "a", 70)
    await graph.hide(user, "a", 2)
    removed: list[str] = []
    done = False
    while not done:
        request = graph_pb2.DetachNodeRequest(user_id=user, node_id="a", max_edges=30, version=2)
        answer = await graph.stub.DetachNode(request)
        assert answer.removed == len(answer.edges) <= 30
        removed += [edge.target_id for edge in answer.edges]
        done = answer.done
    assert removed == [f"a{i:04}" for i in range(70)]
    assert await listed(graph, user, show_hidden=True) == []
    assert await graph.neighbors(user, "a0003") == []
    again = await graph.stub.DetachNode(request)
    assert (again.removed, again.done) == (0, True)


async def test_the_edges_of_a_live_note_stay_whatever_version_is_claimed(
    graph: GraphService, nodes: FakeNodes, user: str
) -> None:
    await fan(graph, user, "a", 3)
    nodes.has(user, "a", 1, hidden=False)
    for version in (1, 2, 10**15):
        with pytest.raises(Aborted) as caught:
            await graph.stub.DetachNode(graph_pb2.DetachNodeRequest(user_id=user, node_id="a", version=version))
        assert caught.value.reason == "VERSION_MISMATCH"
    assert len(await graph.neighbors(user, "a")) == 3
    # That it was deleted may not have come here yet.
    nodes.has(user, "a", 2, hidden=True)
    assert (await graph.stub.DetachNode(graph_pb2.DetachNodeRequest(user_id=user, node_id="a", version=2))).removed == 3


async def test_a_restore_fences_the_detaching(graph: GraphService, user: str) -> None:
    await fan(graph, user, "a", 3)
    await graph.hide(user, "a", 2)
    await graph.show(user, "a", 3)
    with pytest.raises(Aborted) as caught:
        await graph.stub.DetachNode(graph_pb2.DetachNodeRequest(user_id=user, node_id="a", version=2))
    assert caught.value.reason == "VERSION_MISMATCH"
    assert len(await graph.neighbors(user, "a")) == 3


async def test_both_items_of_an_edge_carry_all_of_it(graph: GraphService, stores: Stores, user: str) -> None:
    meta = graph_pb2.EdgeMetadata(
        auto_generated=True,
        score=0.75,
        shared_keywords=[graph_pb2.SharedKeyword(keyword="größe", contribution=0.5)],
        method="lexical/1",
        labels={"k": "v"},
    )
    made = (await graph.create(user, "b", "a", weight=0.75, metadata=meta, directed=True, type="cites")).edge
    assert made.metadata == meta
    async with stores.client("dynamodb") as client:
        table = Table(client, stores.environment("graph")["BRAIN2_TABLE"])
        pages = [await table.query(f"USER#{user}", begins_with=f"EDGE#{note}#") for note in "ab"]
    assert [[item["SK"] for item in page.items] for page in pages] == [["EDGE#a#b#cites"], ["EDGE#b#a#cites"]]
    first, second = (items.edge_of(user, page.items[0]) for page in pages)
    assert first == second
    assert (first.source, first.target, first.metadata.keywords[0].keyword) == ("b", "a", "größe")
