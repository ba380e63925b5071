"""Quotas on a real table: the count is what is stored, whoever writes at the same time and whenever it was made."""

import asyncio
import gc

import pytest

from protos.table import usage_key
from shared.dynamo import ABSENT, Delete, Put, Table, TransactionCancelled
from shared.errors import Amounts, QuotaExceeded, Unavailable
from shared.quotas import Quotas
from tests.support.clock import ManualClock
from tests.support.waiting import until


class Process:
    """A process that writes things of one byte each for a user, counted as "things"."""

    def __init__(self, table: Table, service: str, clock: ManualClock, user: str, limit: int) -> None:
        self.table, self.service, self.user = table, service, user
        self.quotas = Quotas(table, service, clock, {"things": limit}, self.count)
        self.counted = 0
        self.counting: asyncio.Event | None = None
        self.trouble: Exception | None = None

    async def count(self, user_id: str) -> Amounts:
        self.counted += 1
        page = await self.table.query(user_id, begins_with="thing-", consistent=True)
        if self.counting is not None:
            await self.counting.wait()
        if self.trouble is not None:
            raise self.trouble
        return {"things": page.count}

    async def add(self, *names: str) -> None:
        puts = [Put({"PK": self.user, "SK": f"thing-{name}"}, ABSENT) for name in names]
        await self.quotas.transact(self.user, puts, {"things": len(names)})

    async def remove(self, name: str) -> None:
        await self.quotas.transact(self.user, [Delete((self.user, f"thing-{name}"))], {"things": -1})

    async def used(self) -> int:
        item = await self.table.get(usage_key(self.service, self.user), consistent=True)
        assert item is not None
        return int(item["things"])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def process(table: Table, service: str, clock: ManualClock, user: str) -> Process:
    return Process(table, service, clock, user, limit=5)


async def test_the_write_that_would_exceed_the_limit_is_refused_with_the_numbers(process: Process) -> None:
    await process.add("a", "b", "c", "d")
    with pytest.raises(QuotaExceeded) as caught:
        await process.add("e", "f")
    assert dict(caught.value.metadata) == {"quota": "things", "limit": "5", "used": "4", "wanted": "2"}
    assert [violation.field for violation in caught.value.violations] == ["things"]
    assert caught.value.retry_after is None
    await process.add("e")
    await process.remove("a")
    await process.add("f")
    assert (await process.used(), process.counted) == (5, 1)


async def test_concurrent_writes_of_several_processes_never_exceed_the_limit(
    table: Table, service: str, clock: ManualClock, user: str
) -> None:
    processes = [Process(table, service, clock, user, limit=20) for _ in range(3)]
    wanted = [processes[number % 3].add(str(number)) for number in range(40)]
    results = await asyncio.gather(*wanted, return_exceptions=True)
    assert sum(result is None for result in results) == 20
    assert sum(isinstance(result, QuotaExceeded) for result in results) == 20
    stored = await table.query(user, begins_with="thing-", consistent=True)
    assert (stored.count, await processes[0].used()) == (20, 20)


async def test_the_error_of_the_write_itself_comes_before_the_quota(process: Process) -> None:
    await process.add("a", "b", "c", "d", "e")
    with pytest.raises(TransactionCancelled) as caught:
        await process.add("a")  # it exists, as for a request that is repeated
    assert [reason.failed for reason in caught.value.reasons] == [True]


async def test_what_was_stored_before_there_were_quotas_is_counted(process: Process, table: Table, user: str) -> None:
    await table.batch_write(puts=[{"PK": user, "SK": f"thing-{number}"} for number in range(7)])
    with pytest.raises(QuotaExceeded):
        await process.add("a")
    await process.remove("0")
    assert await process.used() == 6


async def test_a_count_that_is_a_day_old_is_made_anew(
    process: Process, table: Table, user: str, clock: ManualClock
) -> None:
    await process.add("a")
    # Written by a replica without quotas.
    await table.batch_write(puts=[{"PK": user, "SK": f"thing-{number}"} for number in range(2)])
    clock.move(86_399)
    await process.add("b")
    assert await process.used() == 2
    clock.move(1)
    await process.add("c")
    assert await process.used() == 5


async def test_no_write_falls_between_a_count_and_its_storing(
    table: Table, service: str, clock: ManualClock, user: str, process: Process
) -> None:
    await process.add("a")
    clock.move(86_400)
    slow = Process(table, service, clock, user, limit=5)
    slow.counting = asyncio.Event()
    waiting = asyncio.create_task(slow.add("slow"))
    while not slow.counted:
        await asyncio.sleep(0)
    # Meanwhile another process counts and writes.
    await process.add("b")
    slow.counting.set()
    await waiting
    assert await process.used() == 3


async def test_the_count_goes_on_when_the_call_that_needs_it_ends(process: Process) -> None:
    process.counting = asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await process.add("a")
    process.counting.set()
    process.counting = None
    await process.add("a")
    assert (await process.used(), process.counted) == (1, 1)


async def test_a_lowered_limit_allows_what_takes_away(
    table: Table, service: str, clock: ManualClock, user: str, process: Process
) -> None:
    await process.add("a", "b", "c")
    lowered = Process(table, service, clock, user, limit=1)
    with pytest.raises(QuotaExceeded):
        await lowered.add("d")
    await lowered.remove("a")
    assert await lowered.used() == 2


async def test_without_a_limit_nothing_is_counted(table: Table, service: str, clock: ManualClock, user: str) -> None:
    process = Process(table, service, clock, user, limit=0)
    await process.add("a")
    assert await table.get(usage_key(service, user), consistent=True) is None


async def test_a_count_that_fails_after_the_last_call_has_gone_leaves_no_unread_exception(process: Process) -> None:
    unread: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
    gc.collect()  # what earlier tests left behind
    unread.clear()
    process.counting, process.trouble = asyncio.Event(), Unavailable("?")
    call = asyncio.create_task(process.add("a"))
    await until(lambda: process.counted == 1)
    (counting,) = process.quotas._counting.values()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    process.counting.set()
    await asyncio.wait([counting])
    del counting
    gc.collect()  # asyncio reports an exception that was never read when its task is collected
    assert unread == []
    process.trouble = None
    await process.add("a")
    assert await process.used() == 1
