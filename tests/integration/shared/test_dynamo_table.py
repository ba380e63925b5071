"""The table on a real server: what Table promises of keys, ranges, conditions, transactions and batches."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.aws import Aws
from shared.dynamo import (
    ABSENT,
    PRESENT,
    Check,
    Condition,
    ConditionFailed,
    Delete,
    Item,
    Op,
    Put,
    Table,
    TransactionCancelled,
    Update,
    operations,
)
from shared.errors import InvalidArgument


async def test_what_was_put_is_got_with_every_type(table: Table, user: str) -> None:
    item = {
        "PK": user,
        "SK": "all",
        "text": "naïve 😀",
        "empty": "",
        "int": 12345678901234567890123456789012345678,
        "negative": -7,
        "float": 0.1 + 0.2,
        "tiny": 1.5e-9,
        "bytes": bytes(range(256)),
        "yes": True,
        "none": None,
        "list": [1, "a", [None, {"x": b"\x00"}]],
        "map": {"k": {"deep": [False]}, "1": 1},
        "set": {"a", "b"},
    }
    await table.put(item)
    assert await table.get((user, "all"), consistent=True) == item
    assert await table.get((user, "all"), attributes=["int", "text"]) == {"int": item["int"], "text": item["text"]}
    assert await table.get((user, "nothing")) is None


async def test_a_whole_float_comes_back_as_an_int(table: Table, user: str) -> None:
    await table.put({"PK": user, "SK": "w", "weight": 1.0})
    item = await table.get((user, "w"), consistent=True)
    assert item is not None
    assert item["weight"] == 1


async def test_put_update_and_delete_answer_what_was_there(table: Table, user: str) -> None:
    key = (user, "x")
    assert await table.put({"PK": user, "SK": "x", "n": 1}, return_old=True) is None
    assert await table.put({"PK": user, "SK": "x", "n": 2}, return_old=True) == {"PK": user, "SK": "x", "n": 1}
    add = Update(key, "ADD #n :d", {"#n": "n"}, {":d": 5}, PRESENT)
    assert await table.update(add, returns="ALL_NEW") == {"PK": user, "SK": "x", "n": 7}
    assert await table.update(add, returns="ALL_OLD") == {"PK": user, "SK": "x", "n": 7}
    assert await table.update(add) is None
    assert await table.delete(key, return_old=True) == {"PK": user, "SK": "x", "n": 17}
    assert await table.delete(key, return_old=True) is None


async def test_a_failed_condition_shows_what_is_stored(table: Table, user: str) -> None:
    item = {"PK": user, "SK": "x", "version": 3}
    await table.put(item, condition=ABSENT)
    stale = Condition("#v = :v", {"#v": "version"}, {":v": 2})
    for write in (
        table.put(item, condition=ABSENT),
        table.delete((user, "x"), condition=stale),
        table.update(Update((user, "x"), "SET a = :a", {}, {":a": 1}, stale)),
    ):
        with pytest.raises(ConditionFailed) as error:
            await write
        assert error.value.item == item
    with pytest.raises(ConditionFailed) as nothing:
        await table.delete((user, "y"), condition=PRESENT)
    assert nothing.value.item is None


async def test_one_of_many_concurrent_creators_wins(table: Table, user: str) -> None:
    async def create(number: int) -> bool:
        try:
            await table.put({"PK": user, "SK": "x", "by": number}, condition=ABSENT)
        except ConditionFailed:
            return False
        return True

    assert sum(await asyncio.gather(*map(create, range(50)))) == 1


async def test_queries_find_exactly_the_keys_of_the_range_in_order(table: Table, user: str) -> None:
    stored = sorted({f"{p}#{n:02d}" for p in ("A", "B", "BB", "C") for n in range(6)} | {"B", "B#", "b", "é", "😀"})
    await table.batch_write([{"PK": user, "SK": key} for key in stored])
    rng = random.Random(5)
    bounds = [*stored, "A#025", "B!", "C#", "Z", "0", "zz"]
    for _ in range(150):
        prefix = rng.choice([None, None, "B#", "B", "A", "Q"])
        between = rng.choice([None, None, tuple(sorted(rng.sample(bounds, 2)))])
        after, before = (rng.choice([None, rng.choice(bounds)]) for _ in range(2))
        descending, limit = rng.random() < 0.5, rng.choice([None, 1, 2, 3, 100])
        wanted = [
            key
            for key in stored
            if key.startswith(prefix or "")
            and (between is None or between[0] <= key <= between[1])
            and (after is None or key > after)
            and (before is None or key < before)
        ]
        if descending:
            wanted.reverse()
        said: dict[str, Any] = {
            "begins_with": prefix,
            "between": between,
            "after": after,
            "before": before,
            "descending": descending,
            "consistent": True,
        }
        found = [item["SK"] async for item in table.query_all(user, limit=limit, **said)]
        assert found == wanted[:limit], said
        paged, start = [], None
        while True:
            page = await table.query(user, limit=limit, start=start, **said)
            assert len(page.items) == page.count <= (limit or 1000)
            paged += [item["SK"] for item in page.items]
            if (start := page.next_start) is None:
                break
        assert paged == wanted, said


async def test_count_counts_without_the_items_and_pages_over_a_megabyte_say_where_they_go_on(
    table: Table, user: str
) -> None:
    await table.batch_write([{"PK": user, "SK": f"{n:02d}", "fill": "x" * 100_000} for n in range(15)])
    counted, pages, start = 0, 0, None
    while True:
        page = await table.query(user, start=start, count=True, consistent=True)
        assert list(page.items) == []
        counted, pages = counted + page.count, pages + 1
        if (start := page.next_start) is None:
            break
    assert counted == 15
    assert pages >= 2
    only_keys = [item async for item in table.query_all(user, attributes=["SK"])]
    assert only_keys == [{"SK": f"{n:02d}"} for n in range(15)]
    sizes = [len(items) async for items in table.query_pages(user, begins_with="0", limit=4)]
    assert sizes == [4, 4, 2]


async def test_an_index_is_queried_by_its_own_keys(table: Table, user: str) -> None:
    await table.batch_write(
        {"PK": user, "SK": f"KW#n{n}#cat", "GSI1PK": f"{user}#KW#cat", "GSI1SK": f"NODE#n{n}"} for n in range(5)
    )
    page = await table.query(f"{user}#KW#cat", index="KeywordIndex", after="NODE#n1", before="NODE#n4")
    assert [item["GSI1SK"] for item in page.items] == ["NODE#n2", "NODE#n3"]
    first = await table.query(f"{user}#KW#cat", index="KeywordIndex", limit=3, descending=True)
    rest = await table.query(f"{user}#KW#cat", index="KeywordIndex", start=first.next_start, descending=True)
    assert [item["GSI1SK"] for item in (*first.items, *rest.items)] == [f"NODE#n{n}" for n in (4, 3, 2, 1, 0)]


async def test_a_transaction_does_all_or_nothing_and_says_why(table: Table, user: str) -> None:
    await table.put({"PK": user, "SK": "old", "v": 1})
    fine: list[Op] = [
        Put({"PK": user, "SK": "new"}, ABSENT),
        Check((user, "old"), PRESENT),
        Update((user, "count"), "ADD #n :one", {"#n": "n"}, {":one": 1}),
        Delete((user, "nothing")),
    ]
    await table.transact(fine)
    with pytest.raises(TransactionCancelled) as error:
        await table.transact([*fine[2:], Put({"PK": user, "SK": "old", "v": 2}, ABSENT)])
    assert [reason.failed for reason in error.value.reasons] == [False, False, True]
    assert error.value.reasons[2].item == {"PK": user, "SK": "old", "v": 1}
    assert (await table.get((user, "count"), consistent=True)) == {"PK": user, "SK": "count", "n": 1}


async def test_a_transaction_with_one_token_happens_once(table: Table, user: str) -> None:
    ops = [Update((user, "count"), "ADD #n :one", {"#n": "n"}, {":one": 1})]
    for _ in range(3):
        await table.transact(ops, token=user)
    assert (await table.get((user, "count"), consistent=True)) == {"PK": user, "SK": "count", "n": 1}
    with pytest.raises(InvalidArgument) as error:
        await table.transact([Put({"PK": user, "SK": "other"})], token=user)
    assert error.value.reason == "TOKEN_REUSED"


async def test_counters_lose_nothing_when_transactions_meet(table: Table, user: str) -> None:
    add = Update((user, "count"), "ADD #n :one", {"#n": "n"}, {":one": 1})
    await asyncio.gather(*(table.transact([add, Put({"PK": user, "SK": f"w{n}"})]) for n in range(40)))
    item = await table.get((user, "count"), consistent=True)
    assert item is not None
    assert item["n"] == 40


async def test_batches_of_any_size(table: Table, user: str) -> None:
    keys = [(user, f"{n:04d}") for n in range(430)]
    await table.batch_write([{"PK": pk, "SK": sk, "n": int(sk)} for pk, sk in keys])
    asked = [*keys, *keys[:7], (user, "missing")]
    found = await table.batch_get(asked, consistent=True)
    assert {key: item["n"] for key, item in found.items()} == {key: int(key[1]) for key in keys}
    slim = await table.batch_get(keys[:3], attributes=["n"])
    assert slim[keys[2]] == {"PK": user, "SK": "0002", "n": 2}
    await table.batch_write(deletes=keys)
    assert await table.batch_get(keys, consistent=True) == {}


BIG_WRITES: dict[str, Callable[[Table, Item], Awaitable[object]]] = {
    "put": lambda table, item: table.put(item),
    "transact": lambda table, item: table.transact([Put(item)]),
    "batch": lambda table, item: table.batch_write([item]),
}


@pytest.mark.parametrize("write", BIG_WRITES.values(), ids=BIG_WRITES)
async def test_an_item_over_400_kb_is_the_callers_fault(
    table: Table, user: str, write: Callable[[Table, Item], Awaitable[object]]
) -> None:
    with pytest.raises(InvalidArgument) as error:
        await write(table, {"PK": user, "SK": "big", "fill": "x" * 410_000})
    assert error.value.reason == "ITEM_TOO_LARGE"


def test_a_scan_can_t_be_sent(aws: Aws) -> None:
    assert not hasattr(aws.dynamodb, "scan")
    assert operations["Scan"] == 0


async def test_a_client_that_was_not_asked_for_says_so(aws: Aws) -> None:
    with pytest.raises(RuntimeError, match="sqs"):
        _ = Aws(aws._config, use=("dynamodb",)).sqs
