"""Proxies that break things: one in front of each AWS service (it speaks HTTP, so it can answer as AWS would), one in
front of Redis (plain TCP).

Each has one fault at a time, set by the nemesis and taken back by heal(). What a fault did is counted.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "expect"}


Break = Callable[[web.BaseRequest, bytes, "Fault"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: one of KINDS (HTTP) or TCP_KINDS. rate: the share of requests it hits. seconds: of a delay."""

    kind: str
    rate: float = 1.0
    seconds: float = 0.0


class Faulty:
    """What both proxies share: a fault, a seeded choice, counts."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.fault: Fault | None = None
        self.injected: Counter[str] = Counter()
        self._rng = rng
        self._healed = asyncio.Event()

    def inject(self, fault: Fault) -> None:
        self.fault = fault
        self._healed.clear()

    def heal(self) -> None:
        self.fault = None
        self._healed.set()

    def _hit(self) -> Fault | None:
        fault = self.fault
        if fault is None or self._rng.random() >= fault.rate:
            return None
        self.injected[fault.kind] += 1
        return fault

    async def _until_healed(self) -> None:
        await self._healed.wait()


class HttpProxy(Faulty):
    """In front of one AWS service. KINDS says what it can do to a request."""

    KINDS = (
        "cut",  # the connection is reset before anything is done
        "lost",  # it is done, and the answer gets lost
        "hang",  # half-open: nothing is done, nothing is said until it heals
        "delay",
        "late",  # it is done at once, and the answer takes its time
        "throttle",  # AWS says: too fast
        "error",  # AWS says: internal error
        "partial",  # only a part of a batch is taken (UnprocessedItems, FailedEntryCount)
        "conflict",  # a transaction meets another
        "duplicate",  # it is done twice, where that is what an at-least-once service may do
    )

    def __init__(self, name: str, upstream: str, rng: random.Random) -> None:
        super().__init__(name, rng)
        self._upstream = URL(upstream)
        self.url = ""
        self._session: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["HttpProxy"]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            self._session = session
            runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            self.url = f"http://127.0.0.1:{port}"
            try:
                yield self
            finally:
                self.heal()
                await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = await request.read()
        except ConnectionError:
            return _abort(request)  # a service died while it sent
        fault = self._hit()
        if fault is None:
            return await self._forward(request, body)
        breaks: Break = getattr(self, f"_{fault.kind}")
        return await breaks(request, body, fault)

    async def _cut(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        return _abort(request)

    async def _lost(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        await self._forward(request, body)
        return _abort(request)

    async def _hang(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        await self._until_healed()
        return _abort(request)

    async def _delay(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        await asyncio.sleep(self._rng.random() * fault.seconds)
        return await self._forward(request, body)

    async def _late(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        answer = await self._forward(request, body)
        await asyncio.sleep(self._rng.random() * fault.seconds)
        return answer

    async def _throttle(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        if self.name == "s3":
            return web.Response(status=503, body=b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>")
        code = {
            "dynamodb": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            "sqs": "com.amazonaws.sqs#RequestThrottled",
        }.get(self.name, "ThrottlingException")
        return _aws_error(400, code, "too fast")

    async def _error(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        if self.name == "s3":
            return web.Response(status=500, body=b"<Error><Code>InternalError</Code><Message>oops</Message></Error>")
        return _aws_error(500, "InternalServerError", "oops")

    async def _duplicate(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        if _operation(request) in ("PutEvents", "SendMessage", "SendMessageBatch"):
            await self._forward(request, body)
        return await self._forward(request, body)

    async def _conflict(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        if _operation(request) != "TransactWriteItems":
            return await self._forward(request, body)
        count = len(json.loads(body)["TransactItems"])
        reasons = [{"Code": "TransactionConflict", "Message": "conflict"}, *[{"Code": "None"}] * (count - 1)]
        return _aws_error(
            400,
            "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict]",
            CancellationReasons=reasons,
        )

    async def _partial(self, request: web.BaseRequest, body: bytes, fault: Fault) -> web.StreamResponse:
        operation = _operation(request)
        asked: dict[str, Any] = json.loads(body) if operation in _PARTIAL else {}
        return await (_PARTIAL[operation](self, request, asked) if asked else self._forward(request, body))

    async def _partial_write(self, request: web.BaseRequest, asked: dict[str, Any]) -> web.StreamResponse:
        held: dict[str, Any] = {}
        for table, writes in asked["RequestItems"].items():
            if len(writes) > 1:
                half = len(writes) // 2
                held[table], asked["RequestItems"][table] = writes[half:], writes[:half]
        answer = await self._json(request, asked)
        return _json_answer({**answer, "UnprocessedItems": {**answer.get("UnprocessedItems", {}), **held}})

    async def _partial_get(self, request: web.BaseRequest, asked: dict[str, Any]) -> web.StreamResponse:
        held: dict[str, Any] = {}
        for table, reads in asked["RequestItems"].items():
            keys = reads["Keys"]
            if len(keys) > 1:
                half = len(keys) // 2
                held[table], reads["Keys"] = {**reads, "Keys": keys[half:]}, keys[:half]
        answer = await self._json(request, asked)
        return _json_answer({**answer, "UnprocessedKeys": {**answer.get("UnprocessedKeys", {}), **held}})

    async def _partial_events(self, request: web.BaseRequest, asked: dict[str, Any]) -> web.StreamResponse:
        half = len(asked["Entries"]) // 2
        refused = [{"ErrorCode": "InternalFailure", "ErrorMessage": "oops"}] * (len(asked["Entries"]) - half)
        taken: list[Any] = []
        if half:
            answer = await self._json(request, {**asked, "Entries": asked["Entries"][:half]})
            taken = answer["Entries"]
        return _json_answer({"FailedEntryCount": len(refused), "Entries": [*taken, *refused]})

    async def _json(self, request: web.BaseRequest, asked: dict[str, Any]) -> dict[str, Any]:
        answer = await self._forward(request, json.dumps(asked).encode())
        assert isinstance(answer.body, bytes)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def _forward(self, request: web.BaseRequest, body: bytes) -> web.Response:
        assert self._session is not None
        url = self._upstream.join(URL(request.raw_path, encoded=True))
        headers = [(key, value) for key, value in request.headers.items() if key.lower() not in _HOP]
        try:
            async with self._session.request(request.method, url, headers=headers, data=body) as answer:
                content = await answer.read()
                kept = [(key, value) for key, value in answer.headers.items() if key.lower() not in _HOP]
                response = web.Response(status=answer.status, headers=kept, body=content)
                if request.method == "HEAD" and "Content-Length" in answer.headers:
                    response.content_length = int(answer.headers["Content-Length"])
                return response
        except aiohttp.ClientError:
            return _abort(request)


_PARTIAL: dict[str, Callable[..., Awaitable[web.StreamResponse]]] = {
    "BatchWriteItem": HttpProxy._partial_write,
    "BatchGetItem": HttpProxy._partial_get,
    "PutEvents": HttpProxy._partial_events,
}


class TcpProxy(Faulty):
    """In front of Redis: passes bytes, or cuts, delays, or swallows them."""

    TCP_KINDS = ("cut", "hang", "delay")

    def __init__(self, name: str, host: str, port: int, rng: random.Random) -> None:
        super().__init__(name, rng)
        self._host = host
        self._port = port
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["TcpProxy"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.heal()
            server.close()
            self._cut_all()

    def inject(self, fault: Fault) -> None:
        super().inject(fault)
        if fault.kind == "cut":
            self.injected["cut"] += 1
            self._cut_all()

    def _cut_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault is not None and self.fault.kind == "cut":
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        finally:
            for one in (writer, up_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                fault = self._hit() if self.fault is not None and self.fault.kind != "cut" else None
                if fault is not None and fault.kind == "hang":
                    await self._until_healed()
                elif fault is not None:
                    await asyncio.sleep(self._rng.random() * fault.seconds)
                writer.write(data)
                await writer.drain()
            writer.close()
        except OSError:
            pass


def _operation(request: web.BaseRequest) -> str:
    return request.headers.get("X-Amz-Target", "").rpartition(".")[2]


def _abort(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _aws_error(status: int, code: str, message: str, **more: Any) -> web.Response:
    body = json.dumps({"__type": code, "message": message, **more}).encode()
    return web.Response(status=status, body=body, content_type="application/x-amz-json-1.0")


def _json_answer(body: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), content_type="application/x-amz-json-1.0")
