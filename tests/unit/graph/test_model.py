"""Edges, pages and tokens: pure rules."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.graph_service.model import consistency_token as tokens
from services.graph_service.model.consistency_token import Token, token_for
from services.graph_service.model.edge import NewEdge, edge_key, first_version, suppression
from services.graph_service.model.neighbors import (
    Direction,
    Neighbor,
    NeighborQuery,
    Order,
    next_page_token,
    position_of,
    rank,
    select,
)
from services.graph_service.model.traversal import subgraph_edge
from services.graph_service.usecases.edges import creation
from shared.errors import InvalidArgument
from shared.tokens import PAGE, Integer, Text, TokenCodec


def neighbor(node: str, weight: float = 0.5, **fields: Any) -> Neighbor:
    values = {"type": "related", "direction": Direction.BOTH, "auto": False, "create_ms": 0, **fields}
    return Neighbor(node, weight, **values)


def test_an_edge_has_one_key_whichever_way_it_is_asked() -> None:
    assert edge_key("b", "a") == edge_key("a", "b", "related") == ("a", "b", "related")
    assert edge_key("a", "b").other("a") == "b"


def test_an_undirected_edge_starts_at_the_smaller_id_a_directed_one_where_it_was_said() -> None:
    assert first_version("u", NewEdge("b", "a"), 5).source == "a"
    directed = first_version("u", NewEdge("b", "a", directed=True), 5)
    assert (directed.source, directed.target, directed.version) == ("b", "a", 1)


def test_an_etag_tells_an_edge_from_its_successor() -> None:
    edge = first_version("u", NewEdge("a", "b"), 5)
    assert edge.changed(6, weight=0.1).etag != edge.etag
    assert first_version("u", NewEdge("a", "b"), 6).etag != edge.etag
    assert edge.changed(1).update_ms == 5, "a clock that steps back doesn't take the edge along"


lists = st.lists(
    st.builds(
        neighbor,
        st.text("abcdef", min_size=1, max_size=2),
        st.sampled_from((0.0, 0.25, 0.5, 1.0)),
        type=st.sampled_from(("related", "cites")),
        direction=st.sampled_from((Direction.OUT, Direction.IN, Direction.BOTH)),
        create_ms=st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda n: n.member,
)


@given(
    lists,
    st.sampled_from(Order),
    st.sampled_from((0.0, 0.5)),
    st.sampled_from((frozenset[str](), frozenset({"cites"}))),
    st.sampled_from((Direction.ANY, Direction.OUT, Direction.IN)),
    st.frozensets(st.sampled_from("abc")),
    st.integers(1, 4),
)
def test_pages_are_the_whole_in_order_and_nothing_twice(
    found: list[Neighbor],
    order: Order,
    weight: float,
    types: frozenset[str],
    direction: Direction,
    hidden: frozenset[str],
    limit: int,
) -> None:
    whole = select(found, NeighborQuery("u", "n", 100, order, weight, types, direction), hidden)
    expected = [n for n in found if n.node_id not in hidden and n.weight >= weight and (not types or n.type in types)]
    if direction is not Direction.ANY:
        expected = [n for n in expected if n.direction in (direction, Direction.BOTH)]
    assert sorted(whole.neighbors) == sorted(expected)
    assert whole.degree == sum(n.node_id not in hidden for n in found)
    walked: list[Neighbor] = []
    after, more = None, True
    while more:
        query = NeighborQuery("u", "n", limit, order, weight, types, direction, after)
        page = select(found, query, hidden)
        walked += page.neighbors
        more = page.more
        after = position_of(query, next_page_token(query, page.neighbors[-1])) if more else None
    assert walked == whole.neighbors
    assert walked == sorted(walked, key=lambda n: rank(n, order))


def test_a_foreign_position_is_refused() -> None:
    query, other = NeighborQuery("u", "n", 10), NeighborQuery("u", "other", 10)
    token = next_page_token(other, Neighbor("m", 1, "t", Direction.BOTH, False, 0))
    for wrong in (
        token,
        "garbage",
        TokenCodec(PAGE, tuple, {"r": Integer(0, 9), "m": Text(9)}).encode(query.fingerprint(), 1, "x"),
    ):
        with pytest.raises(InvalidArgument) as error:
            position_of(query, wrong)
        assert error.value.reason == "PAGE_TOKEN_INVALID"


@given(st.integers(0, 2**53), st.integers(0, 2**43), st.sets(st.text("abc", min_size=1), max_size=20))
def test_a_token_survives_its_text(stamp: int, wall: int, notes: set[str]) -> None:
    token = token_for("space", stamp, wall, notes)
    assert tokens.decode(token.encode()) == token
    assert all(token.concerns(note) for note in notes)


def test_a_token_about_many_notes_is_about_all() -> None:
    token = token_for("s", 1, 1, {f"n{i}" for i in range(40)})
    assert token.node_hashes is None
    assert token.concerns("anything")
    assert not token_for("s", 1, 1, {"a"}).concerns("b")


@pytest.mark.parametrize("text", ["x", "MX4", "\u00e9", "a" * 9])
def test_a_garbled_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        tokens.decode(text)
    assert caught.value.reason == "CONSISTENCY_TOKEN_INVALID"


def test_no_token_is_none() -> None:
    assert tokens.decode("") is None
    assert isinstance(tokens.decode(token_for("s", 1, 1, {"a"}).encode()), Token)


def test_a_link_looks_alike_from_both_ends() -> None:
    assert subgraph_edge("a", neighbor("b")) == subgraph_edge("b", neighbor("a"))
    from_source = subgraph_edge("b", neighbor("a", direction=Direction.OUT))
    assert from_source == subgraph_edge("a", neighbor("b", direction=Direction.IN))
    assert (from_source.source, from_source.target, from_source.directed) == ("b", "a", True)


@pytest.mark.parametrize("now_ms", [900, 1_000, 1_001])
def test_an_edge_that_a_person_creates_over_a_rejection_repeats_no_etag(now_ms: int) -> None:
    first = first_version("u", NewEdge("a", "b"), 1_000)
    rejected = suppression("u", first.key, first, now_ms)
    change = creation("u", NewEdge("a", "b"), rejected, now_ms)
    assert change is not None
    assert change.edge.version == 1
    assert change.edge.etag not in (first.etag, rejected.etag)
