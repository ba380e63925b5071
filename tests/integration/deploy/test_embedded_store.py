"""The embedded store keeps what it acknowledged: whole after a stop, up to the last save after kill -9."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from deploy.local import provision, stores
from deploy.local.console import Console
from tests.support.stores import Stores
from tests.support.waiting import until

# Nothing from the environment: this is about the store that we start.
NO_ENV: dict[str, str] = {}


class Machine:
    """Stores on one folder that can be stopped, killed and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._running: stores.Stores | None = None

    async def start(self) -> Stores:
        self._running = await stores.start(self.data, on_line=Console().log, env=NO_ENV, save_seconds=0.1)
        return Stores(self._running.endpoints, await provision.apply(self._running.endpoints))

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.stop()
            self._running = None

    async def kill(self) -> None:
        assert self._running is not None
        for child in self._running.children:
            os.kill(child.pid, signal.SIGKILL)
            await child.ended
        await self.stop()

    def snapshot(self) -> Path:
        return (self.data / "ministack" / "current").resolve()

    def saved(self, text: str) -> bool:
        try:
            return text in (self.snapshot() / "dynamodb.json").read_text()
        except FileNotFoundError:
            # A newer snapshot took its place in between.
            return False


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    found = Machine(tmp_path)
    yield found
    await found.stop()


def item(number: int) -> dict[str, Any]:
    return {"PK": {"S": "USER#a"}, "SK": {"S": f"NODE#{number:06}"}, "body": {"B": bytes([number % 256]) * 50}}


async def put(found: Stores, number: int) -> None:
    async with found.client("dynamodb") as dynamodb:
        await dynamodb.put_item(TableName=found.resources.table, Item=item(number))


async def numbers(found: Stores) -> list[int]:
    async with found.client("dynamodb") as dynamodb:
        answer = await dynamodb.query(
            TableName=found.resources.table,
            KeyConditionExpression="PK = :user",
            ExpressionAttributeValues={":user": {"S": "USER#a"}},
            ConsistentRead=True,
        )
        assert all(found_item == item(int(found_item["SK"]["S"][5:])) for found_item in answer["Items"])
        return [int(found_item["SK"]["S"][5:]) for found_item in answer["Items"]]


async def test_a_clean_stop_keeps_everything(machine: Machine) -> None:
    before = await machine.start()
    await put(before, 1)
    cache = redis.asyncio.from_url(before.redis_url)
    await cache.set("warm", "1")
    await cache.aclose()
    await machine.stop()
    after = await machine.start()
    assert (after.resources.table, after.resources.bucket) == (before.resources.table, before.resources.bucket)
    assert await numbers(after) == [1]
    cache = redis.asyncio.from_url(after.redis_url)
    assert await cache.get("warm") == b"1"
    await cache.aclose()


async def test_kill_9_keeps_what_was_saved_and_forgets_the_cache(machine: Machine) -> None:
    before = await machine.start()
    empty = machine.snapshot()
    await put(before, 1)
    await until(lambda: machine.snapshot() != empty and machine.saved("NODE#000001"), what="a save")
    cache = redis.asyncio.from_url(before.redis_url)
    await cache.set("of an item that may be gone", "1")
    await cache.aclose()
    await machine.kill()
    after = await machine.start()
    assert await numbers(after) == [1]
    cache = redis.asyncio.from_url(after.redis_url)
    assert await cache.dbsize() == 0
    await cache.aclose()


async def test_kill_9_in_the_middle_of_writes_and_saves_loses_only_the_newest(machine: Machine) -> None:
    before = await machine.start()
    first = machine.snapshot()
    written = 0
    saves = {first}
    # Until several snapshots were published under load; the kill then falls anywhere in the next one.
    async with before.client("dynamodb") as dynamodb, asyncio.timeout(60):
        while len(saves) < 4:
            await dynamodb.put_item(TableName=before.resources.table, Item=item(written))
            written += 1
            saves.add(machine.snapshot())
    await machine.kill()
    found = await numbers(await machine.start())
    assert found == list(range(len(found)))
    assert 0 < len(found) <= written
