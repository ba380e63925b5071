"""The embedded stores behave as the adapters need: they answer, keep apart what tests write, and count as real ones."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from deploy.local import stores as launched
from deploy.local.console import LaunchError
from tests.support.stores import Stores


async def test_a_table_of_its_own_is_empty_and_has_the_templates_indexes(stores: Stores) -> None:
    async with stores.fresh_table() as name, stores.client("dynamodb") as dynamodb:
        found = (await dynamodb.describe_table(TableName=name))["Table"]
        indexes = {index["IndexName"]: index["Projection"] for index in found["GlobalSecondaryIndexes"]}
        assert indexes.keys() == {"KeywordIndex", "DeletionQueue", "UserTimeIndex"}
        assert indexes["DeletionQueue"]["ProjectionType"] == "KEYS_ONLY"
        assert "title" in indexes["UserTimeIndex"]["NonKeyAttributes"]


async def test_an_index_is_sparse(stores: Stores, user: str) -> None:
    """A live note has no GSI2 keys, so it is not in the deletion queue."""
    async with stores.client("dynamodb") as dynamodb:
        shard = {"S": f"DELETED#{user}"}
        live: dict[str, Any] = {"PK": {"S": f"USER#{user}"}, "SK": {"S": "NODE#live"}}
        gone = {**live, "SK": {"S": "NODE#gone"}, "GSI2PK": shard, "GSI2SK": {"S": "TIMESTAMP#1"}}
        for item in (live, gone):
            await dynamodb.put_item(TableName=stores.resources.table, Item=item)
        found = await dynamodb.query(
            TableName=stores.resources.table,
            IndexName="DeletionQueue",
            KeyConditionExpression="GSI2PK = :shard",
            ExpressionAttributeValues={":shard": shard},
        )
        assert [item["SK"]["S"] for item in found["Items"]] == ["NODE#gone"]


async def test_redis_answers_and_expires(stores: Stores, user: str) -> None:
    client = redis.asyncio.from_url(stores.redis_url)
    try:
        assert await client.set(user, json.dumps({"a": 1}), ex=60)
        assert 0 < await client.ttl(user) <= 60
    finally:
        await client.aclose()


async def test_the_stores_of_writes_stand_back_on_busy_cores(tmp_path: Path) -> None:
    started = await launched.start(tmp_path, on_line=lambda *_: None, env={}, save_seconds=0, niceness=10)
    try:
        niceness = {child.name: os.getpriority(os.PRIO_PROCESS, child.pid) for child in started.children}
    finally:
        await started.stop()
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness.pop("valkey") == ours, "lookups wait for it"
    assert niceness
    assert set(niceness.values()) == {min(19, ours + 10)}


async def test_the_cache_of_one_table_is_not_used_for_another(tmp_path: Path) -> None:
    own = {"DYNAMODB_ENDPOINT": "http://127.0.0.1:9"}
    for env, expected in (({}, 0), ({}, 1), (own, 0), (own, 1), ({}, 0)):
        started = await launched.start(tmp_path, on_line=lambda *_: None, env=env)
        client = redis.asyncio.from_url(started.endpoints.redis)
        try:
            assert await client.dbsize() == expected
            await client.set("a note", "of this table")
        finally:
            await client.aclose()
            await started.stop()


async def test_a_store_that_never_answers_is_named_with_the_last_thing_that_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launched, "_READY_SECONDS", 0.5)
    hanging = tmp_path / "dynoxide"
    hanging.write_text("#!/bin/sh\necho the file is locked\nexec sleep 600\n")
    hanging.chmod(0o755)
    with pytest.raises(LaunchError, match=r"dynoxide did not answer on port \d+ within 0 s: the file is locked$"):
        await launched.start(tmp_path / "data", on_line=lambda *_: None, env={}, dynoxide=hanging)


async def test_it_is_told_where_the_table_is(tmp_path: Path) -> None:
    """A server of the caller's that has both the table and the queues is no reason to say that dynoxide is missing."""
    own = dict.fromkeys(
        ("DYNAMODB_ENDPOINT", "EVENTBRIDGE_ENDPOINT", "SQS_ENDPOINT", "S3_ENDPOINT"), "http://127.0.0.1:9"
    )
    for env, expected in ((own, False), ({}, True)):
        started = await launched.start(tmp_path, on_line=lambda *_: None, env=env, dynoxide=None)
        await started.stop()
        assert started.in_ministack is expected
        assert started.dynoxide is None


@pytest.mark.parametrize(
    ("own", "lost"),
    [
        (("DYNAMODB_ENDPOINT",), True),
        # ministack has nothing then, and what an earlier start left there says nothing.
        (("DYNAMODB_ENDPOINT", "EVENTBRIDGE_ENDPOINT", "SQS_ENDPOINT", "S3_ENDPOINT"), False),
        # Where ministack has the table, it is of the same moment as the queues.
        ((), launched.DYNOXIDE.exists()),
    ],
)
async def test_events_are_lost_when_ministack_was_not_stopped_cleanly_and_another_store_has_the_table(
    tmp_path: Path, own: tuple[str, ...], lost: bool
) -> None:
    (tmp_path / "ministack").mkdir()
    (tmp_path / launched.UNCLEAN).touch()
    env = dict.fromkeys(own, "http://127.0.0.1:9")
    started = await launched.start(tmp_path, on_line=lambda *_: None, env=env)
    await started.stop()
    assert started.events_lost is lost
