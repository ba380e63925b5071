"""DeleteNode, over a store in memory."""

from dataclasses import replace
from unittest.mock import AsyncMock

import pytest

from services.node_service.model import Cascade, Draft, NodeEventType, Summary, etag_of
from services.node_service.ports import NodeWrite
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.restore_node import restore_node
from services.node_service.usecases.update_node import update_node
from shared.errors import (
    Aborted,
    Brain2Error,
    InvalidArgument,
    NotFound,
    QuotaExceeded,
    ResourceExhausted,
    Unavailable,
)
from shared.idempotent import IdempotentRequest
from tests.support.node_fakes import World

EDGES = Cascade.EDGES
REQUEST = IdempotentRequest("u", "req-1", "body-a")


@pytest.fixture
async def world() -> World:
    world = World()
    await create_node(world.notes, "u", Draft(node_id="n", title="T", content="C"), None)
    return world


async def test_a_delete_hides_and_says_until_when(world: World) -> None:
    world.clock.ms += 500
    answer = await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None)
    assert (answer.version, answer.delete_ms, answer.purge_ms) == (2, world.clock.ms, world.clock.ms + 60_000)
    assert (world.node.content, world.node.deleted, world.node.cascade) == ("C", True, Cascade.ORPHANS)
    assert world.node.update_ms == world.clock.ms - 500
    assert world.store.events[-1].event_type is NodeEventType.DELETED
    assert world.visibility.calls == [("n", 2, True)]


async def test_a_second_delete_answers_the_same_and_writes_nothing(world: World) -> None:
    first = await delete_node(world.notes, "u", "n", "", Cascade.EDGES, None)
    world.clock.ms += 500
    assert await delete_node(world.notes, "u", "n", "", Cascade.ORPHANS, None) == first
    assert [event.event_type for event in world.store.events] == [NodeEventType.CREATED, NodeEventType.DELETED]
    assert world.visibility.calls == [("n", 2, True)] * 2


async def test_etags_of_a_delete(world: World) -> None:
    first, second, never = (etag_of(world.node.incarnation, version) for version in (1, 2, 7))
    with pytest.raises(Aborted) as caught:
        await delete_node(world.notes, "u", "n", never, Cascade.ORPHANS, None)
    assert caught.value.reason == "ETAG_MISMATCH"
    await delete_node(world.notes, "u", "n", first, Cascade.ORPHANS, None)
    await delete_node(world.notes, "u", "n", first, Cascade.ORPHANS, None)  # the retry of one whose answer was lost
    await delete_node(world.notes, "u", "n", second, Cascade.ORPHANS, None)
    with pytest.raises(Aborted):
        await delete_node(world.notes, "u", "n", never, Cascade.ORPHANS, None)
    assert world.node.version == 2


async def test_what_is_not_there_can_not_be_deleted_or_restored(world: World) -> None:
    with pytest.raises(NotFound):
        await delete_node(world.notes, "u", "unknown", "", Cascade.EDGES, None)
    with pytest.raises(NotFound):
        await restore_node(world.notes, "u", "unknown", None)
    with pytest.raises(NotFound):
        await delete_node(world.notes, "other", "n", "", Cascade.EDGES, None)


async def test_a_repeated_delete_is_answered_as_the_first_even_after_a_restore(world: World) -> None:
    first = await delete_node(world.notes, "u", "n", etag_of(world.node.incarnation, 1), Cascade.EDGES, REQUEST)
    await restore_node(world.notes, "u", "n", None)
    assert await delete_node(world.notes, "u", "n", etag_of(world.node.incarnation, 1), Cascade.EDGES, REQUEST) == first
    assert not world.node.deleted


async def test_the_change_is_announced_while_it_is_written(world: World) -> None:
    seen = []
    world.store.before_commit = lambda write: seen.append(
        (list(world.visibility.announced), list(world.visibility.calls))
    )
    await delete_node(world.notes, "u", "n", "", EDGES, None)
    await restore_node(world.notes, "u", "n", None)
    assert seen == [([("n", 2, True)], []), ([("n", 3, False)], [("n", 2, True)])]
    assert world.visibility.calls == [("n", 2, True), ("n", 3, False)]
    assert world.visibility.announced == world.visibility.withdrawn == []


async def test_what_another_writer_prevented_is_withdrawn_and_announced_anew(world: World) -> None:
    def update(write: NodeWrite) -> None:
        world.store.before_commit = lambda write: None
        world.store.notes["u", "n"] = replace(world.node, version=2)

    world.store.before_commit = update
    answer = await delete_node(world.notes, "u", "n", "", EDGES, None)
    assert answer.version == 3
    assert world.visibility.withdrawn == [("n", 2, True)]
    assert world.visibility.calls == [("n", 3, True)]
    assert world.visibility.announced == []


async def test_a_refused_deletion_is_withdrawn(world: World) -> None:
    world.store.cached["u", "n"] = replace(world.node, version=9)  # an entry that no longer holds
    with pytest.raises(Aborted):
        await delete_node(world.notes, "u", "n", etag_of(world.node.incarnation, 9), EDGES, None)
    assert world.visibility.withdrawn == [("n", 10, True)]
    assert world.visibility.announced == world.visibility.calls == []


