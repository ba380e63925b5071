"""Subgraphs and paths against networkx on random graphs, and their caps."""

import random
from typing import Any

import networkx as nx
import pytest

from protos.graph.v1 import graph_pb2
from shared.errors import InvalidArgument
from tests.support.graph_service import GraphService


async def build(graph: GraphService, user: str, edges: list[tuple[str, str, float]]) -> Any:
    """The graph in the service and in networkx."""
    model: Any = nx.Graph()
    for a, b, weight in edges:
        if a != b and not model.has_edge(a, b):
            model.add_edge(a, b, weight=weight)
    news = [graph_pb2.NewEdge(source_id=a, target_id=b, weight=d["weight"]) for a, b, d in model.edges(data=True)]
    for start in range(0, len(news), 500):
        await graph.batch(user, news[start : start + 500])
    return model


def some_graph(seed: int, notes: int, edges: int) -> list[tuple[str, str, float]]:
    rng = random.Random(seed)
    names = [f"n{i:02}" for i in range(notes)]
    return [(rng.choice(names), rng.choice(names), rng.randrange(1, 100) / 100) for _ in range(edges)]


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_a_subgraph_is_what_lies_within(graph: GraphService, user: str, hops: int) -> None:
    model = await build(graph, user, some_graph(hops, 40, 60))
    start = next(iter(model))
    answer = await graph.stub.GetSubgraph(
        graph_pb2.GetSubgraphRequest(user_id=user, node_id=start, max_hops=hops, max_fanout=200, max_nodes=2000)
    )
    expected = nx.single_source_shortest_path_length(model, start, cutoff=hops)
    assert {n.node_id: n.hops for n in answer.nodes} == expected
    assert {n.node_id: n.degree for n in answer.nodes} == {n: model.degree(n) for n in expected}
    inside = {frozenset(edge) for edge in model.subgraph(expected).edges()}
    assert {frozenset((e.source_id, e.target_id)) for e in answer.edges} == inside
    assert len(answer.edges) == len(inside), "each edge once"
    assert not answer.truncated


async def test_caps_are_stated(graph: GraphService, user: str) -> None:
    await build(graph, user, [("hub", f"n{i:02}", i / 100 + 0.1) for i in range(30)])
    request = graph_pb2.GetSubgraphRequest(user_id=user, node_id="hub", max_hops=1, max_fanout=10)
    answer = await graph.stub.GetSubgraph(request)
    assert (len(answer.nodes), answer.truncated, list(answer.truncated_at)) == (11, True, ["hub"])
    assert {n.node_id for n in answer.nodes} == {"hub", *(f"n{i:02}" for i in range(20, 30))}, "the heaviest"
    request = graph_pb2.GetSubgraphRequest(user_id=user, node_id="hub", max_hops=1, max_fanout=50, max_nodes=5)
    answer = await graph.stub.GetSubgraph(request)
    assert (len(answer.nodes), len(answer.edges), answer.truncated) == (5, 4, True)


async def test_subgraph_of_a_hidden_note_and_around_one(graph: GraphService, user: str) -> None:
    await build(graph, user, [("a", "b", 0.5), ("b", "c", 0.5), ("a", "d", 0.5)])
    await graph.hide(user, "b", 2)
    answer = await graph.stub.GetSubgraph(graph_pb2.GetSubgraphRequest(user_id=user, node_id="a", with_titles=True))
    assert [(n.node_id, n.title) for n in answer.nodes] == [("a", "Title of a"), ("d", "Title of d")]
    answer = await graph.stub.GetSubgraph(graph_pb2.GetSubgraphRequest(user_id=user, node_id="b"))
    assert (list(answer.nodes), list(answer.edges)) == ([], [])


@pytest.mark.parametrize("seed", range(4))
async def test_paths_are_shortest_and_heaviest(graph: GraphService, user: str, seed: int) -> None:
    model = await build(graph, user, some_graph(seed, 30, 45))
    rng = random.Random(seed)
    for _ in range(25):
        source, target = rng.sample(sorted(model), 2)
        answer = await graph.stub.FindShortestPath(
            graph_pb2.FindShortestPathRequest(user_id=user, source_id=source, target_id=target, max_hops=10)
        )
        if not nx.has_path(model, source, target):
            assert (answer.found, answer.bound_reached) == (False, False)
            continue
        paths = list(nx.all_shortest_paths(model, source, target))
        assert answer.found
        assert list(answer.node_ids) in paths
        best = max(nx.path_weight(model, path, "weight") for path in paths)
        assert nx.path_weight(model, list(answer.node_ids), "weight") == pytest.approx(best)
        ends = [frozenset((e.source_id, e.target_id)) for e in answer.edges]
        assert ends == [frozenset(pair) for pair in zip(answer.node_ids, answer.node_ids[1:], strict=False)]


async def test_a_path_says_when_a_bound_stopped_it(graph: GraphService, user: str) -> None:
    await build(graph, user, [(f"n{i}", f"n{i + 1}", 0.5) for i in range(5)])

    async def find(**fields: Any) -> Any:
        return await graph.stub.FindShortestPath(
            graph_pb2.FindShortestPathRequest(user_id=user, source_id="n0", target_id="n5", **fields)
        )

    assert list((await find(max_hops=5)).node_ids) == [f"n{i}" for i in range(6)]
    short = await find(max_hops=4)
    assert (short.found, short.bound_reached) == (False, True)
    few = await find(max_visited=3)
    assert (few.found, few.bound_reached) == (False, True)
    same = await graph.stub.FindShortestPath(
        graph_pb2.FindShortestPathRequest(user_id=user, source_id="n0", target_id="n0")
    )
    assert (same.found, list(same.node_ids), list(same.edges)) == (True, ["n0"], [])
    with pytest.raises(InvalidArgument):
        await graph.stub.FindShortestPath(graph_pb2.FindShortestPathRequest(user_id=user, source_id="n0"))


async def test_a_path_avoids_hidden_notes(graph: GraphService, user: str) -> None:
    await build(graph, user, [("a", "b", 0.5), ("b", "c", 0.5), ("a", "x", 0.5), ("x", "y", 0.5), ("y", "c", 0.5)])
    await graph.hide(user, "b", 2)
    answer = await graph.stub.FindShortestPath(
        graph_pb2.FindShortestPathRequest(user_id=user, source_id="a", target_id="c")
    )
    assert list(answer.node_ids) == ["a", "x", "y", "c"]
