"""UpdateNode, over a store in memory."""

from dataclasses import replace

import pytest

from services.node_service.model import Cascade, Draft, Node, etag_of
from services.node_service.ports import NodeWrite
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.update_node import update_node
from shared.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from shared.idempotent import IdempotentRequest
from tests.support.node_fakes import FakeStore, World

REQUEST = IdempotentRequest("u", "req-1", "body-a")


@pytest.fixture
def world() -> World:
    return World()


async def test_an_update_changes_what_the_mask_names(world: World) -> None:
    before = await create_node(world.notes, "u", Draft(node_id="n", title="T", content="C", tags=("a",)), None)
    world.clock.ms += 1000
    after = await update_node(world.notes, "u", "n", Draft(title="T2", content="ignored"), ["title", "tags"], "", None)
    assert after == replace(before, title="T2", tags=(), version=2, update_ms=world.clock.ms)
    assert world.store.events[-1].changed == ("title", "tags")


async def test_an_empty_mask_means_what_is_set(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T", content="C", metadata={"k": "v"}), None)
    after = await update_node(world.notes, "u", "n", Draft(content="longer"), [], "", None)
    assert (after.title, after.content, after.content_bytes, after.metadata) == ("T", "longer", 6, {"k": "v"})


async def test_changed_lists_only_what_differs(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T", content="C"), None)
    after = await update_node(world.notes, "u", "n", Draft(title="T", content="D"), ["title", "content"], "", None)
    assert (after.version, world.store.events[-1].changed) == (2, ("content",))


@pytest.mark.parametrize(("draft", "mask"), [(Draft(title="x"), ["titel"]), (Draft(), []), (Draft(title="x"), ["*"])])
async def test_a_mask_must_name_what_there_is(world: World, draft: Draft, mask: list[str]) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    with pytest.raises(InvalidArgument) as caught:
        await update_node(world.notes, "u", "n", draft, mask, "", None)
    assert "update_mask" in {violation.field for violation in caught.value.violations}


async def test_an_update_may_not_empty_a_note(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    with pytest.raises(InvalidArgument):
        await update_node(world.notes, "u", "n", Draft(), ["title"], "", None)
    assert world.store.notes["u", "n"].version == 1


async def test_an_update_needs_a_live_note(world: World) -> None:
    with pytest.raises(NotFound):
        await update_node(world.notes, "u", "n", Draft(title="x"), [], "", None)
    node = await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    world.store.notes["u", "n"] = replace(node, delete_ms=1, purge_ms=2)
    with pytest.raises(FailedPrecondition):
        await update_node(world.notes, "u", "n", Draft(title="x"), [], "", None)


async def test_without_an_etag_a_lost_race_is_run_again(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    world.store.before_commit = _interfering(world.store, times=3)
    after = await update_node(world.notes, "u", "n", Draft(content="mine"), [], "", None)
    assert (after.version, after.title, after.content) == (5, "theirs", "mine")


async def test_with_an_etag_a_lost_race_is_reported(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    world.store.before_commit = _interfering(world.store, times=1)
    with pytest.raises(Aborted) as caught:
        await update_node(world.notes, "u", "n", Draft(content="mine"), [], etag_of(world.node.incarnation, 1), None)
    assert (caught.value.reason, caught.value.metadata["etag"]) == ("ETAG_MISMATCH", etag_of(world.node.incarnation, 2))
    assert world.store.notes["u", "n"].content == ""


async def test_endless_interference_ends(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    world.store.before_commit = _interfering(world.store, times=1000)
    with pytest.raises(Aborted) as caught:
        await update_node(world.notes, "u", "n", Draft(content="mine"), [], "", None)
    assert caught.value.reason == "CONTENTION"


async def test_a_repeated_update_with_an_etag_is_answered_as_the_first(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    first = await update_node(world.notes, "u", "n", Draft(title="T2"), [], etag_of(world.node.incarnation, 1), REQUEST)
    assert (
        await update_node(world.notes, "u", "n", Draft(title="T2"), [], etag_of(world.node.incarnation, 1), REQUEST)
        == first
    )
    assert await update_node(world.notes, "u", "n", Draft(title="T2"), [], "", REQUEST) == first
    assert world.store.notes["u", "n"].version == 2


async def test_a_repeat_is_answered_though_the_note_is_gone(world: World) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    first = await update_node(world.notes, "u", "n", Draft(title="T2"), [], "", REQUEST)
    del world.store.notes["u", "n"]
    assert await update_node(world.notes, "u", "n", Draft(title="T2"), [], "", REQUEST) == first


@pytest.mark.parametrize(("draft", "mask"), [(Draft(content="new"), []), (Draft(title="T2"), ["title", "content"])])
async def test_a_repeated_update_of_the_content_has_it_from_the_request(
    world: World, draft: Draft, mask: list[str]
) -> None:
    await create_node(world.notes, "u", Draft(node_id="n", title="T", content="old"), None)
    first = await update_node(world.notes, "u", "n", draft, mask, "", REQUEST)
    assert first.content == draft.content
    (_, kept), *_ = world.store.answers.values()
    assert not isinstance(kept, Node), "the request has the content, so the receipt needs none"
    await update_node(world.notes, "u", "n", Draft(content="newer"), [], "", None)
    assert await update_node(world.notes, "u", "n", draft, mask, "", REQUEST) == first
    del world.store.notes["u", "n"]
    assert await update_node(world.notes, "u", "n", draft, mask, "", REQUEST) == first


async def test_times_do_not_run_backwards(world: World) -> None:
    node = await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)
    world.clock.ms -= 60_000
    after = await update_node(world.notes, "u", "n", Draft(title="T2"), [], "", None)
    assert after.update_ms == node.update_ms


def _interfering(store: FakeStore, times: int):  # type: ignore[no-untyped-def]
    """Somebody else writes first, so many times."""
    left = [times]

    def interfere(write: NodeWrite) -> None:
        if left[0] and isinstance(write.before, Node):
            left[0] -= 1
            key = write.before.user_id, write.before.node_id
            now = store.notes[key]
            store.notes[key] = replace(now, version=now.version + 1, title="theirs")

    return interfere


async def test_the_etag_of_a_purged_note_is_not_that_of_the_next_one_of_its_id(world: World) -> None:
    former = (await create_node(world.notes, "u", Draft(node_id="n", title="T"), None)).etag
    world.store.notes["u", "n"] = replace(world.node, incarnation=world.node.incarnation + 1, title="anew")
    for call in (
        update_node(world.notes, "u", "n", Draft(title="mine"), [], former, None),
        delete_node(world.notes, "u", "n", former, Cascade.EDGES, None),
    ):
        with pytest.raises(Aborted) as refused:
            await call
        assert refused.value.reason == "ETAG_MISMATCH"
    assert world.node.title == "anew"
