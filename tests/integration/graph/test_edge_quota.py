"""The quota of edges: those that callers make or reject count, automatic ones don't."""

from collections.abc import AsyncIterator

import pytest

from protos.graph.v1 import graph_pb2
from protos.table import usage_key
from shared.dynamo import Table
from shared.errors import ResourceExhausted
from tests.support import graph_service
from tests.support.graph_nodes import FakeNodes
from tests.support.graph_service import GraphService
from tests.support.stores import Stores


@pytest.fixture(scope="module")
async def limited(stores: Stores, nodes: FakeNodes) -> AsyncIterator[GraphService]:
    async with graph_service.running(stores, nodes, BRAIN2_QUOTA_EDGES="3") as found:
        yield found


async def used(stores: Stores, user: str) -> int:
    async with stores.client("dynamodb") as client:
        item = await Table(client, stores.resources.table).get(usage_key("graph", user), consistent=True)
    assert item is not None
    return int(item["edges"])


async def test_an_edge_too_many_is_refused_and_a_deletion_gives_back(
    limited: GraphService, stores: Stores, user: str
) -> None:
    for other in ("b", "c", "d"):
        await limited.create(user, "a", other)
    with pytest.raises(ResourceExhausted) as caught:
        await limited.create(user, "a", "e")
    assert caught.value.reason == "QUOTA_EXCEEDED"
    assert dict(caught.value.metadata) == {"quota": "edges", "limit": "3", "used": "3", "wanted": "1"}
    # The same edge again is no new one.
    assert not (await limited.create(user, "a", "b")).created
    await limited.delete(user, "a", "b")
    await limited.create(user, "a", "e")
    assert await used(stores, user) == 3
    await limited.stub.DetachNode(graph_pb2.DetachNodeRequest(user_id=user, node_id="a"))
    assert await used(stores, user) == 0


async def test_automatic_edges_do_not_count_until_a_person_makes_them_theirs(
    limited: GraphService, stores: Stores, user: str
) -> None:
    for number in range(5):
        await limited.create(user, "a", f"n{number}", auto=True)
    await limited.create(user, "a", "n0")
    assert await used(stores, user) == 1
    await limited.stub.SuppressEdge(graph_pb2.SuppressEdgeRequest(user_id=user, source_id="a", target_id="n1"))
    assert await used(stores, user) == 2
    await limited.create(user, "a", "n1")
    assert await used(stores, user) == 2


async def test_a_batch_creates_what_fits(limited: GraphService, stores: Stores, user: str) -> None:
    news = [graph_pb2.NewEdge(source_id="a", target_id=f"n{number}") for number in range(60)]
    answer = await limited.batch(user, news)
    reasons = [result.reason for result in answer.results]
    assert reasons == [""] * 3 + ["QUOTA_EXCEEDED"] * 57
    assert [result.HasField("edge") for result in answer.results] == [True] * 3 + [False] * 57
    assert sorted(await limited.neighbors(user, "a")) == ["n0", "n1", "n2"]


async def test_edges_of_before_the_quota_are_counted(
    graph: GraphService, limited: GraphService, stores: Stores, user: str
) -> None:
    for number in range(4):
        await graph.create(user, "a", f"n{number}", auto=number == 3)
    with pytest.raises(ResourceExhausted):
        await limited.create(user, "a", "other")
    assert await used(stores, user) == 3
