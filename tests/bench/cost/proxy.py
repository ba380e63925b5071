"""A proxy in front of DynamoDB, EventBridge and SQS that counts what AWS would charge for.

It asks DynamoDB for whole items, so that their sizes are known, and gives its caller what was asked for. For each write
it reads the images before and after, one write at a time: the counts are exact, and the times mean nothing.
"""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from protos.table import ITEMS
from tests.bench.cost import units

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "expect"}
_EVENT_CHUNK = 64 * 1024
_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}
_READS = {"GetItem", "BatchGetItem", "Query"}
Body = dict[str, Any]
Write = tuple[tuple[str, str], bool]


class Bill:
    """What was counted since the last reset().

    write_units, read_units: by the sort of item; of an index by its name, and for writes also by the sort of item.
    requests: by operation.
    events, event_chunks: entries of PutEvents, and the pieces of 64 KB that are charged. bytes: moved both ways.
    """

    def __init__(self) -> None:
        self.write_units: Counter[str] = Counter()
        self.read_units: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.event_chunks = 0
        self.bytes = 0

    def reset(self) -> None:
        """Begin anew."""
        self.__init__()  # type: ignore[misc]

    @property
    def own_write_units(self) -> float:
        """Of the note and its event alone: without what other services write because of them."""
        own = ("note", "content of a note", "event in the outbox")
        return sum(count for name, count in self.write_units.items() if name.rpartition(": ")[2] in own)

    def numbers(self) -> dict[str, Any]:
        """As it is written to cost.json."""
        return {
            "write_units": sum(self.write_units.values()),
            "own_write_units": self.own_write_units,
            "read_units": sum(self.read_units.values()),
            "requests": sum(self.requests.values()),
            "events": sum(self.events.values()),
            "event_chunks": self.event_chunks,
            "bytes": self.bytes,
            "write_units_by": dict(sorted(self.write_units.items())),
            "read_units_by": dict(sorted(self.read_units.items())),
            "requests_by": dict(sorted(self.requests.items())),
            "events_by": dict(sorted(self.events.items())),
        }


# Reads that a service makes at intervals, whether something is to be done or not.
POLLED = frozenset(
    {
        "event in the outbox",
        "journal entry",
        "DeletionQueue",
        "lease of an outbox shard",
        "lease of a deletion shard",
    }
)


