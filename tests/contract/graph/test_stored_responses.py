"""Responses that are stored with a request_id: they survive, and those of the previous release are read."""

import json
from typing import Any

import pytest

from protos.graph.v1 import graph_pb2
from services.graph_service import convert
from services.graph_service.model.edge import Edge, Metadata
from services.graph_service.usecases.batch_create_edges import EdgeResult
from shared.idempotent import IdempotentRequest

EDGE = Edge("u", "a", "b", "related", False, 0.5, Metadata(labels={"k": "v"}), 3, 1000, 2000)
PACKED = convert.edge_message(EDGE).SerializeToString()
BATCH = [EdgeResult(EDGE, True), EdgeResult(None, False, "FAILED_PRECONDITION", "NODE_MISSING", "b: no such note")]
RESULTS: dict[str, list[Any]] = {
    "CreateEdge": [(True, EDGE), (False, EDGE)],
    "UpdateEdge": [(True, EDGE)],
    "DeleteEdge": [(True, None), (False, None)],
    "SuppressEdge": [(True, None), (False, None)],
    "BatchCreateEdges": [BATCH, []],
}
# What the previous release stored, and what it means.
PREVIOUS: list[tuple[str, bytes, Any]] = [
    ("CreateEdge", b"1" + PACKED, (True, EDGE)),
    ("CreateEdge", b"0" + PACKED, (False, EDGE)),
    ("UpdateEdge", b"1" + PACKED, (True, EDGE)),
    ("DeleteEdge", b"1" + PACKED, (True, EDGE)),
    ("DeleteEdge", b"0", (False, None)),
    ("SuppressEdge", b"1" + PACKED, (True, EDGE)),
    ("SuppressEdge", b"0", (False, None)),
    (
        "BatchCreateEdges",
        json.dumps(
            [
                [True, "", "", "", PACKED.hex()],
                [False, "FAILED_PRECONDITION", "NODE_MISSING", "b: no such note", ""],
            ]
        ).encode(),
        BATCH,
    ),
]


def stored(method: str) -> IdempotentRequest:
    request = getattr(graph_pb2, f"{method}Request")(user_id="u", request_id="r")
    found = convert.idempotent_request(method, request)
    assert found is not None
    return found


@pytest.mark.parametrize("method", RESULTS)
def test_a_result_survives(method: str) -> None:
    request = stored(method)
    for result in RESULTS[method]:
        assert request.decode(request.encode(result)) == result


@pytest.mark.parametrize(("method", "data", "result"), PREVIOUS)
def test_what_the_previous_release_stored_is_read(method: str, data: bytes, result: Any) -> None:
    assert stored(method).decode(data) == result
