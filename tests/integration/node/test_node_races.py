"""Many callers at once, repeated requests, and what happens when an answer got lost."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from protos.node.v1 import node_pb2
from shared.errors import Aborted, AlreadyExists, Brain2Error, FailedPrecondition, InvalidArgument
from tests.support.node_service import NodeService, running
from tests.support.stores import Stores


async def reasons(*calls) -> Counter[str]:  # type: ignore[no-untyped-def]
    """How the calls ended: "OK" or the reason of the error."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Brain2Error):
            raise result
    return Counter(result.reason if isinstance(result, Brain2Error) else "OK" for result in results)


async def test_updates_without_an_etag_all_apply(service: NodeService, user: str) -> None:
    await service.create(user)
    assert await reasons(*(service.update(user, title=f"t{n}") for n in range(20))) == {"OK": 20}
    assert (await service.get(user)).version == 21


async def test_updates_through_two_replicas_all_apply(service: NodeService, stores: Stores, user: str) -> None:
    await service.create(user)
    async with running(stores) as other:
        calls = [each.update(user, title=f"t{n}") for n in range(10) for each in (service, other)]
        assert await reasons(*calls) == {"OK": 20}
        node = await service.get(user)
        assert node.version == 21
        assert await other.get(user) == node


async def test_of_updates_with_one_etag_one_wins(service: NodeService, user: str) -> None:
    etag = (await service.create(user)).etag
    calls = (service.update(user, title=f"t{n}", etag=etag) for n in range(20))
    assert await reasons(*calls) == {"OK": 1, "ETAG_MISMATCH": 19}
    assert (await service.get(user)).version == 2


async def test_of_creations_of_one_id_one_wins(service: NodeService, user: str) -> None:
    calls = (service.create(user, title=f"t{n}") for n in range(50))
    assert await reasons(*calls) == {"OK": 1, "NODE_EXISTS": 49}
    assert (await service.get(user)).version == 1


async def test_the_same_creation_at_once_gives_one_answer(service: NodeService, user: str) -> None:
    request = node_pb2.CreateNodeRequest(user_id=user, node=node_pb2.NewNode(title="T"), request_id="r")
    answers = await asyncio.gather(*(service.stub.CreateNode(request) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert await service.listed(user) == [answers[0].node.node_id]


async def test_the_same_update_at_once_gives_one_answer(service: NodeService, user: str) -> None:
    etag = (await service.create(user)).etag
    answers = await asyncio.gather(
        *(service.update(user, title="X", etag=etag, request_id="r") for _ in range(10)),
        *(service.update(user, title="Y", request_id="r2") for _ in range(10)),
        return_exceptions=True,
    )
    again, other = answers[:10], answers[10:]
    # Which of the two came first decides whether the one with the etag could be done at all.
    if isinstance(again[0], Aborted):
        assert [type(answer) for answer in again] == [Aborted] * 10
    else:
        assert all(answer == again[0] for answer in again)
    assert all(answer == other[0] for answer in other)
    assert not isinstance(other[0], BaseException)


async def test_the_same_delete_and_restore_give_their_first_answers(service: NodeService, user: str) -> None:
    etag = (await service.create(user)).etag
    gone = await service.delete(user, etag=etag, request_id="d")
    back = await service.restore(user, request_id="r")
    assert await service.delete(user, etag=etag, request_id="d") == gone
    assert not (await service.get(user)).HasField("delete_time")
    await service.update(user, title="X")
    assert await service.restore(user, request_id="r") == back


async def test_a_request_that_had_nothing_to_do_is_kept_too(service: NodeService, user: str) -> None:
    await service.create(user)
    await service.delete(user)
    nothing = await service.delete(user, request_id="d")
    back = (await service.restore(user)).node
    assert await service.restore(user, request_id="r") == await service.restore(user, request_id="r")
    assert await service.delete(user, request_id="d") == nothing
    assert await service.get(user) == back


async def test_a_request_id_is_for_one_body(service: NodeService, user: str) -> None:
    await service.create(user, "other")
    await service.create(user)
    await service.update(user, title="X", request_id="r")
    for call in (
        service.update(user, title="Y", request_id="r"),
        service.update(user, "other", title="X", request_id="r"),
        service.delete(user, request_id="r"),
        service.restore(user, request_id="r"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await call
        assert caught.value.reason == "REQUEST_ID_REUSED"
    assert (await service.update(f"{user}", "other", title="X", request_id="r-2")).node.version == 2


async def test_the_same_batch_is_done_once(service: NodeService, user: str) -> None:
    notes = [node_pb2.NewNode(title=f"t{n}") for n in range(30)] + [node_pb2.NewNode()]
    request = node_pb2.BatchCreateNodesRequest(user_id=user, nodes=notes, request_id="r")
    first = await service.stub.BatchCreateNodes(request)
    assert await service.stub.BatchCreateNodes(request) == first
    assert len(await service.listed(user)) == 30
    del request.nodes[5]
    with pytest.raises(InvalidArgument) as caught:
        await service.stub.BatchCreateNodes(request)
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_the_same_batch_at_once_is_done_once(service: NodeService, user: str) -> None:
    notes = [node_pb2.NewNode(title=f"t{n}") for n in range(30)]
    request = node_pb2.BatchCreateNodesRequest(user_id=user, nodes=notes, request_id="r")
    found = await reasons(*(service.stub.BatchCreateNodes(request, idempotent=False) for _ in range(5)))
    assert found["OK"] >= 1
    assert set(found) <= {"OK", "REQUEST_IN_PROGRESS"}
    assert len(await service.listed(user)) == 30


async def test_delete_and_update_at_once(service: NodeService, user: str) -> None:
    await service.create(user)
    found = await reasons(service.delete(user), *(service.update(user, title=f"t{n}") for n in range(10)))
    assert found["OK"] + found["NODE_DELETED"] == 11
    node = await service.get(user, show_deleted=True)
    assert node.HasField("delete_time")
    assert node.version == 1 + found["OK"]


async def test_restore_and_fence_at_once(service: NodeService, user: str) -> None:
    """Either the note is back and no fence holds, or the fence holds and it stays deleted."""
    for at in range(15):
        node_id = f"n{at}"
        await service.create(user, node_id)
        await service.delete(user, node_id)
        fence = node_pb2.PurgeNodeRequest(user_id=user, node_id=node_id, version=2, fence=True)
        outcomes: Any = await asyncio.gather(
            service.restore(user, node_id), service.stub.PurgeNode(fence), return_exceptions=True
        )
        restored, fenced = outcomes
        node = await service.get(user, node_id, show_deleted=True)
        if isinstance(restored, BaseException):
            assert isinstance(restored, FailedPrecondition)
            assert fenced.node.version == 2
            assert node.HasField("delete_time")
        else:
            assert isinstance(fenced, Aborted)
            assert not node.HasField("delete_time")


async def test_creations_and_purges_of_one_id(service: NodeService, user: str) -> None:
    """Through several lives of an id nothing of an earlier one is ever read."""
    lives = []
    for life in range(5):
        node = await service.create(user, title=f"life {life}")
        lives.append(node.incarnation)
        assert (await service.get(user)).title == f"life {life}"
        with pytest.raises(AlreadyExists):
            await service.create(user)
        await service.delete(user)
        for fence in (True, False):
            await service.stub.PurgeNode(node_pb2.PurgeNodeRequest(user_id=user, node_id="n", version=2, fence=fence))
    assert lives == sorted(set(lives))