class CostProxy:
    """`async with CostProxy(upstream, definition).running() as proxy` listens on proxy.url.

    upstream: service name ("dynamodb", "events", "sqs") -> endpoint. definition: of the table, as for CreateTable.
    bill: everything. polls: the requests that services make at intervals, which `bill` does not have.
    """

    def __init__(self, upstream: Mapping[str, str], definition: Mapping[str, Any]) -> None:
        self.bill = Bill()
        self.polls = Bill()
        # The time of the loop at which something other than a poll was asked for last.
        self.busy_at = 0.0
        self.open = 0
        self._upstream = {name: URL(url) for name, url in upstream.items()}
        self._indexes = units.indexes_of(definition)
        self._session: aiohttp.ClientSession | None = None
        self._writing = asyncio.Lock()
        self.urls: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["CostProxy"]:
        async with contextlib.AsyncExitStack() as stack:
            # A connection for each request: a store may close one that was idle just when it is used.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=connector, auto_decompress=False)
            )
            for name in self._upstream:
                handler = getattr(self, f"_{name}")
                runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
                self.urls[name] = f"http://127.0.0.1:{port}"
            yield self

    # ------------------------------------------------------------------ the services

    async def _dynamodb(self, request: web.BaseRequest) -> web.StreamResponse:
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        asked: Body = await request.json()
        if operation in _WRITES:
            return await self._write(request, operation, asked)
        if operation in _READS:
            return await self._read(request, operation, asked)
        return await self._forward("dynamodb", request, await request.read())

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        answer = await self._forward("events", request, body)
        self._busy()
        self.bill.requests["PutEvents"] += 1
        self.bill.bytes += len(body) + _length(answer)
        for entry in json.loads(body).get("Entries", ()):
            size = sum(len(str(entry.get(name, "")).encode()) for name in ("Source", "DetailType", "Detail"))
            self.bill.events[str(entry.get("DetailType"))] += 1
            self.bill.event_chunks += max(1, -(-size // _EVENT_CHUNK))
        return answer

    async def _sqs(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        answer = await self._forward("sqs", request, body)
        received = json.loads(answer.body or b"{}") if operation == "ReceiveMessage" else {"Messages": operation}  # type: ignore[arg-type]
        idle = operation == "GetQueueAttributes" or not received.get("Messages")
        bill = self.polls if idle else self.bill
        if not idle:
            self._busy()
        bill.requests[operation] += 1
        bill.bytes += len(body) + _length(answer)
        return answer

    # ------------------------------------------------------------------ reads

    async def _read(self, request: web.BaseRequest, operation: str, asked: Body) -> web.StreamResponse:
        sent = json.dumps(_whole(operation, asked)).encode()
        answer = await self._forward("dynamodb", request, sent)
        if answer.status != 200:
            return answer
        found: Body = json.loads(answer.body)  # type: ignore[arg-type]
        counted = Bill()
        getattr(self, f"_count_{operation}")(asked, found, counted)
        polled = set(counted.read_units) <= POLLED
        bill = self.polls if polled else self.bill
        if not polled:
            self._busy()
        bill.read_units.update(counted.read_units)
        bill.requests[operation] += 1
        given = _json(_as_asked(operation, asked, found))
        bill.bytes += len(sent) + _length(given)
        return given

    def _count_GetItem(self, asked: Body, found: Body, bill: Bill) -> None:
        self._count_get(asked["Key"], found.get("Item"), bool(asked.get("ConsistentRead")), bill)

    def _count_BatchGetItem(self, asked: Body, found: Body, bill: Bill) -> None:
        for table, wanted in asked["RequestItems"].items():
            items = {_key(item): item for item in found["Responses"].get(table, ())}
            for key in wanted["Keys"]:
                self._count_get(key, items.get(_key(key)), bool(wanted.get("ConsistentRead")), bill)

    def _count_get(self, key: Body, item: Body | None, consistent: bool, bill: Bill) -> None:
        bill.read_units[item_name(*_key(key))] += units.read_units(  # type: ignore[assignment]
            units.item_size(item or {}), consistent=consistent
        )

    def _count_Query(self, asked: Body, found: Body, bill: Bill) -> None:
        size = sum(units.item_size(item) for item in found["Items"])
        values = [value["S"] for name, value in asked["ExpressionAttributeValues"].items() if "S" in value]
        first = asked["ExpressionAttributeValues"][":pk"]["S"]
        low = next((value for value in values if value != first), "")
        name = asked.get("IndexName") or item_name(first, low if low.rstrip("#").count("#") else f"{low}x")
        if found["Items"] and "IndexName" not in asked:
            name = item_name(*_key(found["Items"][0]))
        bill.read_units[name] += units.read_units(size, consistent=bool(asked.get("ConsistentRead")))  # type: ignore[assignment]

    # ------------------------------------------------------------------ writes

    async def _write(self, request: web.BaseRequest, operation: str, asked: Body) -> web.StreamResponse:
        table, writes = _written(operation, asked)
        keys = [key for key, _ in writes]
        transaction = operation == "TransactWriteItems"
        async with self._writing:
            before = await self._images(request, table, keys)
            body = await request.read()
            answer = await self._forward("dynamodb", request, body)
            after = await self._images(request, table, keys)
        names = {item_name(*key) for key in keys}
        # Leases of polling processes; everything else that is written is work.
        bill = self.polls if names <= POLLED and "event in the outbox" not in names else self.bill
        if bill is self.bill:
            self._busy()
        bill.requests[operation] += 1
        bill.bytes += len(body) + _length(answer)
        for key, changes in writes:
            was, now = before.get(key), after.get(key)
            name = item_name(*key)
            bill.write_units[name if changes else f"{name} (condition)"] += units.table_write(
                was, now, transaction=transaction
            )
            for index in self._indexes:
                if cost := units.index_write(index, was, now):
                    bill.write_units[f"{index.name}: {name}"] += cost
        return answer

    async def _images(
        self, request: web.BaseRequest, table: str, keys: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], Body]:
        found: dict[tuple[str, str], Body] = {}
        left: list[Body] = [{"PK": {"S": pk}, "SK": {"S": sk}} for pk, sk in dict.fromkeys(keys)]
        while left:
            asked = {"RequestItems": {table: {"Keys": left[:100], "ConsistentRead": True}}}
            answer = await self._forward("dynamodb", request, json.dumps(asked).encode(), "BatchGetItem")
            body = json.loads(answer.body)  # type: ignore[arg-type]
            found |= {_key(item): item for item in body["Responses"].get(table, ())}
            left = left[100:] + body.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
        return found

    # ------------------------------------------------------------------ forwarding

    async def _forward(
        self, service: str, request: web.BaseRequest, body: bytes, operation: str | None = None
    ) -> web.Response:
        assert self._session is not None
        url = self._upstream[service].join(URL(request.raw_path, encoded=True))
        headers = {
            key: value for key, value in request.headers.items() if key.lower() not in {*_HOP, "accept-encoding"}
        }
        if operation is not None:
            headers["X-Amz-Target"] = f"DynamoDB_20120810.{operation}"
        try:
            async with self._session.request(request.method, url, headers=headers, data=body) as answer:
                left_out = {*_HOP, "x-amz-crc32"}
                kept = {key: value for key, value in answer.headers.items() if key.lower() not in left_out}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except aiohttp.ClientError:  # the store ends
            return web.Response(status=500)

    def _busy(self) -> None:
        self.busy_at = asyncio.get_running_loop().time()


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["PK"]["S"], item["SK"]["S"]


def _written(operation: str, asked: Body) -> tuple[str, list[Write]]:
    """The table, and the key of each write with whether it changes the item."""
    if operation == "BatchWriteItem":
        ((table, requests),) = asked["RequestItems"].items()
        return table, [
            (_key(each["PutRequest"]["Item"] if "PutRequest" in each else each["DeleteRequest"]["Key"]), True)
            for each in requests
        ]
    if operation == "TransactWriteItems":
        ops = [next(iter(each.items())) for each in asked["TransactItems"]]
        return ops[0][1]["TableName"], [
            (_key(op.get("Item") or op["Key"]), kind != "ConditionCheck") for kind, op in ops
        ]
    return asked["TableName"], [(_key(asked.get("Item") or asked["Key"]), True)]


def _projection(asked: Mapping[str, Any]) -> list[str] | None:
    """The attributes that are asked for; None for all."""
    if "ProjectionExpression" not in asked:
        return None
    names = asked.get("ExpressionAttributeNames", {})
    return [names.get(part.strip(), part.strip()) for part in asked["ProjectionExpression"].split(",")]


def _unprojected(asked: Mapping[str, Any]) -> Body:
    """The same request for whole items."""
    if "ProjectionExpression" not in asked:
        return dict(asked)
    rest = {name: value for name, value in asked.items() if name != "ProjectionExpression"}
    used = " ".join(str(value) for name, value in rest.items() if name.endswith("Expression"))
    names = {name: value for name, value in rest.pop("ExpressionAttributeNames", {}).items() if _uses(used, name)}
    return rest | ({"ExpressionAttributeNames": names} if names else {})


def _uses(expressions: str, name: str) -> bool:
    return re.search(re.escape(name) + r"(?![A-Za-z0-9_])", expressions) is not None


def _whole(operation: str, asked: Body) -> Body:
    if operation == "BatchGetItem":
        return asked | {"RequestItems": {table: _unprojected(one) for table, one in asked["RequestItems"].items()}}
    return {name: value for name, value in _unprojected(asked).items() if name != "Select"}


def _only(items: Iterable[Body], wanted: Sequence[str] | None) -> list[Body]:
    return [item if wanted is None else {name: item[name] for name in wanted if name in item} for item in items]


def _as_asked(operation: str, asked: Body, found: Body) -> Body:
    if operation == "GetItem":
        return found | ({"Item": _only([found["Item"]], _projection(asked))[0]} if found.get("Item") else {})
    if operation == "BatchGetItem":
        answers = found["Responses"]
        return found | {
            "Responses": {
                table: _only(answers.get(table, ()), _projection(one)) for table, one in asked["RequestItems"].items()
            }
        }
    if asked.get("Select") == "COUNT":
        return {name: value for name, value in found.items() if name != "Items"}
    return found | {"Items": _only(found["Items"], _projection(asked))}


def _json(body: Body) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), content_type="application/x-amz-json-1.0")


def _length(answer: web.Response) -> int:
    return len(answer.body) if isinstance(answer.body, bytes) else 0


def _pattern(text: str) -> str:
    """The regular expression of a pattern of protos.table.ITEMS."""
    parts = re.split(r"(<[^>]*>|\[|\])", text)
    return "".join(
        {"[": "(?:", "]": ")?"}.get(part, ".+?" if part.startswith("<") else re.escape(part)) for part in parts
    )


# The longest fixed text first: a lease's partition also fits the pattern of an event's.
_NAMES = sorted(
    (
        (
            len(re.sub(r"<[^>]*>", "", item.partition + item.sort_key)),
            re.compile(_pattern(item.partition)),
            re.compile(_pattern(item.sort_key)),
            item.name,
        )
        for item in ITEMS
    ),
    key=lambda each: -each[0],
)


def item_name(partition: str, sort_key: str) -> str:
    """The name of a sort of item in protos.table.ITEMS."""
    for _, first, second, name in _NAMES:
        if first.fullmatch(partition) and second.fullmatch(sort_key):
            return name
    return "other"
