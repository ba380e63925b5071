"""Idempotency on a real table: one request, one effect, one answer, whoever sends it again and when."""

import asyncio

import pytest

from shared.dynamo import ABSENT, Put, Table, TransactionCancelled, Update
from shared.errors import Aborted, AlreadyExists, InvalidArgument
from shared.idempotency import MAX_RESPONSE_BYTES, Idempotency
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def idempotency(table: Table, service: str, clock: ManualClock) -> Idempotency:
    return Idempotency(table, service, clock, ttl_seconds=100)


async def test_the_answer_is_kept_with_the_write_and_found_again(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    fingerprint = idempotency.fingerprint(b"request")
    assert await idempotency.find(user, "r1", fingerprint) is None
    await table.transact(
        [Put({"PK": user, "SK": "note"}, ABSENT), idempotency.record(user, "r1", fingerprint, b"\x00answer")]
    )
    assert await idempotency.find(user, "r1", fingerprint) == b"\x00answer"
    assert await idempotency.find(user, "r2", fingerprint) is None
    assert await idempotency.find(f"{user}-other", "r1", fingerprint) is None


async def test_an_empty_answer_is_an_answer(table: Table, idempotency: Idempotency, user: str) -> None:
    await table.transact([idempotency.record(user, "r", "f", b"")])
    assert await idempotency.find(user, "r", "f") == b""


async def test_an_id_that_was_used_for_another_request_is_refused(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    await table.transact([idempotency.record(user, "r", idempotency.fingerprint(b"one"), b"answer")])
    other = idempotency.fingerprint(b"two")
    for ask in (idempotency.find, idempotency.begin):
        with pytest.raises(InvalidArgument) as error:
            await ask(user, "r", other)
        assert error.value.reason == "REQUEST_ID_REUSED"


async def test_of_twins_at_once_one_writes_and_the_others_get_its_answer(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    async def write(number: int) -> bytes:
        count = Update((user, "count"), "ADD #n :one", {"#n": "n"}, {":one": 1})
        record = idempotency.record(user, "r", "f", f"answer {number}".encode())
        try:
            await table.transact([count, record])
        except TransactionCancelled as cancelled:
            answer = idempotency.replayed(cancelled, 1, "f")
            assert answer is not None
            return answer
        return f"answer {number}".encode()

    answers = await asyncio.gather(*map(write, range(20)))
    assert len(set(answers)) == 1
    assert (await table.get((user, "count"), consistent=True)) == {"PK": user, "SK": "count", "n": 1}


async def test_another_operation_that_failed_is_not_taken_for_a_replay(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    await table.put({"PK": user, "SK": "note"})
    with pytest.raises(TransactionCancelled) as cancelled:
        await table.transact([Put({"PK": user, "SK": "note"}, ABSENT), idempotency.record(user, "r", "f", b"a")])
    assert idempotency.replayed(cancelled.value, 1, "f") is None
    assert await idempotency.find(user, "r", "f") is None


async def test_an_expired_record_counts_as_absent_though_it_is_still_there(
    table: Table, idempotency: Idempotency, clock: ManualClock, user: str
) -> None:
    await table.transact([idempotency.record(user, "r", "f", b"old")])
    await clock.advance(99)
    assert await idempotency.find(user, "r", "f") == b"old"
    await clock.advance(1)
    assert await idempotency.find(user, "r", "other") is None
    await table.transact([idempotency.record(user, "r", "other", b"new")])
    assert await idempotency.find(user, "r", "other") == b"new"


async def test_an_answer_too_large_to_keep_is_told_as_done(table: Table, idempotency: Idempotency, user: str) -> None:
    await table.transact([idempotency.record(user, "fits", "f", b"x" * MAX_RESPONSE_BYTES)])
    assert await idempotency.find(user, "fits", "f") == b"x" * MAX_RESPONSE_BYTES
    await table.transact([idempotency.record(user, "big", "f", b"x" * (MAX_RESPONSE_BYTES + 1))])
    with pytest.raises(AlreadyExists) as error:
        await idempotency.find(user, "big", "f")
    assert error.value.reason == "RESPONSE_NOT_KEPT"


async def test_the_record_expires_by_the_tables_time_to_live(
    table: Table, idempotency: Idempotency, clock: ManualClock, user: str
) -> None:
    await table.transact([idempotency.record(user, "r", "f", b"a")])
    item = await table.get(idempotency.key(user, "r"), consistent=True)
    assert item is not None
    assert item["expires_at"] == clock.now_ms() // 1000 + 100


async def test_a_lease_keeps_twins_away_until_it_is_completed(idempotency: Idempotency, user: str) -> None:
    results = await asyncio.gather(*(idempotency.begin(user, "r", "f") for _ in range(10)), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert {getattr(result, "reason", None) for result in results} == {None, "REQUEST_IN_PROGRESS"}
    with pytest.raises(Aborted) as error:
        await idempotency.find(user, "r", "f")
    assert error.value.retry_after
    await idempotency.complete(user, "r", "f", b"answer")
    assert await idempotency.begin(user, "r", "f") == b"answer"
    assert await idempotency.find(user, "r", "f") == b"answer"


async def test_a_lease_that_ran_out_is_taken_over_and_its_old_holder_finds_out(
    table: Table, idempotency: Idempotency, service: str, clock: ManualClock, user: str
) -> None:
    other = Idempotency(table, service, clock, ttl_seconds=100)
    assert await idempotency.begin(user, "r", "f", lease_seconds=5) is None
    await clock.advance(5)
    assert await idempotency.find(user, "r", "f") is None
    assert await other.begin(user, "r", "f") is None
    with pytest.raises(Aborted) as error:
        await idempotency.complete(user, "r", "f", b"late")
    assert error.value.reason == "REQUEST_LEASE_LOST"
    # Neither may the old holder end the lease of the new one.
    await idempotency.forget(user, "r", "f")
    with pytest.raises(Aborted):
        await idempotency.find(user, "r", "f")
    await other.complete(user, "r", "f", b"answer")
    assert await idempotency.find(user, "r", "f") == b"answer"


async def test_a_lease_that_ran_out_is_not_taken_over_by_another_request(
    idempotency: Idempotency, clock: ManualClock, user: str
) -> None:
    await idempotency.begin(user, "r", "f", lease_seconds=5)
    await clock.advance(6)
    with pytest.raises(InvalidArgument):
        await idempotency.begin(user, "r", "other")


async def test_work_that_failed_may_be_begun_anew_at_once(idempotency: Idempotency, user: str) -> None:
    assert await idempotency.begin(user, "r", "f") is None
    await idempotency.forget(user, "r", "f")
    assert await idempotency.begin(user, "r", "f") is None


async def test_completing_in_the_last_transaction_is_fenced_too(
    table: Table, idempotency: Idempotency, service: str, clock: ManualClock, user: str
) -> None:
    await idempotency.begin(user, "r", "f", lease_seconds=5)
    await clock.advance(5)
    other = Idempotency(table, service, clock, ttl_seconds=100)
    await other.begin(user, "r", "f")
    with pytest.raises(TransactionCancelled):
        await table.transact([Put({"PK": user, "SK": "n"}), idempotency.completion(user, "r", "f", b"late")])
    await table.transact([Put({"PK": user, "SK": "n"}), other.completion(user, "r", "f", b"answer")])
    assert await idempotency.find(user, "r", "f") == b"answer"


async def test_completing_twice_is_completing_once(idempotency: Idempotency, user: str) -> None:
    await idempotency.begin(user, "r", "f")
    await idempotency.complete(user, "r", "f", b"answer")
    await idempotency.complete(user, "r", "f", b"answer")
    with pytest.raises(Aborted):
        await idempotency.complete(user, "r", "f", b"another")
