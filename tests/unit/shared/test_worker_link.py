"""What a worker answers its supervisor."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from shared.metrics.model import Family, Kind, Snapshot
from shared.workers.link import SupervisorConnection
from tests.support.waiting import within

_FAMILY = Family("g", Kind.GAUGE, "", (), "")


async def broken() -> Snapshot:
    raise ValueError("a gauge that can't be read")


async def foreign() -> Snapshot:
    value: Any = object()  # JSON has no such number
    return [(_FAMILY, {(): value})]


async def well() -> Snapshot:
    return [(_FAMILY, {(): 1.5})]


@pytest.fixture
async def ends() -> AsyncIterator[tuple[SupervisorConnection, asyncio.StreamReader, asyncio.StreamWriter]]:
    ours, theirs = socket.socketpair()
    link = SupervisorConnection(theirs)
    running = asyncio.create_task(link.run())
    reader, writer = await asyncio.open_connection(sock=ours)
    yield link, reader, writer
    writer.close()
    async with within(10):
        await running


@pytest.mark.parametrize(("snapshot", "answered"), [(broken, False), (foreign, False), (well, True)])
async def test_metrics_that_cannot_be_sent_delay_no_scrape(
    ends: tuple[SupervisorConnection, asyncio.StreamReader, asyncio.StreamWriter],
    snapshot: Callable[[], Awaitable[Snapshot]],
    answered: bool,
) -> None:
    link, reader, writer = ends
    link.snapshot = snapshot
    writer.write(b'{"ask": "metrics", "id": 7}\n')
    async with within(10):
        answer = json.loads(await reader.readline())
    assert answer["id"] == 7
    assert ("metrics" in answer) is answered


async def test_half_a_question_is_that_of_a_supervisor_that_was_killed(
    ends: tuple[SupervisorConnection, asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    _, reader, writer = ends
    writer.write(b'{"ask": "al')
    writer.write_eof()
    async with within(10):
        assert await reader.read() == b"", "the worker closes its end, too, and is no task that failed"
