"""CreateNode, over a store in memory."""

import pytest

from services.node_service.model import Draft, Node, NodeEventType, etag_of
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.update_node import update_node
from shared.errors import AlreadyExists, InvalidArgument
from shared.idempotent import IdempotentRequest
from tests.support.node_fakes import World

REQUEST = IdempotentRequest("u", "req-1", "body-a")


@pytest.fixture
def world() -> World:
    return World()


async def test_a_creation_is_one_write_and_no_read(world: World) -> None:
    node = await create_node(world.notes, "u", Draft(title="T", content="C", tags=("a",)), None)
    assert (node.node_id, node.version, node.etag) == ("made-1", 1, etag_of(node.incarnation, 1))
    assert (node.create_ms, node.update_ms, node.incarnation) == (world.clock.ms, world.clock.ms, world.clock.ms)
    assert world.store.notes == {("u", "made-1"): node}
    assert (world.store.commits, world.store.reads) == (1, 0)
    [event] = world.store.events
    assert (event.event_type, event.node, event.time_ms) == (NodeEventType.CREATED, node, world.clock.ms)


async def test_an_import_keeps_its_id_and_time(world: World) -> None:
    node = await create_node(world.notes, "u", Draft(node_id="mine", title="T", create_ms=5), None)
    assert (node.node_id, node.create_ms, node.update_ms, node.incarnation) == (
        "mine",
        5,
        world.clock.ms,
        world.clock.ms,
    )


async def test_an_id_is_taken_per_user(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    await create_node(world.notes, "other", Draft(node_id="n", title="T"), None)
    with pytest.raises(AlreadyExists) as caught:
        await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    assert caught.value.reason == "NODE_EXISTS"


async def test_a_repeated_creation_is_answered_as_the_first(world: World) -> None:
    first = await create_node(world.notes, "u", Draft(title="T"), REQUEST)
    assert await create_node(world.notes, "u", Draft(title="T"), REQUEST) == first
    assert len(world.store.notes) == 1
    with pytest.raises(InvalidArgument) as caught:
        await create_node(world.notes, "u", Draft(title="X"), IdempotentRequest("u", "req-1", "body-b"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_repeated_creation_has_the_content_that_was_asked_for(world: World) -> None:
    draft = Draft(node_id="n", title="T", content="é" * 300)
    first = await create_node(world.notes, "u", draft, REQUEST)
    assert isinstance(first, Node)
    (_, kept), *_ = world.store.answers.values()
    assert not isinstance(kept, Node), "the request has the content, so the receipt needs none"
    await update_node(world.notes, "u", "n", Draft(content="changed"), [], "", None)
    assert await create_node(world.notes, "u", draft, REQUEST) == first
    assert await create_node(world.notes, "u", Draft(title="no content"), IdempotentRequest("u", "2", "b")) == (
        await create_node(world.notes, "u", Draft(title="no content"), IdempotentRequest("u", "2", "b"))
    )


async def test_bad_ids_are_reported_with_the_rest(world: World) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await create_node(world.notes, "", Draft(), IdempotentRequest("u", "#", ""))
    assert [violation.field for violation in caught.value.violations] == ["user_id", "request_id", "node"]
    assert world.store.commits == 0
