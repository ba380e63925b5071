"""ReplayEvents over real stores and a real bus: the events that consumers receive."""

import pytest

from protos.node.v1 import node_pb2
from shared.errors import InvalidArgument
from tests.support.node_listener import listening
from tests.support.node_service import NodeService
from tests.support.stores import Stores


async def test_what_others_hear_is_marked_and_has_the_notes_versions(
    stores: Stores, service: NodeService, user: str
) -> None:
    async with listening(stores, user) as listener:
        await service.create(user, "a", content="x" * 200_000)
        await service.create(user, "b", content="short")
        await service.update(user, "b", content="shorter")
        deleted = await service.delete(user, "a")
        news = {event.id for event in await listener.wait_for(4)}
        answers = [each async for each in service.stub.ReplayEvents(node_pb2.ReplayEventsRequest(user_id=user))]
        assert [(each.replayed, each.finished) for each in answers] == [(2, False), (2, True)]
        again = {event.node_id: event for event in await listener.wait_for(6) if event.id not in news}
    assert all(event.replay for event in again.values())
    assert not any(event.replay for event in listener.received if event.id in news)
    assert [(event.type, event.version) for event in (again["a"], again["b"])] == [
        ("node.deleted", 2),
        ("node.updated", 2),
    ]
    assert again["b"].data["content"] == "shorter"
    assert again["a"].data["purge_time"] == deleted.purge_time.ToJsonString()
    first = next(event for event in listener.received if event.node_id == "a" and event.type == "node.created")
    assert again["a"].data["incarnation"] == first.data["incarnation"]


async def test_a_bad_token_is_refused(service: NodeService, user: str) -> None:
    with pytest.raises(InvalidArgument):
        async for _ in service.stub.ReplayEvents(node_pb2.ReplayEventsRequest(user_id=user, page_token="x")):
            pass
