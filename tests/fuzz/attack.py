"""Sends inputs to a running stack and judges the answers: `await Attack(...).run()`.

What counts as a defect: INTERNAL, UNKNOWN and DATA_LOSS; a call that outlasts its deadline by far (hung); a service
that ends (crashed); an answer with a word of another user, or an error with an address, a path or a traceback (leaked).
"""

import asyncio
import collections
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from deploy.docs import services
from protos.options.rules import traits
from tests.fuzz.generate import Generator, Input, canary
from tests.support import http2
from tests.support.waiting import PATIENCE, within

_BROKEN = frozenset(("INTERNAL", "UNKNOWN", "DATA_LOSS"))
_LEAK = re.compile(r'\d+\.\d+\.\d+\.\d+:\d+|Traceback|/site-packages/|File "|0x7f[0-9a-f]{6}|localhost:\d+')
# A call has this long; the generated ones take milliseconds.
_CALL_SECONDS = 20.0 * PATIENCE
_WATCH_SECONDS = 0.2
_MOST_ANSWERS = 20


def methods() -> list[MethodDescriptor]:
    """All RPCs of all services."""
    return [method for service in services() for method in service.methods]


@dataclass
class Outcome:
    """What happened. codes: by RPC and status code; findings: the first inputs that showed a defect."""

    inputs: int = 0
    codes: dict[str, collections.Counter[str]] = field(default_factory=dict)
    internal: int = 0
    hung: int = 0
    leaked: int = 0
    findings: list[str] = field(default_factory=list)

    def count(self, method: str, code: str) -> None:
        self.inputs += 1
        self.codes.setdefault(method, collections.Counter())[code] += 1

    def found(self, what: str, sent: Input, why: str) -> None:
        if len(self.findings) < 50:
            self.findings.append(f"{what} {sent.method.full_name} {why[:300]} {sent.data[:120].hex()}")


class Attack:
    """count: how many inputs; workers: how many calls are under way at one time."""

    def __init__(
        self, addresses: Mapping[str, str], *, seed: int, count: int, workers: int = 24, tag: str = ""
    ) -> None:
        self._users = [f"fuzz{tag}-{name}" for name in ("one", "two", "three")]
        self._generator = Generator(seed, methods(), self._users)
        self._addresses = addresses
        self._left = count
        self._workers = workers
        self._draw = random.Random(seed + 1)
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """All inputs. Half of the workers share a connection; a part of the inputs are oddities of HTTP/2."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(number))
        return self.outcome

    async def _work(self, number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", number % 2), ("grpc.max_receive_message_length", -1)]
        channels = {
            name: grpc.aio.insecure_channel(address, options=options) for name, address in self._addresses.items()
        }
        try:
            while self._left > 0:
                self._left -= 1
                if self._left % 100 == 0:
                    await self._oddity()
                else:
                    await self._call(channels, self._generator.input())
        finally:
            for channel in channels.values():
                await channel.close()

    async def _call(self, channels: Mapping[str, grpc.aio.Channel], sent: Input) -> None:
        method = sent.method
        service = method.containing_service.full_name
        channel = channels[service.split(".")[1]]
        path = f"/{service}/{method.name}"
        subscription = traits(method).subscription
        code, text, answers = "OK", "", []
        began = time.monotonic()
        limit = _WATCH_SECONDS if subscription else _CALL_SECONDS
        try:
            if method.server_streaming:
                stream: Any = channel.unary_stream(path)
                call = stream(sent.data, timeout=limit, metadata=self._metadata())
                async for answer in call:
                    answers.append(answer)
                    if len(answers) >= _MOST_ANSWERS:
                        call.cancel()
                        break
            else:
                unary: Any = channel.unary_unary(path)
                answers.append(await unary(sent.data, timeout=limit, metadata=self._metadata()))
        except grpc.aio.AioRpcError as error:
            code, text = error.code().name, error.details() or ""
        outcome = self.outcome
        outcome.count(method.full_name, code)
        if code in _BROKEN:
            outcome.internal += 1
            outcome.found("internal", sent, f"{code}: {text}")
        # A stream of bulk work may last; its deadline ends it. A unary call has its answer long before.
        if time.monotonic() - began > (limit + 10 * PATIENCE if method.server_streaming else limit - 1):
            outcome.hung += 1
            outcome.found("hung", sent, f"{time.monotonic() - began:.1f} s")
        if _LEAK.search(text):
            outcome.leaked += 1
            outcome.found("leaked", sent, text)
        self._judge(sent, answers)

    def _judge(self, sent: Input, answers: Sequence[bytes]) -> None:
        others = [canary(user).encode() for user in self._users if user != sent.user_id]
        for data in answers:
            # A garbled request may name any user, so only whole ones tell whose answer it is.
            if sent.user_id and sent.valid and any(word in data for word in others):
                self.outcome.leaked += 1
                self.outcome.found("leaked", sent, "a word of another user")
            try:
                self._generator.learn(GetMessageClass(sent.method.output_type).FromString(data))
            except DecodeError:
                self.outcome.internal += 1
                self.outcome.found("internal", sent, "the answer can't be read")

    def _metadata(self) -> list[tuple[str, str | bytes]]:
        draw = self._draw
        return draw.choice(
            [
                [],
                [],
                [],
                [("traceparent", "00-" + "g" * 32 + "-" + "1" * 16 + "-01")],
                [("traceparent", "x" * 55)],
                [("x-bin", draw.randbytes(20))],
                [("authorization", "Bearer " + "a" * 2000)],
                [(f"k{number}", "v" * 50) for number in range(30)],
            ]
        )

    async def _oddity(self) -> None:
        """One connection that doesn't keep to HTTP/2 or gRPC. The server may close it; it must go on serving others."""
        name = self._draw.choice(sorted(self._addresses))
        port = int(self._addresses[name].rpartition(":")[2])
        what, data = self._draw.choice(list(oddities(self._draw, self._generator)))
        self.outcome.count("http2", what)
        try:
            async with (
                within(5),
                http2.Connection(port, window=self._draw.choice((0, 1, 65_535))) as connection,
            ):
                await connection.send(data)
                async with asyncio.timeout(0.05):
                    while await connection.read() is not None:
                        pass
        except (OSError, TimeoutError):
            pass


