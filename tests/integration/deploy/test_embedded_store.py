"""The embedded stores keep what they acknowledged: after a stop, and dynoxide's table also after kill -9.

Where dynoxide is missing ministack holds the table, too; then kill -9 costs what came after its last snapshot.
"""

import asyncio
import dataclasses
import io
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from deploy.local import provision, stores
from deploy.local.console import Console, LaunchError
from deploy.local.stack import _replay, _take_over
from tests.support.stores import Stores
from tests.support.waiting import until, within

# Nothing from the environment: this is about the store that we start.
NO_ENV: dict[str, str] = {}


class Machine:
    """Stores on one folder that can be stopped, killed and started again."""

    def __init__(self, data: Path, dynoxide: Path | None = None) -> None:
        self.data = data
        self.dynoxide = dynoxide
        self._running: stores.Stores | None = None

    async def start(self) -> Stores:
        self._running = await stores.start(
            self.data, on_line=Console().log, env=NO_ENV, save_seconds=0.1, dynoxide=self.dynoxide
        )
        return Stores(self._running.endpoints, await provision.apply(self._running.endpoints))

    @property
    def running(self) -> stores.Stores:
        assert self._running is not None
        return self._running

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
    """ministack holds the table."""
    found = Machine(tmp_path)
    yield found
    await found.stop()


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[Machine]:
    """dynoxide holds the table."""
    if not stores.DYNOXIDE.exists():
        pytest.skip("dynoxide is not installed here")
    found = Machine(tmp_path, stores.DYNOXIDE)
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
    await keeps_everything(machine)


async def test_a_clean_stop_keeps_everything_in_dynoxide(durable: Machine) -> None:
    await keeps_everything(durable)


async def keeps_everything(machine: Machine) -> None:
    before = await machine.start()
    await put(before, 1)
    cache = redis.asyncio.from_url(before.redis_url)
    await cache.set("warm", "1")
    await cache.aclose()
    await machine.stop()
    # As an earlier release has made it.
    (machine.data / "ministack").chmod(0o755)
    after = await machine.start()
    assert (machine.data / "ministack").stat().st_mode & 0o077 == 0
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
    async with before.client("dynamodb") as dynamodb, within(60):
        while len(saves) < 4:
            await dynamodb.put_item(TableName=before.resources.table, Item=item(written))
            written += 1
            saves.add(machine.snapshot())
    await machine.kill()
    found = await numbers(await machine.start())
    assert found == list(range(len(found)))
    assert 0 < len(found) <= written


async def test_kill_9_costs_dynoxide_no_write_that_was_answered(durable: Machine) -> None:
    before = await durable.start()
    answered = 0

    async def write() -> None:
        nonlocal answered
        while True:
            await put(before, answered)
            answered += 1

    writing = asyncio.create_task(write())
    await until(lambda: answered >= 50, what="some writes")
    await durable.kill()
    await asyncio.wait({writing})
    assert writing.exception() is not None
    after = await durable.start()
    found = await numbers(after)
    # The write that was under way may have been done; its answer was lost.
    assert found == list(range(len(found)))
    assert answered <= len(found) <= answered + 1
    assert durable.running.events_lost


async def test_dynoxide_takes_over_the_table_that_ministack_kept(durable: Machine) -> None:
    durable.dynoxide = None
    before = await durable.start()
    for number in range(60):
        await put(before, number)
    await durable.stop()
    durable.dynoxide = stores.DYNOXIDE
    for _ in range(2):  # a launcher that dies before it has finished copies once more
        after = await durable.start()
        moved_from = durable.running.moved_from
        assert moved_from is not None
        assert await provision.copy_items(moved_from, after.endpoints, after.resources.table) == 60
        assert await numbers(after) == list(range(60))
        assert await provision.users(after.endpoints, after.resources.table) == ["a"]
        await durable.stop()
    (durable.data / "dynoxide" / stores.MOVED).touch()
    assert await numbers(await durable.start()) == list(range(60))
    assert durable.running.moved_from is None


async def test_expired_items_leave_dynoxides_table(durable: Machine) -> None:
    found = await durable.start()
    now = 1_800_000_000
    async with found.client("dynamodb") as dynamodb:
        # More than a page of the walk.
        for number in range(450):
            ends = {} if number % 3 == 0 else {"expires_at": {"N": str(now + (-1 if number % 3 == 1 else 1))}}
            await dynamodb.put_item(TableName=found.resources.table, Item={**item(number), **ends})
        endpoints = durable.running.endpoints
        assert await provision.delete_expired(endpoints, found.resources.table, now) == 150
        assert await provision.delete_expired(endpoints, found.resources.table, now) == 0
        left = await dynamodb.query(
            TableName=found.resources.table,
            KeyConditionExpression="PK = :user",
            ExpressionAttributeValues={":user": {"S": "USER#a"}},
        )
        assert [int(each["SK"]["S"][5:]) for each in left["Items"]] == [n for n in range(450) if n % 3 != 1]


async def test_without_dynoxide_its_table_is_not_taken_for_an_empty_one(durable: Machine, tmp_path: Path) -> None:
    await put(await durable.start(), 1)
    assert durable.running.dynoxide is not None
    (durable.running.dynoxide / stores.MOVED).touch()
    await durable.stop()
    durable.dynoxide = tmp_path / "not installed"
    with pytest.raises(LaunchError, match=r"^the notes are in .*dynoxide, which reads them, is not installed"):
        await durable.start()
    durable.dynoxide = stores.DYNOXIDE
    assert await numbers(await durable.start()) == [1]


async def test_a_copy_that_was_cut_short_is_not_taken_for_whole_by_a_start_with_another_table(durable: Machine) -> None:
    durable.dynoxide = None
    await put(await durable.start(), 1)
    await durable.stop()
    # A launcher that died while it copied.
    (durable.data / "dynoxide").mkdir()
    own = stores.Endpoints(*["http://127.0.0.1:9"] * 6)
    resources = provision.Resources(table="t", bus="b", bucket="c", queues={}, dlqs={}, rule_dlq="")
    await _take_over(durable.data, stores.Stores(own, []), resources, Console())
    durable.dynoxide = stores.DYNOXIDE
    await durable.start()
    assert durable.running.moved_from is not None


async def test_events_that_can_not_be_published_again_are_said_to_wait_for_the_next_start(machine: Machine) -> None:
    found = await machine.start()
    (machine.data / "replay-events").touch()
    log = io.StringIO()
    gone = dataclasses.replace(found.resources, table="Gone")
    await _replay(machine.data, "127.0.0.1:9", machine.running.endpoints, gone, Console(log))
    assert "the events could not be published again" in log.getvalue()
    assert (machine.data / "replay-events").exists()