async def test_a_deletion_that_had_been_carried_out_withdraws_what_it_announced(world: World) -> None:
    """The answer is that of the first call, of an older version."""
    first = await delete_node(world.notes, "u", "n", "", EDGES, REQUEST)
    await restore_node(world.notes, "u", "n", None)
    assert await delete_node(world.notes, "u", "n", "", EDGES, REQUEST) == first
    assert world.visibility.withdrawn == [("n", 4, True)]
    assert world.visibility.announced == []


async def test_a_deletion_that_had_been_carried_out_is_withdrawn_though_its_answer_can_not_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await delete_node(world.notes, "u", "n", "", EDGES, REQUEST)
    await restore_node(world.notes, "u", "n", None)
    world.store.cached["u", "n"] = world.node
    monkeypatch.setattr(world.store, "previous_answer", AsyncMock(side_effect=Unavailable("DynamoDB does not answer")))
    with pytest.raises(Unavailable):
        await delete_node(world.notes, "u", "n", "", EDGES, REQUEST)
    assert (world.visibility.announced, world.visibility.withdrawn) == ([], [("n", 4, True)])


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument("an item of DynamoDB is too large"),
        ResourceExhausted("DynamoDB is throttled"),
        QuotaExceeded({"notes": 5}, {"notes": 5}, {"notes": 1}),
    ],
)
async def test_a_write_that_fails_for_certain_is_withdrawn(world: World, error: Brain2Error) -> None:
    world.store.failing = {"n": error}
    with pytest.raises(type(error)):
        await delete_node(world.notes, "u", "n", "", EDGES, None)
    assert (world.visibility.announced, world.visibility.withdrawn) == ([], [("n", 2, True)])


async def test_a_write_whose_outcome_is_unknown_leaves_the_announcement_to_its_end(world: World) -> None:
    world.store.failing = {"n": Unavailable("DynamoDB does not answer")}
    with pytest.raises(Unavailable):
        await delete_node(world.notes, "u", "n", "", EDGES, None)
    assert (world.visibility.announced, world.visibility.withdrawn) == ([("n", 2, True)], [])


async def test_a_cached_note_is_deleted_and_restored_without_a_read(world: World) -> None:
    world.store.cached["u", "n"] = world.node
    reads = world.store.reads
    answer = await delete_node(world.notes, "u", "n", world.node.etag, Cascade.EDGES, None)
    assert type(answer) is Summary, "a deletion answers without the content"
    assert (answer.version, world.node.deleted) == (2, True)
    world.store.cached["u", "n"] = world.node
    assert (await restore_node(world.notes, "u", "n", None)).content == "C"
    assert (world.node.version, world.node.deleted, world.store.reads) == (3, False, reads)
    assert world.store.released == 2
    assert world.visibility.calls == [("n", 2, True), ("n", 3, False)]


async def test_a_receipt_of_a_cached_note_has_no_content(world: World) -> None:
    world.store.cached["u", "n"] = world.node
    answer = await delete_node(world.notes, "u", "n", "", Cascade.EDGES, REQUEST)
    assert type(world.store.answers["u", "req-1"][1]) is Summary
    await restore_node(world.notes, "u", "n", None)
    world.store.cached["u", "n"] = world.node
    assert await delete_node(world.notes, "u", "n", "", Cascade.EDGES, REQUEST) == answer
    assert (world.node.version, world.node.deleted) == (3, False), "a repeated request changes nothing"


async def test_what_a_cache_holds_decides_nothing_but_a_write(world: World) -> None:
    """Entries that are old: the store refuses the write that follows from them, and is read."""
    first = world.node
    await update_node(world.notes, "u", "n", Draft(title="new"), ["title"], "", None)
    live = world.node
    for old in (first, replace(live, delete_ms=1, purge_ms=2), replace(live, incarnation=1, version=9)):
        world.store.cached["u", "n"] = old
        with pytest.raises(Aborted) as caught:
            await delete_node(world.notes, "u", "n", etag_of(1, 9) if old is not first else first.etag, EDGES, None)
        assert caught.value.reason == "ETAG_MISMATCH"
        assert world.node == live
    deleted = await delete_node(world.notes, "u", "n", live.etag, EDGES, None)
    assert (deleted.title, deleted.version) == ("new", 3)
    for old in (live, replace(first, delete_ms=1, purge_ms=2), replace(first, delete_ms=1, fenced=True)):
        world.store.cached["u", "n"] = old
        restored = await restore_node(world.notes, "u", "n", None)
        assert (restored.title, restored.deleted) == ("new", False)
        await delete_node(world.notes, "u", "n", "", EDGES, None)
    for old in (replace(first, node_id="gone"), replace(first, node_id="gone", delete_ms=1, purge_ms=2)):
        world.store.cached["u", "gone"] = old
        with pytest.raises(NotFound):
            await delete_node(world.notes, "u", "gone", "", EDGES, None)
        with pytest.raises(NotFound):
            await restore_node(world.notes, "u", "gone", None)
