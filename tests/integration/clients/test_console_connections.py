"""Connections to the console's server that send no whole head of a request come to an end; all others go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from clients.console import protocol
from clients.console.protocol import HeadTimeout
from tests.support.waiting import until, within

SECONDS = 0.3
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the body; the first byte at once, the rest when all of it is there."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.body", "body": b"bc"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", SECONDS)
    config = uvicorn.Config(echo, port=0, http=HeadTimeout, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started, what="the server")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n"


@pytest.mark.parametrize(
    "sent", [b"", b"P", HEAD, HEAD + b"\r\nxy" + HEAD], ids=["nothing", "a byte", "half", "second"]
)
async def test_a_connection_without_a_whole_head_is_closed(port: int, sent: bytes) -> None:
    async with connected(port) as (reader, writer):
        writer.write(sent)
        async with within(5):
            answer = await reader.read()
    assert answer.endswith(b"abc") if b"xy" in sent else not answer


async def test_a_body_and_an_answer_may_last(port: int) -> None:
    loop = asyncio.get_running_loop()
    async with connected(port) as (reader, writer), connected(port) as (silent, _):
        began = loop.time()
        writer.write(HEAD + b"\r\nx")
        assert (await reader.readuntil(b"\r\n\r\na")).startswith(b"HTTP/1.1 200")
        async with within(5):
            assert not await silent.read(), "the time for a head is over"
        assert loop.time() - began >= SECONDS * 0.9
        writer.write(b"y")
        async with within(5):
            assert await reader.readexactly(2) == b"bc"
