"""BatchCreateNodes: each note by itself, and all of them once for each request_id."""

import json
from collections.abc import Sequence

import pytest

from services.node_service.model import Draft, Summary
from services.node_service.usecases.batch_create_nodes import batch_create_nodes
from shared.errors import Brain2Error, InvalidArgument, Unavailable
from shared.idempotent import IdempotentRequest
from tests.support.node_fakes import World

REQUEST = IdempotentRequest("u", "req-1", "body")


def encode(results: Sequence[Summary | Brain2Error]) -> bytes:
    """The answer in these tests: ids, and the reasons of errors."""
    return json.dumps([each.reason if isinstance(each, Brain2Error) else each.node_id for each in results]).encode()


@pytest.fixture
def world() -> World:
    return World()


async def test_a_bad_note_does_not_harm_the_others(world: World) -> None:
    await batch_create_nodes(world.notes, "u", [Draft(node_id="b", title="there")], None, encode)
    drafts = [Draft(node_id="a", title="A"), Draft(), Draft(node_id="b", title="B"), Draft(title="new")]
    answer = await batch_create_nodes(world.notes, "u", drafts, None, encode)
    assert json.loads(answer) == ["a", "INVALID_ARGUMENT", "NODE_EXISTS", "made-1"]
    assert world.store.notes["u", "b"].title == "there"


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_a_size(world: World, count: int) -> None:
    with pytest.raises(InvalidArgument):
        await batch_create_nodes(world.notes, "u", [Draft(title="T")] * count, None, encode)


async def test_an_id_comes_once(world: World) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await batch_create_nodes(
            world.notes, "u", [Draft(node_id="a", title="1"), Draft(node_id="a", title="2")], None, encode
        )
    assert [violation.field for violation in caught.value.violations] == ["nodes[1].node_id"]
    assert world.store.commits == 0


async def test_a_repeat_gets_the_same_answer(world: World) -> None:
    drafts = [Draft(title="A"), Draft()]
    first = await batch_create_nodes(world.notes, "u", drafts, REQUEST, encode)
    assert await batch_create_nodes(world.notes, "u", drafts, REQUEST, encode) == first
    assert len(world.store.notes) == 1


async def test_after_a_crash_in_the_middle_a_repeat_finds_what_was_stored(world: World) -> None:
    drafts = [Draft(title="A"), Draft(title="B")]
    first = await batch_create_nodes(world.notes, "u", drafts, REQUEST, encode)
    world.idempotency.answers.clear()  # as if the process had died before it could keep the answer
    del world.store.notes["u", "made-2"], world.store.answers["u", "req-1#1"]  # ... and before the second note
    second = await batch_create_nodes(world.notes, "u", drafts, REQUEST, encode)
    assert json.loads(first)[0] == json.loads(second)[0] == "made-1"
    assert len(world.store.notes) == 2


async def test_what_may_work_later_is_not_kept(world: World) -> None:
    drafts = [Draft(node_id="a", title="A"), Draft(node_id="b", title="B")]
    world.store.failing = {"b": Unavailable("away")}
    assert json.loads(await batch_create_nodes(world.notes, "u", drafts, REQUEST, encode)) == ["a", "UNAVAILABLE"]
    assert not world.idempotency.begun
    world.store.failing = {}
    assert json.loads(await batch_create_nodes(world.notes, "u", drafts, REQUEST, encode)) == ["a", "b"]
    assert world.store.notes["u", "a"].version == 1


async def test_receipts_hold_no_contents(world: World) -> None:
    await batch_create_nodes(world.notes, "u", [Draft(content="C" * 300)], REQUEST, encode)
    [(_, answer)] = world.store.answers.values()
    assert not hasattr(answer, "content")
    assert answer.content_bytes == 300