def oddities(draw: random.Random, generator: Generator) -> Iterator[tuple[str, bytes]]:
    """(what it is, bytes after the preface)."""
    sent = generator.input()
    path = f"/{sent.method.containing_service.full_name}/{sent.method.name}"
    begin = http2.call_headers(path, 1)
    body = http2.message(sent.data[:4000])

    def data(payload: bytes, **more: int) -> bytes:
        return http2.frame(http2.DATA, payload[:16_000], **({"stream": 1} | more))

    yield "no message", begin
    yield "half a message", begin + data(body[: len(body) // 2])
    yield "end without a message", begin + data(b"", flags=1)
    yield "two messages", begin + data(body + body, flags=1)
    yield "length of 300 MB", begin + data(http2.message(b"x" * 100, length=300_000_000))
    yield "compressed flag", begin + data(http2.message(draw.randbytes(50), compressed=1), flags=1)
    yield "strange flag", begin + data(http2.message(b"", compressed=255), flags=1)
    yield "reset", (begin + data(body) + http2.frame(http2.RST_STREAM, (8).to_bytes(4, "big"), stream=1)) * 1
    resets = [
        http2.call_headers(path, stream) + http2.frame(http2.RST_STREAM, (8).to_bytes(4, "big"), stream=stream)
        for stream in range(1, 401, 2)
    ]
    yield "rapid resets", b"".join(resets)
    yield "many silent calls", b"".join(http2.call_headers(path, stream) for stream in range(1, 201, 2))
    yield "unknown path", http2.call_headers("/" + "x" * 3000, 1) + data(body, flags=1)
    yield (
        "strange headers",
        http2.call_headers(
            path, 1, {"grpc-timeout": draw.choice(("0n", "99999999H", "-1S", "x")), "content-type": "text/html"}
        )
        + data(body, flags=1),
    )
    yield (
        "grpc-encoding",
        http2.call_headers(path, 1, {"grpc-encoding": "gzip"})
        + data(http2.message(b"\x1f\x8b" + draw.randbytes(40), compressed=1), flags=1),
    )
    yield (
        "continuation flood",
        http2.frame(http2.HEADERS, b"", stream=1)
        + b"".join(
            http2.frame(http2.CONTINUATION, http2.headers({f"k{number}": "v" * 100}), stream=1) for number in range(200)
        ),
    )
    yield "pings", b"".join(http2.frame(http2.PING, bytes(8)) for _ in range(500))
    yield "settings", b"".join(http2.settings({4: 2**31 - 1, 5: 16_384}) for _ in range(200))
    yield "window overflow", http2.frame(http2.WINDOW_UPDATE, (2**31 - 1).to_bytes(4, "big")) * 3
    yield "data of no stream", data(body, stream=99)
    yield (
        "random frames",
        b"".join(
            http2.frame(
                draw.randrange(12),
                draw.randbytes(draw.randrange(40)),
                flags=draw.randrange(256),
                stream=draw.randrange(4),
            )
            for _ in range(20)
        ),
    )
    yield "garbage", draw.randbytes(500)
