"""The limits of the .proto hold at the server: every RPC refuses a wrong field, and names it, before its servicer."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import InvalidArgument
from shared.grpc.field_limits import decode, item_errors
from shared.grpc.server import GrpcServer
from shared.grpc.status import from_rpc_error
from tests.support.doors import METHODS, SERVICES, Door, Noting
from tests.support.echo import server_config
from tests.support.valid_requests import valid

NAN = float("nan")


@pytest.fixture(scope="module")
async def door() -> AsyncIterator[Door]:
    seen: list[tuple[str, str]] = []
    users: list[str] = []
    server = GrpcServer(server_config(), [(service, Noting(service, seen, users)) for service in SERVICES])
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        found = Door(channel)
        found.seen = seen
        yield found
    await server.stop(0)


async def violations(door: Door, method: MethodDescriptor, request: Any) -> list[str]:
    """The fields that the error names; [] when the servicer was reached."""
    door.seen.clear()
    code, answer = await door.answer(method, request)
    if code is grpc.StatusCode.OK:
        assert door.seen
        return []
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert not door.seen
    error = from_rpc_error(answer)
    assert isinstance(error, InvalidArgument)
    return [violation.field for violation in error.violations]


def method(name: str) -> MethodDescriptor:
    return next(each for each in METHODS if each.name == name)


@pytest.mark.parametrize("rpc", METHODS, ids=lambda each: each.full_name)
async def test_every_rpc_refuses_a_wrong_id_and_takes_a_right_one(door: Door, rpc: MethodDescriptor) -> None:
    request: Any = valid(rpc.input_type)
    assert await violations(door, rpc, request) == []
    wrong = "user_id" if "user_id" in rpc.input_type.fields_by_name else "erasure_id"
    setattr(request, wrong, "a#b")
    assert await violations(door, rpc, request) == [wrong]


@pytest.mark.parametrize(
    ("name", "request_", "fields"),
    [
        ("GetSubgraph", graph_pb2.GetSubgraphRequest(user_id="u", node_id="n", max_hops=-1), ["max_hops"]),
        ("GetSubgraph", graph_pb2.GetSubgraphRequest(user_id="u", node_id="n", min_weight=NAN), ["min_weight"]),
        ("GetNode", node_pb2.GetNodeRequest(user_id="u", node_id="n", view=99), ["view"]),  # type: ignore[arg-type]
        ("GetNode", node_pb2.GetNodeRequest(user_id="#", node_id="#"), ["user_id", "node_id"]),
        (
            "CreateEdge",
            graph_pb2.CreateEdgeRequest(
                user_id="u", edge=graph_pb2.NewEdge(source_id="a", target_id="b", weight=1e-131)
            ),
            ["edge.weight"],
        ),
        (
            "FindSimilar",
            similarity_pb2.FindSimilarRequest(user_id="u", text="t", min_score=float("inf")),
            ["min_score"],
        ),
        (
            "SearchNodes",
            similarity_pb2.SearchNodesRequest(user_id="u", query="q", tags=["t"] * 1000),
            ["tags"],
        ),
    ],
    ids=[
        "number of its own name",
        "NaN",
        "unknown enum value",
        "two fields",
        "too small for the store",
        "infinity",
        "long list",
    ],
)
async def test_the_wrong_field_is_named(door: Door, name: str, request_: Any, fields: list[str]) -> None:
    assert await violations(door, method(name), request_) == fields


async def test_a_duration_out_of_range_is_refused(door: Door) -> None:
    request = node_pb2.UpdateUserSettingsRequest(user_id="u")
    request.settings.retention.seconds = 2**62
    request.update_mask.paths.append("retention")
    assert await violations(door, method("UpdateUserSettings"), request) == ["settings.retention"]


async def test_a_wrong_item_of_a_batch_reaches_the_servicer_which_answers_it(door: Door) -> None:
    nodes = [node_pb2.NewNode(title="fine"), node_pb2.NewNode(title="x" * 600)]
    request = node_pb2.BatchCreateNodesRequest(user_id="u", nodes=nodes)
    assert await violations(door, method("BatchCreateNodes"), request) == []
    errors = item_errors(request.nodes, "nodes[{}]")
    assert list(errors) == [1]
    assert errors[1].violations[0].field == "nodes[1].title"


def test_a_raw_request_is_checked_as_it_is_decoded() -> None:
    with pytest.raises(InvalidArgument) as found:
        decode(graph_pb2.GetNeighborsRequest, graph_pb2.GetNeighborsRequest(user_id="u").SerializeToString())
    assert [violation.field for violation in found.value.violations] == ["node_id"]
    with pytest.raises(InvalidArgument) as found:
        decode(graph_pb2.GetNeighborsRequest, b"\xff")
    assert found.value.reason == "MALFORMED_REQUEST"
