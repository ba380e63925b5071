"""A server whose token issuer is at a URL: what callers meet while it is away or answers nonsense."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web

from protos.node.v1 import node_pb2
from shared.auth.jwks import Jwks
from shared.grpc.server import GrpcServer
from tests.support.doors import METHODS, Door, Noting, oidc, request_for
from tests.support.echo import server_config
from tests.support.tokens import Issuer
from tests.support.waiting import until, within

NODE = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
GET_NODE = next(method for method in METHODS if method.name == "GetNode")


class IssuerSite:
    """An HTTP server with a JWKS. status, body: what it answers instead of the keys; hang: it answers nothing."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self.asked = 0
        self.port = 0
        self.reset()

    def reset(self) -> None:
        self.status, self.body, self.headers, self.hang = 200, b"", dict[str, str](), False

    async def _answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.hang:
            await asyncio.Event().wait()
        return web.Response(status=self.status, body=self.body or self.issuer.jwks(), headers=self.headers)

    async def start(self) -> None:
        """On the same port as before."""
        app = web.Application()
        app.router.add_get("/jwks", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()


@pytest.fixture
async def site() -> AsyncIterator[IssuerSite]:
    found = IssuerSite()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def door(site: IssuerSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """A server that reads the keys again after a moment, so that a test need not wait for minutes."""

    def impatient(source: str, clock: Any) -> Jwks:
        return Jwks(source, clock, refresh_seconds=0.2, cooldown_seconds=0.1)

    monkeypatch.setattr("shared.grpc.auth.Jwks", impatient)
    # Each token is verified at each call.
    monkeypatch.setattr("shared.auth.authenticator._KEEP_SECONDS", 0.0)
    config = oidc(tmp_path, site.issuer) | {"oidc_jwks": f"http://127.0.0.1:{site.port}/jwks"}
    server = GrpcServer(server_config(**config), [(NODE, Noting(NODE, [], []))])
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Door(channel)
    finally:
        async with within(10):
            await server.stop(0)


async def code(door: Door, token: str) -> str:
    return (await door.call(GET_NODE, request_for(GET_NODE, "ada"), token)).name


BOMB = gzip.compress(b'{"keys": [' + b" " * 200_000_000)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, b"", {}),
        (200, b"<html>", {}),
        (200, b'{"keys": []}', {}),
        (200, b'{"keys": [' + b" " * 3_000_000 + b"]}", {}),
        (200, BOMB, {"content-encoding": "gzip"}),
        (200, b"\x1f\x8b garbage", {"content-encoding": "gzip"}),
        (302, b"-", {"location": "/jwks"}),
    ],
    ids=["error", "html", "empty", "huge", "bomb", "garbage", "loop"],
)
async def test_the_last_keys_serve_while_the_issuer_answers_nonsense(
    site: IssuerSite, door: Door, status: int, body: bytes, headers: dict[str, str]
) -> None:
    old = site.issuer.token("ada", "read")
    assert await code(door, old) == "OK"
    site.status, site.body, site.headers = status, body, headers
    site.issuer.rotate()
    new = site.issuer.token("ada", "read")
    before = site.asked

    async def asked_again() -> bool:
        # Neither reads beside the calls nor those for an unknown key change what a known key answers.
        assert await code(door, old) == "OK"
        assert await code(door, new) == "UNAUTHENTICATED"
        return site.asked >= before + 2

    await until(asked_again, what="two more reads")
    site.reset()

    async def recovered() -> bool:
        assert await code(door, old) == "OK"
        return await code(door, new) == "OK"

    await until(recovered, what="the new key")


async def test_an_issuer_that_is_gone_or_hangs_delays_no_known_key(site: IssuerSite, door: Door) -> None:
    old = site.issuer.token("ada", "read")
    assert await code(door, old) == "OK"
    site.issuer.rotate()
    new = site.issuer.token("ada", "read")
    site.hang = True
    before = site.asked
    waiting = asyncio.create_task(code(door, new))

    async def hangs() -> bool:
        nonlocal waiting
        if waiting.done():  # it came in the cooldown of the read before, and was refused at once
            waiting = asyncio.create_task(code(door, new))
        return site.asked > before

    await until(hangs, what="the read that hangs")
    assert [await code(door, old) for _ in range(20)] == ["OK"] * 20
    assert not waiting.done(), "only the unknown key waits for the issuer"
    await site.stop()
    assert await waiting == "UNAUTHENTICATED"
    assert await code(door, old) == "OK"
    site.reset()
    await site.start()

    async def recovered() -> bool:
        return await code(door, new) == "OK"

    await until(recovered, what="the new key")


async def test_forged_key_ids_do_not_reach_the_issuer_one_by_one(site: IssuerSite, door: Door) -> None:
    old = site.issuer.token("ada", "read")
    assert await code(door, old) == "OK"
    stranger = Issuer()
    for _ in range(3):
        stranger.rotate()
    before, loop = site.asked, asyncio.get_running_loop()
    began = loop.time()
    codes = await asyncio.gather(*(code(door, stranger.token("ada", "read")) for _ in range(200)))
    assert set(codes) == {"UNAUTHENTICATED"}
    assert site.asked - before <= 1 + (loop.time() - began) / 0.1
