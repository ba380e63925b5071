"""What similarity reads from the node service: not older than what it has seen, and texts of any size."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from protos.node.v1 import node_pb2
from services.similarity_service.adapters.peers import NodePeer
from services.similarity_service.ports import NodeState
from shared import revisions
from shared.errors import ResourceExhausted


class Nodes:
    """A stub whose answers hold at most so many notes."""

    def __init__(self, most: int = 100, reason: str = "RESPONSE_TOO_LARGE") -> None:
        self.requests: list[node_pb2.BatchGetNodesRequest] = []
        self.asked: Mapping[str, revisions.Revision] = {}
        self._most = most
        self._reason = reason

    async def GetNode(self, request: node_pb2.GetNodeRequest) -> node_pb2.GetNodeResponse:
        self.asked = revisions.decode(request.consistency_token)
        return node_pb2.GetNodeResponse(node=node_pb2.Node(node_id=request.node_id, version=2, incarnation=1))

    async def BatchGetNodes(self, request: node_pb2.BatchGetNodesRequest) -> node_pb2.BatchGetNodesResponse:
        self.requests.append(request)
        if len(request.node_ids) > self._most:
            raise ResourceExhausted("too much", reason=self._reason)
        nodes = [node_pb2.Node(node_id=each, content=f"text of {each}", version=1) for each in request.node_ids]
        return node_pb2.BatchGetNodesResponse(nodes=nodes)


def ids(count: int) -> Sequence[str]:
    return [f"n{number}" for number in range(count)]


async def test_texts_are_asked_for_in_the_revision_that_was_seen() -> None:
    nodes: Any = Nodes()
    seen = {each: (1_700_000_000_000, number + 1) for number, each in enumerate(ids(150))}
    found = await NodePeer(nodes).texts("u", ids(160), seen)
    assert list(found) == ids(160)
    asked: dict[str, revisions.Revision] = {}
    for request in nodes.requests:
        part = revisions.decode(request.consistency_token)
        assert part.keys() == set(request.node_ids) & seen.keys()
        asked |= part
    assert asked == seen


async def test_a_state_is_asked_for_in_the_revision_that_was_seen() -> None:
    nodes: Any = Nodes()
    assert await NodePeer(nodes).state("u", "n", (1, 2)) == NodeState(incarnation=1, version=2, visible=True)
    assert nodes.asked == {"n": (1, 2)}


async def test_texts_that_are_too_large_for_one_answer_are_read_in_several() -> None:
    nodes: Any = Nodes(most=3)
    seen = dict.fromkeys(ids(20), (1, 1))
    found = await NodePeer(nodes).texts("u", ids(20), seen)
    assert {node_id: text.text for node_id, text in found.items()} == {each: f"text of {each}" for each in ids(20)}
    assert all(set(revisions.decode(each.consistency_token)) == set(each.node_ids) for each in nodes.requests)


@pytest.mark.parametrize(("most", "reason"), [(0, "RESPONSE_TOO_LARGE"), (3, "RATE_LIMITED")])
async def test_other_refusals_are_errors(most: int, reason: str) -> None:
    nodes: Any = Nodes(most, reason)
    with pytest.raises(ResourceExhausted) as caught:
        await NodePeer(nodes).texts("u", ids(4))
    assert caught.value.reason == reason
