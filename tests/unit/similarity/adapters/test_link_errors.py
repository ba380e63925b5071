"""What a link that graph could not make means for the event that is handled: nothing about graph itself."""

from types import SimpleNamespace
from typing import Any

import pytest
from grpc import StatusCode

from protos.graph.v1 import graph_pb2
from services.similarity_service.adapters.peers import GraphPeer
from services.similarity_service.ports import TextLink
from shared.errors import Aborted
from shared.resilience.breaker import unreachable


@pytest.mark.parametrize("code", [StatusCode.ABORTED, StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED])
async def test_a_link_that_was_not_made_says_nothing_of_graph(code: StatusCode) -> None:
    async def create(request: Any, **_: Any) -> Any:
        result = graph_pb2.CreateEdgeResult(code=code.value[0], message="met another writer")
        return graph_pb2.BatchCreateEdgesResponse(results=[result] * len(request.edges))

    peer = GraphPeer(SimpleNamespace(BatchCreateEdges=create))
    with pytest.raises(Aborted, match="met another writer") as caught:
        await peer.link_texts("u", [TextLink("a", "b", True)])
    assert not unreachable(caught.value)
