"""WatchEdges: changes arrive in order, a token resumes without loss, an old one is refused."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protos.graph.v1 import graph_pb2
from shared.errors import InvalidArgument, OutOfRange
from tests.support.graph_service import GraphService
from tests.support.waiting import within

Kind = graph_pb2.WatchEdgesResponse.Kind


@contextlib.asynccontextmanager
async def watching(service: GraphService, user: str, token: str = "") -> AsyncIterator[Any]:
    """The stream, its first answer (a token of now) taken."""
    stream = service.stub.WatchEdges(graph_pb2.WatchEdgesRequest(user_id=user, resume_token=token))
    async with contextlib.aclosing(stream), within(20):
        first = await anext(stream)
        assert first.kind == graph_pb2.WatchEdgesResponse.KIND_UNSPECIFIED
        assert first.resume_token
        yield stream


async def take(stream: Any, count: int) -> list[Any]:
    return [await anext(stream) for _ in range(count)]


def described(answer: Any) -> tuple[str, str, str]:
    return (Kind.Name(answer.kind).removeprefix("KIND_"), answer.edge.source_id, answer.edge.target_id)


async def test_changes_of_another_replica_arrive_in_order(
    graph: GraphService, replica: GraphService, user: str
) -> None:
    async with watching(replica, user) as stream:
        made = (await graph.create(user, "a", "b", weight=0.5)).edge
        await graph.stub.UpdateEdge(
            graph_pb2.UpdateEdgeRequest(user_id=user, source_id="a", target_id="b", weight=0.25)
        )
        await graph.hide(user, "a", 2)
        await graph.show(user, "a", 3)
        await graph.delete(user, "a", "b")
        await graph.create(user + "x", "other", "user")
        answers = await take(stream, 5)
    assert [described(answer) for answer in answers] == [
        ("CREATED", "a", "b"),
        ("UPDATED", "a", "b"),
        ("NODE_HIDDEN", "a", ""),
        ("NODE_SHOWN", "a", ""),
        ("DELETED", "a", "b"),
    ]
    assert answers[0].edge == made
    assert answers[1].edge.weight == 0.25


async def test_a_change_of_visibility_that_comes_late_is_not_in_the_feed(
    graph: GraphService, replica: GraphService, user: str
) -> None:
    async with watching(replica, user) as stream:
        await graph.hide(user, "a", 2)
        await graph.hide(user, "a", 2)  # it comes again
        await graph.show(user, "a", 3)
        assert not await graph.claim(user, "a", 2, False, incarnation=7)
        await graph.hide(user, "b", 2)
        answers = await take(stream, 3)
    assert [described(answer) for answer in answers] == [
        ("NODE_HIDDEN", "a", ""),
        ("NODE_SHOWN", "a", ""),
        ("NODE_HIDDEN", "b", ""),
    ]


async def test_a_token_resumes_without_loss(graph: GraphService, user: str) -> None:
    async with watching(graph, user) as stream:
        await graph.create(user, "a", "n0")
        (first,) = await take(stream, 1)
    for i in range(1, 250):
        await graph.create(user, "a", f"n{i}")
    async with watching(graph, user, first.resume_token) as stream:
        answers = await take(stream, 249)
        assert [answer.edge.target_id for answer in answers] == [f"n{i}" for i in range(1, 250)]
    async with watching(graph, user, answers[-1].resume_token) as stream:
        await graph.delete(user, "a", "n0")
        assert [described(answer) for answer in await take(stream, 1)] == [("DELETED", "a", "n0")]


async def test_a_batch_tells_each_edge(graph: GraphService, user: str) -> None:
    async with watching(graph, user) as stream:
        await graph.batch(user, [graph_pb2.NewEdge(source_id="a", target_id=f"n{i:02}") for i in range(45)])
        assert {answer.edge.target_id for answer in await take(stream, 45)} == {f"n{i:02}" for i in range(45)}


async def test_garbled_and_expired_tokens(graph: GraphService, user: str) -> None:
    with pytest.raises(InvalidArgument):
        async with watching(graph, user, "garbage"):
            pass
    async with watching(graph, user) as stream:
        await graph.create(user, "a", "b")
        (answer,) = await take(stream, 1)
    # The feed of another user has nothing at that place: whatever followed it there is not known.
    with pytest.raises(OutOfRange) as caught:
        async with watching(graph, user + "x", answer.resume_token) as stream:
            await take(stream, 1)
    assert caught.value.reason == "RESUME_TOKEN_EXPIRED"
