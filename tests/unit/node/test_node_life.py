"""Delete, restore, fence, purge, over a store in memory."""

from dataclasses import replace

import pytest

from services.node_service.model import Cascade, Draft, Node, NodeEventType
from services.node_service.ports import Change, Request
from services.node_service.usecases.life import Life
from services.node_service.usecases.writing import Writing
from shared.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from tests.support.node_fakes import CountingIds, FakeClock, FakeRetentions, FakeStore, FakeVisibility, optimist

REQUEST = Request("req-1", "body-a")


class World:
    """The use cases over fakes, and one note "n" of "u"."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.clock = FakeClock()
        self.visibility = FakeVisibility()
        self.life = Life(self.store, FakeRetentions(60), self.visibility, self.clock, optimist())
        self.writing = Writing(self.store, self.clock, CountingIds(), optimist())

    @property
    def node(self) -> Node:
        return self.store.notes["u", "n"]

    async def delete(self, etag: str = "", request: Request | None = None) -> None:
        await self.life.delete_node("u", "n", etag, Cascade.ORPHANS, request)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.writing.create_node("u", Draft(node_id="n", title="T", content="C"), None)
    return world


async def test_a_delete_hides_and_says_until_when(world: World) -> None:
    world.clock.ms += 500
    answer = await world.life.delete_node("u", "n", "", Cascade.ORPHANS, None)
    assert (answer.version, answer.delete_ms, answer.purge_ms) == (2, world.clock.ms, world.clock.ms + 60_000)
    assert (world.node.content, world.node.deleted, world.node.cascade) == ("C", True, Cascade.ORPHANS)
    assert world.node.update_ms == world.clock.ms - 500
    assert world.store.events[-1].event_type is NodeEventType.DELETED
    assert world.visibility.told == [("n", 2, True)]


async def test_a_second_delete_answers_the_same_and_writes_nothing(world: World) -> None:
    first = await world.life.delete_node("u", "n", "", Cascade.EDGES, None)
    world.clock.ms += 500
    assert await world.life.delete_node("u", "n", "", Cascade.ORPHANS, None) == first
    assert [event.event_type for event in world.store.events] == [NodeEventType.CREATED, NodeEventType.DELETED]
    assert world.visibility.told == [("n", 2, True)] * 2


async def test_etags_of_a_delete(world: World) -> None:
    with pytest.raises(Aborted) as caught:
        await world.delete(etag='"7"')
    assert caught.value.reason == "ETAG_MISMATCH"
    await world.delete(etag='"1"')
    await world.delete(etag='"1"')  # the retry of one whose answer was lost
    await world.delete(etag='"2"')
    with pytest.raises(Aborted):
        await world.delete(etag='"7"')
    assert world.node.version == 2


async def test_what_is_not_there_can_not_be_deleted_or_restored(world: World) -> None:
    with pytest.raises(NotFound):
        await world.life.delete_node("u", "unknown", "", Cascade.EDGES, None)
    with pytest.raises(NotFound):
        await world.life.restore_node("u", "unknown", None)
    with pytest.raises(NotFound):
        await world.life.delete_node("other", "n", "", Cascade.EDGES, None)


async def test_a_repeated_delete_is_answered_as_the_first_even_after_a_restore(world: World) -> None:
    first = await world.life.delete_node("u", "n", '"1"', Cascade.EDGES, REQUEST)
    await world.life.restore_node("u", "n", None)
    assert await world.life.delete_node("u", "n", '"1"', Cascade.EDGES, REQUEST) == first
    assert not world.node.deleted


async def test_a_request_that_had_nothing_to_do_does_nothing_when_repeated_later(world: World) -> None:
    first = await world.life.delete_node("u", "n", "", Cascade.EDGES, None)
    assert await world.life.delete_node("u", "n", "", Cascade.EDGES, REQUEST) == first
    back = await world.life.restore_node("u", "n", None)
    assert await world.life.restore_node("u", "n", Request("req-2", "body")) == back
    assert await world.life.delete_node("u", "n", "", Cascade.EDGES, REQUEST) == first
    assert world.node == back
    await world.delete()
    assert await world.life.restore_node("u", "n", Request("req-2", "body")) == back
    assert world.node.deleted


async def test_a_restore_brings_back_the_note_as_it_was(world: World) -> None:
    before = world.node
    await world.delete()
    after = await world.life.restore_node("u", "n", REQUEST)
    assert after == replace(before, version=3) == world.node
    assert world.store.events[-1].event_type is NodeEventType.RESTORED
    assert world.visibility.told[-1] == ("n", 3, False)
    assert await world.life.restore_node("u", "n", None) == after
    assert await world.life.restore_node("u", "n", REQUEST) == after
    assert world.node.version == 3


async def test_a_fence_forbids_the_restore(world: World) -> None:
    await world.delete()
    fenced = await world.life.fence_node("u", "n", 2)
    assert fenced is not None
    assert (fenced.version, fenced.content, fenced.cascade) == (2, "C", Cascade.ORPHANS)
    assert await world.life.fence_node("u", "n", 2) == fenced
    with pytest.raises(FailedPrecondition) as caught:
        await world.life.restore_node("u", "n", None)
    assert caught.value.reason == "PURGE_STARTED"
    await world.delete()  # still answers


async def test_a_restore_that_comes_between_read_and_write_of_the_fence_wins(world: World) -> None:
    await world.delete()

    def restore(change: Change) -> None:
        world.store.before_commit = lambda change: None
        world.store.notes["u", "n"] = replace(world.node, version=3, delete_ms=None, purge_ms=None)

    world.store.before_commit = restore
    with pytest.raises(Aborted) as caught:
        await world.life.fence_node("u", "n", 2)
    assert caught.value.reason == "VERSION_MISMATCH"
    assert not world.node.fenced


async def test_a_fence_that_comes_between_read_and_write_of_the_restore_wins(world: World) -> None:
    await world.delete()

    def fence(change: Change) -> None:
        world.store.before_commit = lambda change: None
        world.store.notes["u", "n"] = replace(world.node, fenced=True)

    world.store.before_commit = fence
    with pytest.raises(FailedPrecondition) as caught:
        await world.life.restore_node("u", "n", None)
    assert caught.value.reason == "PURGE_STARTED"
    assert world.node.deleted


async def test_a_purge_needs_the_fence_and_the_version(world: World) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await world.life.fence_node("u", "n", 1)
    assert caught.value.reason == "NOT_DELETED"
    await world.delete()
    with pytest.raises(Aborted):
        await world.life.fence_node("u", "n", 1)
    with pytest.raises(FailedPrecondition) as caught:
        await world.life.purge_node("u", "n", 2)
    assert caught.value.reason == "NOT_FENCED"
    with pytest.raises(InvalidArgument):
        await world.life.purge_node("u", "n", 0)


async def test_a_purge_leaves_nothing_and_says_so_once(world: World) -> None:
    await world.delete()
    await world.life.fence_node("u", "n", 2)
    assert await world.life.purge_node("u", "n", 2) is True
    assert await world.life.purge_node("u", "n", 2) is False
    assert await world.life.fence_node("u", "n", 2) is None
    assert world.store.notes == {}
    purged = [event for event in world.store.events if event.event_type is NodeEventType.PURGED]
    assert [(event.node.version, event.time_ms) for event in purged] == [(3, world.clock.ms)]


async def test_a_late_purge_spares_a_note_created_anew(world: World) -> None:
    await world.delete()
    await world.life.fence_node("u", "n", 2)
    await world.life.purge_node("u", "n", 2)
    world.clock.ms += 1
    anew = await world.writing.create_node("u", Draft(node_id="n", title="anew"), None)
    assert await world.life.purge_node("u", "n", 2) is False
    assert await world.life.fence_node("u", "n", 2) is None
    assert world.node == anew
    events = [(event.node.incarnation, event.node.version) for event in world.store.events]
    assert events == sorted(set(events))
