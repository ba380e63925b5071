"""What a SagaStore promises, on the fake of the unit tests and on DynamoDB: the unit tests rely on the fake."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from protos import table
from services.cleanup_service.adapters.sagas import DynamoSagas
from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Cascade, Deletion, Saga, State
from services.cleanup_service.ports import SagaStore, TimeRange, WriteConflict
from shared.dynamo import Put
from shared.events.envelope import Event, new_event
from shared.ids import SystemClock, UlidFactory
from tests.support.cleanup_service import table_of
from tests.support.cleanup_world import FakeSagas, World
from tests.support.stores import Stores


class Published:
    """Stands where the outbox stands; its items go into the table as the real ones do."""

    def __init__(self) -> None:
        self.announced: list[Event] = []

    def put(self, event: Event) -> Any:
        return Put(
            {"PK": table.outbox_partition("cleanup", 0), "SK": event.id, "event": event.to_json(), "at": event.time_ms}
        )

    def announce(self, *events: Event) -> None:
        self.announced += events


@pytest.fixture(params=["fake", "dynamodb"])
async def store(request: pytest.FixtureRequest, stores: Stores) -> AsyncIterator[SagaStore]:
    if request.param == "fake":
        yield FakeSagas(World())
        return
    ids = UlidFactory(SystemClock())

    def completed(saga: Saga) -> Event:
        return new_event(
            ids,
            SystemClock(),
            source="brain2.cleanup",
            type="cleanup.completed",
            user_id=saga.user_id,
            node_id=saga.node_id,
            version=saga.version,
            data={},
        )

    async with table_of(stores) as table:
        outbox: Any = Published()
        yield DynamoSagas(table, outbox, ids, completed)


def saga_of(user: str, node_id: str = "n", *, delete_ms: int = 1000, purge_ms: int = 5000) -> Saga:
    return sagas.begin(Deletion(user, node_id, 2, delete_ms, purge_ms, Cascade.ORPHANS, 77), delete_ms, "deleted")


async def test_what_is_saved_is_read_back_whole(store: SagaStore, user: str) -> None:
    saga = sagas.claimed(saga_of(user), "owner", 5000, 1000)
    saga = sagas.advanced(saga, 5001, "fenced: ünïcode ✓")
    saga = replace(saga, archive_uri="s3://b/k", edges=3, removed_edges=2, error="x" * 500)
    saved = await store.save(saga)
    assert saved.revision
    assert replace(saved, revision="") == saga
    assert await store.get(user, "n") == saved
    assert await store.get_many([(user, "n"), (user, "other")]) == {(user, "n"): saved}
    assert await store.get(user, "other") is None


async def test_a_write_on_an_old_read_is_refused(store: SagaStore, user: str) -> None:
    first = await store.save(saga_of(user))
    with pytest.raises(WriteConflict):
        await store.save(saga_of(user))
    second = await store.save(sagas.claimed(first, "a", 5000, 1000))
    for write in (store.save, store.finish):
        with pytest.raises(WriteConflict):
            await write(sagas.claimed(first, "b", 5000, 1000))
    assert await store.get(user, "n") == second


async def test_one_of_many_claims_wins(store: SagaStore, user: str) -> None:
    saga = await store.save(saga_of(user))
    claims = [store.save(sagas.claimed(saga, f"owner-{number}", 5000, 1000)) for number in range(20)]
    results = await asyncio.gather(*claims, return_exceptions=True)
    winners = [result for result in results if isinstance(result, Saga)]
    assert len(winners) == 1
    assert all(isinstance(result, (Saga, WriteConflict)) for result in results)
    assert await store.get(user, "n") == winners[0]


async def test_queues_are_ordered_bounded_and_paged(store: SagaStore, user: str) -> None:
    expected = []
    for number in range(30):
        saga = await store.save(saga_of(user, f"n{number:02d}", purge_ms=9_000_000_000_000 - number))
        expected.append((saga.due_ms, saga.node_id))
    expected.sort()

    async def queue(until_ms: int | None, limit: int) -> list[str]:
        found = []
        for shard in range(store.shards):
            position = ""
            while page := await store.list_by_state(State.PENDING, shard, until_ms, position, limit):
                assert len(page) <= limit
                found += [(due.position, due.node_id) for due in page if due.user_id == user]
                position = page[-1].position
        return [node_id for _, node_id in sorted(found)]

    assert await queue(None, 3) == [node_id for _, node_id in expected]
    assert await queue(9_000_000_000_000 - 20, 50) == [node_id for due_ms, node_id in expected[:10]]
    assert await queue(9_000_000_000_000 - 30, 50) == []


async def test_a_saga_moves_between_the_queues(store: SagaStore, user: str) -> None:
    saga = await store.save(saga_of(user))
    shard = await shard_in(store, State.PENDING, user)
    saga = await store.save(sagas.failed(sagas.claimed(saga, "a", 5000, 10), 6000, "no"))
    assert [due for due in await store.list_by_state(State.PENDING, shard, None, "", 1000) if due.user_id == user] == []
    assert await shard_in(store, State.FAILED, user) == shard


async def shard_in(store: SagaStore, state: State, user: str) -> int:
    for shard in range(store.shards):
        position = ""
        while page := await store.list_by_state(state, shard, None, position, 100):
            if any(due.user_id == user for due in page):
                return shard
            position = page[-1].position
    raise AssertionError(f"nowhere in {state}")


async def test_a_user_s_sagas_come_in_the_order_of_the_deletes(store: SagaStore, user: str) -> None:
    for number, node_id in enumerate(["c", "a.b-c_d", "b"]):
        await store.save(saga_of(user, node_id, delete_ms=1000 + number))
    first = await store.list_by_user(user, "", 2)
    assert [due.node_id for due in first] == ["c", "a.b-c_d"]
    rest = await store.list_by_user(user, first[-1].position, 2)
    assert [due.node_id for due in rest] == ["b"]

    async def within(start_ms: int, end_ms: int, after: str = "") -> list[str]:
        found = await store.list_by_user(user, after, 9, TimeRange(start_ms, end_ms))
        return [due.node_id for due in found]

    assert await within(1001, 1003) == ["a.b-c_d", "b"]
    assert await within(1000, 1002) == ["c", "a.b-c_d"]
    assert await within(1000, 1003, first[0].position) == ["a.b-c_d", "b"]
    assert await within(1002, 1003, first[0].position) == ["b"]
    assert await within(1003, 9_999_999_999_999) == []


def test_shards_are_used_evenly() -> None:
    counts = [0] * table.DELETION_SHARDS
    for number in range(16_000):
        counts[table.deletion_shard("one-user", f"n{number}")] += 1
    assert min(counts) > 800
