"""Idempotency on a real table: one request, one effect, one answer, whoever sends it again and when."""

import asyncio
import random
import zlib

import pytest

from shared.dynamo import ABSENT, Put, Table, TransactionCancelled, Update
from shared.dynamo.size import item_bytes, write_units
from shared.errors import Aborted, AlreadyExists, InvalidArgument, Unavailable
from shared.idempotency import MAX_PLAIN_BYTES, Idempotency, IdempotentRequest
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def idempotency(table: Table, service: str, clock: ManualClock) -> Idempotency:
    return Idempotency(table, service, clock, ttl_seconds=100)


def request(user: str, request_id: str, fingerprint: str) -> IdempotentRequest:
    """An arrival of the request: each has an owner of its own."""
    return IdempotentRequest(user, request_id, fingerprint)


async def test_the_answer_is_kept_with_the_write_and_found_again(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    assert await idempotency.find(request(user, "r1", "f")) is None
    await table.transact(
        [Put({"PK": user, "SK": "note"}, ABSENT), idempotency.record(request(user, "r1", "f"), b"\x00answer")]
    )
    assert await idempotency.find(request(user, "r1", "f")) == b"\x00answer"
    assert await idempotency.find(request(user, "r2", "f")) is None
    assert await idempotency.find(request(f"{user}-other", "r1", "f")) is None


async def test_an_empty_answer_is_an_answer(table: Table, idempotency: Idempotency, user: str) -> None:
    await table.transact([idempotency.record(request(user, "r", "f"), b"")])
    assert await idempotency.find(request(user, "r", "f")) == b""


async def test_an_id_that_was_used_for_another_request_is_refused(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    await table.transact([idempotency.record(request(user, "r", "one"), b"answer")])
    for ask in (idempotency.find, idempotency.begin):
        with pytest.raises(InvalidArgument) as error:
            await ask(request(user, "r", "two"))
        assert error.value.reason == "REQUEST_ID_REUSED"


async def test_of_twins_at_once_one_writes_and_the_others_get_its_answer(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    async def write(number: int) -> bytes:
        count = Update((user, "count"), "ADD #n :one", {"#n": "n"}, {":one": 1})
        record = idempotency.record(request(user, "r", "f"), f"answer {number}".encode())
        try:
            await table.transact([count, record])
        except TransactionCancelled:
            answer = await idempotency.find(request(user, "r", "f"))
            assert answer is not None
            return answer
        return f"answer {number}".encode()

    answers = await asyncio.gather(*map(write, range(20)))
    assert len(set(answers)) == 1
    assert (await table.get((user, "count"), consistent=True)) == {"PK": user, "SK": "count", "n": 1}


async def test_a_write_that_failed_leaves_no_record(table: Table, idempotency: Idempotency, user: str) -> None:
    await table.put({"PK": user, "SK": "note"})
    with pytest.raises(TransactionCancelled):
        await table.transact(
            [Put({"PK": user, "SK": "note"}, ABSENT), idempotency.record(request(user, "r", "f"), b"a")]
        )
    assert await idempotency.find(request(user, "r", "f")) is None


async def test_an_expired_record_counts_as_absent_though_it_is_still_there(
    table: Table, idempotency: Idempotency, clock: ManualClock, user: str
) -> None:
    await table.transact([idempotency.record(request(user, "r", "f"), b"old")])
    await clock.advance(99)
    assert await idempotency.find(request(user, "r", "f")) == b"old"
    await clock.advance(1)
    assert await idempotency.find(request(user, "r", "other")) is None
    await table.transact([idempotency.record(request(user, "r", "other"), b"new")])
    assert await idempotency.find(request(user, "r", "other")) == b"new"


@pytest.mark.parametrize("size", [0, 500, 1500, 40_000, MAX_PLAIN_BYTES, MAX_PLAIN_BYTES + 1, 3 * MAX_PLAIN_BYTES])
async def test_a_large_answer_is_stored_compressed(
    table: Table, idempotency: Idempotency, user: str, size: int
) -> None:
    async def work() -> bytes:
        return b"x" * size

    await table.transact([idempotency.record(request(user, "r", "f"), b"x" * size)])
    assert await idempotency.run(request(user, "r2", "f"), work) == b"x" * size
    for request_id in ("r", "r2"):
        asked = request(user, request_id, "f")
        assert await idempotency.find(asked) == b"x" * size
        item = await table.get(idempotency.key(asked), consistent=True)
        assert item is not None
        assert write_units(item_bytes(item)) <= (1 if size <= 40_000 else 4)


@pytest.mark.parametrize("size", [100, 5_000, MAX_PLAIN_BYTES - 1, 2 * MAX_PLAIN_BYTES])
async def test_a_large_answer_is_kept_beside_the_transaction_of_its_write(
    table: Table, idempotency: Idempotency, user: str, size: int
) -> None:
    asked, answer = request(user, "r", "f"), random.Random(size).randbytes(size)
    record = await idempotency.record_of_any_size(asked, answer)
    assert write_units(item_bytes(record.item)) == 1
    assert await idempotency.find(asked) is None, "the write is not done yet"
    await table.transact([record])
    assert await idempotency.find(asked) == answer
    with pytest.raises(TransactionCancelled):
        await table.transact([await idempotency.record_of_any_size(request(user, "r", "f"), b"another")])
    with pytest.raises(TransactionCancelled):
        await table.transact([await idempotency.record_of_any_size(request(user, "r", "f"), answer[::-1] * 2)])
    assert await idempotency.find(asked) == answer


async def test_an_answer_that_compression_does_not_make_smaller_is_stored_as_it_is(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    answer = random.Random(1).randbytes(2_000)
    await table.transact([idempotency.record(request(user, "r", "f"), answer)])
    item = await table.get(idempotency.key(request(user, "r", "f")), consistent=True)
    assert item is not None
    assert item["response"] == answer


async def test_a_record_in_a_transaction_holds_no_answer_that_is_too_large_when_compressed(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    answer = random.Random(1).randbytes(MAX_PLAIN_BYTES + 1)
    await table.transact([idempotency.record(request(user, "r", "f"), answer)])
    with pytest.raises(AlreadyExists) as error:
        await idempotency.find(request(user, "r", "f"))
    assert error.value.reason == "RESPONSE_NOT_KEPT"


@pytest.mark.parametrize("size", [MAX_PLAIN_BYTES + 1, 4 * 1024 * 1024])
async def test_work_of_several_steps_is_answered_again_however_large_the_answer(
    table: Table, idempotency: Idempotency, clock: ManualClock, user: str, size: int
) -> None:
    answer = random.Random(size).randbytes(size)
    calls = 0

    async def work() -> bytes:
        nonlocal calls
        calls += 1
        return answer

    for _ in range(2):
        assert await idempotency.run(request(user, "r", "f"), work) == answer
    assert calls == 1
    items = [item async for item in table.query_all(idempotency.key(request(user, "r", "f"))[0], consistent=True)]
    assert len(items) == 1 + -(-len(zlib.compress(answer, 1)) // MAX_PLAIN_BYTES)
    assert {item["expires_at"] for item in items} == {clock.now_ms() // 1000 + 100}


async def test_the_pieces_of_an_answer_are_there_before_the_record_that_refers_to_them(
    table: Table, idempotency: Idempotency, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = request(user, "r", "f")
    await idempotency.begin(mine, lease_seconds=30)

    async def fail(*args: object, **options: object) -> None:
        raise Unavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(table, "batch_write", fail)
        with pytest.raises(Unavailable):
            await idempotency.complete(mine, random.Random(1).randbytes(2 * MAX_PLAIN_BYTES))
    # The lease is still held: nobody is given an answer whose pieces are missing.
    with pytest.raises(Aborted, match="being carried out"):
        await idempotency.find(mine)


async def test_pieces_that_are_gone_are_reported_and_not_answered_in_part(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    mine = request(user, "r", "f")
    await idempotency.begin(mine)
    await idempotency.complete(mine, random.Random(1).randbytes(2 * MAX_PLAIN_BYTES))
    pk, sk = idempotency.key(mine)
    await table.delete((pk, f"{sk}#piece#{mine.owner}#0001"))
    with pytest.raises(AlreadyExists):
        await idempotency.find(mine)


async def test_records_of_the_previous_version_are_read(
    table: Table, idempotency: Idempotency, clock: ManualClock, service: str, user: str
) -> None:
    """As the previous version wrote them: the answer only as `response`, fingerprints of 32 or of 64 digits."""
    old = {"PK": f"IDEMP#{service}#{user}", "expires_at": clock.now_ms() // 1000 + 100}
    done = old | {"state": "done"}
    await table.put(done | {"SK": "short", "fingerprint": "a" * 32, "response": b"answer"})
    await table.put(done | {"SK": "long", "fingerprint": "a" * 64, "response": b"answer"})
    await table.put(done | {"SK": "large", "fingerprint": "a" * 32})
    running = {"state": "running", "owner": "x", "lease_until_ms": clock.now_ms() + 5000, "fingerprint": "a" * 64}
    await table.put(old | running | {"SK": "running"})
    assert await idempotency.find(request(user, "short", "a" * 32)) == b"answer"
    assert await idempotency.begin(request(user, "long", "a" * 32)) == b"answer"
    with pytest.raises(AlreadyExists):
        await idempotency.find(request(user, "large", "a" * 32))
    with pytest.raises(Aborted):
        await idempotency.begin(request(user, "running", "a" * 32))
    await clock.advance(5)
    assert await idempotency.begin(request(user, "running", "a" * 32)) is None


async def test_the_previous_version_reads_a_record_with_a_small_answer(
    table: Table, idempotency: Idempotency, user: str
) -> None:
    mine = request(user, "r", "f")
    await table.transact([idempotency.record(mine, b"answer")])
    item = await table.get(idempotency.key(mine), consistent=True)
    assert item is not None
    assert (item["state"], item["fingerprint"], item["response"]) == ("done", "f", b"answer")


async def test_a_failure_is_not_stored(idempotency: Idempotency, user: str) -> None:
    outcomes: list[Exception | bytes] = [Unavailable("down"), b"answer"]

    async def work() -> bytes:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(Unavailable):
        await idempotency.run(request(user, "r", "f"), work)
    assert await idempotency.run(request(user, "r", "f"), work) == b"answer"


async def test_without_a_request_id_work_is_done_each_time(idempotency: Idempotency) -> None:
    answers = [b"one", b"two"]

    async def work() -> bytes:
        return answers.pop(0)

    assert [await idempotency.run(None, work), await idempotency.run(None, work)] == [b"one", b"two"]


async def test_the_record_expires_by_the_tables_time_to_live(
    table: Table, idempotency: Idempotency, clock: ManualClock, user: str
) -> None:
    await table.transact([idempotency.record(request(user, "r", "f"), b"a")])
    item = await table.get(idempotency.key(request(user, "r", "f")), consistent=True)
    assert item is not None
    assert item["expires_at"] == clock.now_ms() // 1000 + 100


async def test_a_lease_keeps_twins_away_until_it_is_completed(idempotency: Idempotency, user: str) -> None:
    twins = [request(user, "r", "f") for _ in range(10)]
    results = await asyncio.gather(*map(idempotency.begin, twins), return_exceptions=True)
    [holder] = [twin for twin, result in zip(twins, results, strict=True) if result is None]
    assert {getattr(result, "reason", None) for result in results} == {None, "REQUEST_IN_PROGRESS"}
    with pytest.raises(Aborted) as error:
        await idempotency.find(request(user, "r", "f"))
    assert error.value.retry_after
    await idempotency.complete(holder, b"answer")
    assert await idempotency.begin(request(user, "r", "f")) == b"answer"
    assert await idempotency.find(request(user, "r", "f")) == b"answer"


async def test_a_lease_that_ran_out_is_taken_over_and_its_old_holder_finds_out(
    idempotency: Idempotency, clock: ManualClock, user: str
) -> None:
    # Both arrive at the same process: a lease belongs to an arrival and not to a process.
    first, second = request(user, "r", "f"), request(user, "r", "f")
    assert await idempotency.begin(first, lease_seconds=5) is None
    await clock.advance(5)
    assert await idempotency.find(second) is None
    assert await idempotency.begin(second) is None
    with pytest.raises(Aborted) as error:
        await idempotency.complete(first, b"late")
    assert error.value.reason == "REQUEST_LEASE_LOST"
    # Neither may the old holder end the lease of the new one.
    await idempotency.abandon(first)
    with pytest.raises(Aborted):
        await idempotency.find(first)
    await idempotency.complete(second, b"answer")
    assert await idempotency.find(first) == b"answer"


async def test_a_lease_that_ran_out_is_not_taken_over_by_another_request(
    idempotency: Idempotency, clock: ManualClock, user: str
) -> None:
    await idempotency.begin(request(user, "r", "f"), lease_seconds=5)
    await clock.advance(6)
    with pytest.raises(InvalidArgument):
        await idempotency.begin(request(user, "r", "other"))


async def test_work_that_failed_may_be_begun_anew_at_once(idempotency: Idempotency, user: str) -> None:
    first = request(user, "r", "f")
    assert await idempotency.begin(first) is None
    await idempotency.abandon(first)
    assert await idempotency.begin(request(user, "r", "f")) is None


@pytest.mark.parametrize("size", [6, MAX_PLAIN_BYTES + 6])
async def test_completing_twice_is_completing_once(idempotency: Idempotency, user: str, size: int) -> None:
    mine = request(user, "r", "f")
    await idempotency.begin(mine)
    await idempotency.complete(mine, b"a" * size)
    await idempotency.complete(mine, b"a" * size)
    with pytest.raises(Aborted):
        await idempotency.complete(mine, b"b" * size)
