"""Creating many notes at once: each for itself, and all of them once for each request_id."""

import json
from collections.abc import Sequence

import pytest

from services.node_service.model import Draft, Summary
from services.node_service.ports import Request
from services.node_service.usecases.batches import BatchWriting
from services.node_service.usecases.writing import Writing
from shared.errors import Brain2Error, InvalidArgument, Unavailable
from tests.support.node_fakes import CountingIds, FakeBatches, FakeClock, FakeStore, optimist

REQUEST = Request("req-1", "body")


def told(results: Sequence[Summary | Brain2Error]) -> bytes:
    """The answer in these tests: ids, and the reasons of errors."""
    return json.dumps([each.reason if isinstance(each, Brain2Error) else each.node_id for each in results]).encode()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def kept() -> FakeBatches:
    return FakeBatches()


@pytest.fixture
def batches(store: FakeStore, kept: FakeBatches) -> BatchWriting:
    return BatchWriting(Writing(store, FakeClock(), CountingIds(), optimist()), kept)


async def test_a_bad_note_does_not_harm_the_others(batches: BatchWriting, store: FakeStore) -> None:
    await batches.create_nodes("u", [Draft(node_id="b", title="there")], None, told)
    drafts = [Draft(node_id="a", title="A"), Draft(), Draft(node_id="b", title="B"), Draft(title="new")]
    answer = await batches.create_nodes("u", drafts, None, told)
    assert json.loads(answer) == ["a", "INVALID_ARGUMENT", "NODE_EXISTS", "made-1"]
    assert store.notes["u", "b"].title == "there"


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_a_size(batches: BatchWriting, count: int) -> None:
    with pytest.raises(InvalidArgument):
        await batches.create_nodes("u", [Draft(title="T")] * count, None, told)


async def test_an_id_comes_once(batches: BatchWriting, store: FakeStore) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await batches.create_nodes("u", [Draft(node_id="a", title="1"), Draft(node_id="a", title="2")], None, told)
    assert [violation.field for violation in caught.value.violations] == ["nodes[1].node_id"]
    assert store.commits == 0


async def test_a_repeat_hears_the_same(batches: BatchWriting, store: FakeStore) -> None:
    drafts = [Draft(title="A"), Draft()]
    first = await batches.create_nodes("u", drafts, REQUEST, told)
    assert await batches.create_nodes("u", drafts, REQUEST, told) == first
    assert len(store.notes) == 1


async def test_after_a_crash_in_the_middle_a_repeat_finds_what_was_stored(
    batches: BatchWriting, store: FakeStore, kept: FakeBatches
) -> None:
    drafts = [Draft(title="A"), Draft(title="B")]
    first = await batches.create_nodes("u", drafts, REQUEST, told)
    kept.kept.clear()  # as if the process had died before it could keep the answer
    del store.notes["u", "made-2"], store.answers["u", "req-1#1"]  # ... and before the second note
    second = await batches.create_nodes("u", drafts, REQUEST, told)
    assert json.loads(first)[0] == json.loads(second)[0] == "made-1"
    assert len(store.notes) == 2


async def test_what_may_work_later_is_not_kept(batches: BatchWriting, store: FakeStore, kept: FakeBatches) -> None:
    drafts = [Draft(node_id="a", title="A"), Draft(node_id="b", title="B")]
    store.failing = {"b": Unavailable("away")}
    assert json.loads(await batches.create_nodes("u", drafts, REQUEST, told)) == ["a", "UNAVAILABLE"]
    assert not kept.begun
    store.failing = {}
    assert json.loads(await batches.create_nodes("u", drafts, REQUEST, told)) == ["a", "b"]
    assert store.notes["u", "a"].version == 1


async def test_receipts_hold_no_contents(batches: BatchWriting, store: FakeStore) -> None:
    await batches.create_nodes("u", [Draft(content="C" * 300)], REQUEST, told)
    [(_, answer)] = store.answers.values()
    assert not hasattr(answer, "content")
    assert answer.content_bytes == 300
