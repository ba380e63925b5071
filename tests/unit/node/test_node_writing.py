"""Creating and changing notes, over a store in memory."""

from dataclasses import replace

import pytest

from services.node_service.model import Draft, Node, NodeEventType
from services.node_service.ports import Change, Request
from services.node_service.usecases.writing import Writing
from shared.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from tests.support.node_fakes import CountingIds, FakeClock, FakeStore, optimist

REQUEST = Request("req-1", "body-a")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def writing(store: FakeStore, clock: FakeClock) -> Writing:
    return Writing(store, clock, CountingIds(), optimist())


async def test_a_creation_is_one_write_and_no_read(writing: Writing, store: FakeStore, clock: FakeClock) -> None:
    node = await writing.create_node("u", Draft(title="T", content="C", tags=("a",)), None)
    assert (node.node_id, node.version, node.etag) == ("made-1", 1, '"1"')
    assert (node.create_ms, node.update_ms, node.incarnation) == (clock.ms, clock.ms, clock.ms)
    assert store.notes == {("u", "made-1"): node}
    assert (store.commits, store.reads) == (1, 0)
    [event] = store.events
    assert (event.event_type, event.node, event.time_ms) == (NodeEventType.CREATED, node, clock.ms)


async def test_an_import_keeps_its_id_and_time(writing: Writing, clock: FakeClock) -> None:
    node = await writing.create_node("u", Draft(node_id="mine", title="T", create_ms=5), None)
    assert (node.node_id, node.create_ms, node.update_ms, node.incarnation) == ("mine", 5, clock.ms, clock.ms)


async def test_an_id_is_taken_per_user(writing: Writing) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    await writing.create_node("other", Draft(node_id="n", title="T"), None)
    with pytest.raises(AlreadyExists) as caught:
        await writing.create_node("u", Draft(node_id="n", title="T"), None)
    assert caught.value.reason == "NODE_EXISTS"


async def test_a_repeated_creation_is_answered_as_the_first(writing: Writing, store: FakeStore) -> None:
    first = await writing.create_node("u", Draft(title="T"), REQUEST)
    assert await writing.create_node("u", Draft(title="T"), REQUEST) == first
    assert len(store.notes) == 1
    with pytest.raises(InvalidArgument) as caught:
        await writing.create_node("u", Draft(title="X"), Request("req-1", "body-b"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_bad_ids_are_reported_with_the_rest(writing: Writing, store: FakeStore) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await writing.create_node("", Draft(), Request("#", ""))
    assert [violation.field for violation in caught.value.violations] == ["user_id", "request_id", "node"]
    assert store.commits == 0


async def test_an_update_changes_what_the_mask_names(writing: Writing, store: FakeStore, clock: FakeClock) -> None:
    before = await writing.create_node("u", Draft(node_id="n", title="T", content="C", tags=("a",)), None)
    clock.ms += 1000
    after = await writing.update_node("u", "n", Draft(title="T2", content="ignored"), ["title", "tags"], "", None)
    assert after == replace(before, title="T2", tags=(), version=2, update_ms=clock.ms)
    assert store.events[-1].changed == ("title", "tags")


async def test_an_empty_mask_means_what_is_set(writing: Writing) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T", content="C", metadata={"k": "v"}), None)
    after = await writing.update_node("u", "n", Draft(content="longer"), [], "", None)
    assert (after.title, after.content, after.content_bytes, after.metadata) == ("T", "longer", 6, {"k": "v"})


async def test_changed_lists_only_what_differs(writing: Writing, store: FakeStore) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T", content="C"), None)
    after = await writing.update_node("u", "n", Draft(title="T", content="D"), ["title", "content"], "", None)
    assert (after.version, store.events[-1].changed) == (2, ("content",))


@pytest.mark.parametrize(("draft", "mask"), [(Draft(title="x"), ["titel"]), (Draft(), []), (Draft(title="x"), ["*"])])
async def test_a_mask_must_name_what_there_is(writing: Writing, draft: Draft, mask: list[str]) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    with pytest.raises(InvalidArgument) as caught:
        await writing.update_node("u", "n", draft, mask, "", None)
    assert "update_mask" in {violation.field for violation in caught.value.violations}


async def test_an_update_may_not_empty_a_note(writing: Writing, store: FakeStore) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    with pytest.raises(InvalidArgument):
        await writing.update_node("u", "n", Draft(), ["title"], "", None)
    assert store.notes["u", "n"].version == 1


async def test_an_update_needs_a_live_note(writing: Writing, store: FakeStore) -> None:
    with pytest.raises(NotFound):
        await writing.update_node("u", "n", Draft(title="x"), [], "", None)
    node = await writing.create_node("u", Draft(node_id="n", title="T"), None)
    store.notes["u", "n"] = replace(node, delete_ms=1, purge_ms=2)
    with pytest.raises(FailedPrecondition):
        await writing.update_node("u", "n", Draft(title="x"), [], "", None)


async def test_without_an_etag_a_lost_race_is_run_again(writing: Writing, store: FakeStore) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    store.before_commit = _interfering(store, times=3)
    after = await writing.update_node("u", "n", Draft(content="mine"), [], "", None)
    assert (after.version, after.title, after.content) == (5, "theirs", "mine")


async def test_with_an_etag_a_lost_race_is_reported(writing: Writing, store: FakeStore) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    store.before_commit = _interfering(store, times=1)
    with pytest.raises(Aborted) as caught:
        await writing.update_node("u", "n", Draft(content="mine"), [], '"1"', None)
    assert (caught.value.reason, caught.value.metadata["etag"]) == ("ETAG_MISMATCH", '"2"')
    assert store.notes["u", "n"].content == ""


async def test_endless_interference_ends(writing: Writing, store: FakeStore) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    store.before_commit = _interfering(store, times=1000)
    with pytest.raises(Aborted) as caught:
        await writing.update_node("u", "n", Draft(content="mine"), [], "", None)
    assert caught.value.reason == "CONTENTION"


async def test_a_repeated_update_with_an_etag_is_answered_as_the_first(writing: Writing, store: FakeStore) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    first = await writing.update_node("u", "n", Draft(title="T2"), [], '"1"', REQUEST)
    assert await writing.update_node("u", "n", Draft(title="T2"), [], '"1"', REQUEST) == first
    assert await writing.update_node("u", "n", Draft(title="T2"), [], "", REQUEST) == first
    assert store.notes["u", "n"].version == 2


async def test_a_repeat_is_answered_though_the_note_is_gone(writing: Writing, store: FakeStore) -> None:
    await writing.create_node("u", Draft(node_id="n", title="T"), None)
    first = await writing.update_node("u", "n", Draft(title="T2"), [], "", REQUEST)
    del store.notes["u", "n"]
    assert await writing.update_node("u", "n", Draft(title="T2"), [], "", REQUEST) == first


async def test_times_do_not_run_backwards(writing: Writing, clock: FakeClock) -> None:
    node = await writing.create_node("u", Draft(node_id="n", title="T"), None)
    clock.ms -= 60_000
    after = await writing.update_node("u", "n", Draft(title="T2"), [], "", None)
    assert after.update_ms == node.update_ms


def _interfering(store: FakeStore, times: int):  # type: ignore[no-untyped-def]
    """Somebody else writes first, so many times."""
    left = [times]

    def interfere(change: Change) -> None:
        if left[0] and isinstance(change.before, Node):
            left[0] -= 1
            key = change.before.user_id, change.before.node_id
            now = store.notes[key]
            store.notes[key] = replace(now, version=now.version + 1, title="theirs")

    return interfere
