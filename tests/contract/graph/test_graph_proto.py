"""The servicer and the wire, against graph.proto."""

import inspect

from hypothesis import given
from hypothesis import strategies as st

from protos.graph.v1 import graph_pb2
from services.graph_service import convert
from services.graph_service.model.edge import Edge, Keyword, Metadata
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import ChangeType
from services.graph_service.servicer import GraphServicer

SERVICE = graph_pb2.DESCRIPTOR.services_by_name["GraphService"]
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
weights = st.floats(0, 1)
times = st.integers(0, 4_000_000_000_000)
types = st.sampled_from(("related", "cites"))
neighbor = st.builds(Neighbor, ids, weights, types, st.sampled_from(Direction), st.booleans(), times)
neighbors = st.lists(neighbor, max_size=5)
edges = st.builds(
    Edge,
    ids,
    ids,
    ids,
    st.just("related"),
    st.booleans(),
    weights,
    st.builds(
        Metadata,
        auto=st.booleans(),
        score=weights,
        keywords=st.lists(st.builds(Keyword, st.text(max_size=5), weights), max_size=3).map(tuple),
        method=st.text(max_size=5),
        confirmed=st.booleans(),
        labels=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    ),
    st.integers(1, 9),
    times,
    times,
)


def test_every_rpc_is_served() -> None:
    for method in SERVICE.methods:
        serves = getattr(GraphServicer, method.name)
        assert inspect.isasyncgenfunction(serves) == method.server_streaming
        assert inspect.isasyncgenfunction(serves) or inspect.iscoroutinefunction(serves)


@given(neighbors, st.text("abcABC012_-", max_size=200), st.integers(0, 2**40))
def test_a_ready_answer_is_the_message_on_the_wire(found: list[Neighbor], token: str, degree: int) -> None:
    codec = convert.WireCodec()
    packed = codec.pack(found)
    answer = codec.response(packed, token, degree)
    expected = graph_pb2.GetNeighborsResponse(
        neighbors=[convert.neighbor_message(n) for n in found], next_page_token=token, total_degree=degree
    )
    assert answer == expected.SerializeToString(deterministic=True)
    assert codec.unpack(packed) == found


@given(ids, neighbors, st.integers(0, 2**40))
def test_a_part_of_a_batch_is_the_message_on_the_wire(note: str, found: list[Neighbor], degree: int) -> None:
    codec = convert.WireCodec()
    components = codec.batch_part(note, codec.pack(found), degree) * 2
    result = graph_pb2.NodeNeighbors(
        node_id=note, neighbors=[convert.neighbor_message(n) for n in found], total_degree=degree
    )
    assert graph_pb2.BatchGetNeighborsResponse.FromString(components).results == [result, result]


@given(edges)
def test_an_edge_survives_its_message(edge: Edge) -> None:
    assert convert.edge(convert.edge_message(edge)) == edge


@given(edges, st.sampled_from(ChangeType))
def test_an_entry_of_the_feed_survives(edge: Edge, change_type: ChangeType) -> None:
    entry = convert.feed_entry(convert.WireCodec().feed_entry(change_type, edge), "token")
    assert (entry.kind, convert.edge(entry.edge), entry.resume_token) == (change_type.value, edge, "token")


def test_change_types_and_directions_have_the_numbers_of_the_proto() -> None:
    for change_type in ChangeType:
        assert graph_pb2.WatchEdgesResponse.Kind.Value(f"KIND_{change_type.name}") == change_type.value
    assert [int(d) for d in Direction] == [0, 1, 2, 3]
    assert graph_pb2.Direction.Value("DIRECTION_OUT") == Direction.OUT
    assert graph_pb2.Direction.Value("DIRECTION_IN") == Direction.IN
    assert graph_pb2.Direction.Value("DIRECTION_BOTH") == Direction.BOTH
