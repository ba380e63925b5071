"""A proxy in front of DynamoDB, EventBridge and SQS that counts what AWS would charge for.

It asks DynamoDB for whole items, so that their sizes are known, and gives its caller what was asked for. For each write
it reads the images before and after, one write at a time: the counts are exact, and the times mean nothing. A request
that no rule covers is an error of the measurement, and never free (CostProxy.check).
"""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from protos.table import ITEMS, SERVICES
from tests.bench.cost import units

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "expect"}
_EVENT_CHUNK = 64 * 1024
_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}
_READS = {"GetItem", "BatchGetItem", "Query"}
# What makes and describes a table costs nothing.
_FREE = re.compile(r"(Create|Describe|Update)(Table|TimeToLive|ContinuousBackups)|ListTables")
# What DynamoDB answers to a write that it has not tried.
_REFUSED = {
    "ValidationException",
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
}
# The same as reasons of a transaction that was cancelled.
_REFUSED_REASONS = {"None", "ValidationError", "ThrottlingError", "ProvisionedThroughputExceeded"}
_CONDITION = " (condition)"
_OUTBOX = "event in the outbox"
Body = dict[str, Any]
Key = tuple[str, str]
Write = tuple[Key, bool]


class UncountedError(Exception):
    """A request for whose cost there is no rule here."""


class Bill:
    """What was counted since it was made.

    write_units, read_units: by the sort of item; of an index by its name, and for writes also by the sort of item. An
    item that every service has, like an event in the outbox, is named with its service.
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

    def write_units_of(self, service: str) -> int:
        """Of the items of one service."""
        return sum(
            count
            for name, count in self.write_units.items()
            if OWNERS[name.removesuffix(_CONDITION).rpartition(": ")[2]] == service
        )

    def numbers(self) -> dict[str, Any]:
        """As it is written to cost.json."""
        return {
            "write_units": sum(self.write_units.values()),
            "read_units": sum(self.read_units.values()),
            "requests": sum(self.requests.values()),
            "events": sum(self.events.values()),
            "event_chunks": self.event_chunks,
            "bytes": self.bytes,
            "write_units_by_service": {service: self.write_units_of(service) for service in SERVICES},
            "write_units_by": dict(sorted(self.write_units.items())),
            "read_units_by": dict(sorted(self.read_units.items())),
            "requests_by": dict(sorted(self.requests.items())),
            "events_by": dict(sorted(self.events.items())),
        }


# Reads that a service makes at intervals, whether something is to be done or not.
POLLED = frozenset(
    {
        "journal entry",
        "DeletionQueue",
        "lease of a deletion shard",
        *(f"{name} of {service}" for name in (_OUTBOX, "lease of an outbox shard") for service in SERVICES),
    }
)


class CostProxy:
    """`async with CostProxy(upstream, definition).running() as proxy` listens on proxy.url.

    upstream: service name ("dynamodb", "events", "sqs") -> endpoint. definition: of the table, as for CreateTable.
    bill: everything. polls: the requests that services make at intervals, which `bill` does not have.
    uncounted: the first request that could not be counted, which check() raises.
    """

    def __init__(self, upstream: Mapping[str, str], definition: Mapping[str, Any]) -> None:
        self.bill = Bill()
        self.polls = Bill()
        # The time of the loop at which something other than a poll was asked for last.
        self.busy_at = 0.0
        self.uncounted: Exception | None = None
        self._upstream = {name: URL(url) for name, url in upstream.items()}
        self._indexes = units.indexes_of(definition)
        self._session: aiohttp.ClientSession | None = None
        self._writing = asyncio.Lock()
        # Of the transactions that were written: a repetition of one is charged as a read.
        self._tokens: set[str] = set()
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
                handler: Any = partial(self._handle, getattr(self, f"_{name}"))
                runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
                self.urls[name] = f"http://127.0.0.1:{port}"
            yield self

    def check(self) -> None:
        """UncountedError when a request could not be counted."""
        if self.uncounted is not None:
            raise UncountedError(f"not counted: {self.uncounted!r}") from self.uncounted

    # ------------------------------------------------------------------ the services

    async def _handle(self, service: Any, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer: web.StreamResponse = await service(request)
        except (UncountedError, LookupError, TypeError, ValueError) as error:
            self.uncounted = self.uncounted or error
            return web.Response(status=500, text=repr(error))
        return answer

    async def _dynamodb(self, request: web.BaseRequest) -> web.StreamResponse:
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        asked: Body = await request.json()
        if operation in _WRITES:
            return await self._write(request, operation, asked)
        if operation in _READS:
            return await self._read(request, operation, asked)
        if not _FREE.fullmatch(operation):
            raise UncountedError(f"there is no rule for {operation}")
        return await self._forward("dynamodb", request, await request.read())

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        answer = await self._forward("events", request, body)
        if request.headers.get("X-Amz-Target", "") != "AWSEvents.PutEvents":
            return answer
        self._busy()
        self.bill.requests["PutEvents"] += 1
        self.bill.bytes += len(body) + _length(answer)
        results = _body(answer)["Entries"] if answer.status == 200 else ()
        for entry, result in zip(json.loads(body)["Entries"], results, strict=bool(results)):
            if "ErrorCode" in result:
                continue
            size = sum(len(str(entry.get(name, "")).encode()) for name in ("Source", "DetailType", "Detail"))
            self.bill.events[str(entry.get("DetailType"))] += 1
            self.bill.event_chunks += max(1, -(-size // _EVENT_CHUNK))
        return answer

    async def _sqs(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        answer = await self._forward("sqs", request, body)
        received = _body(answer) if operation == "ReceiveMessage" else {"Messages": operation}
        idle = operation == "GetQueueAttributes" or not received.get("Messages")
        bill = self.polls if idle else self.bill
        if not idle:
            self._busy()
        bill.requests[operation] += 1
        bill.bytes += len(body) + _length(answer)
        return answer

    # ------------------------------------------------------------------ reads

    async def _read(self, request: web.BaseRequest, operation: str, asked: Body) -> web.StreamResponse:
        if "FilterExpression" in asked:
            raise UncountedError("DynamoDB charges for what a filter leaves out, which is not in the answer")
        sent = json.dumps(_whole(operation, asked)).encode()
        answer = await self._forward("dynamodb", request, sent)
        if answer.status != 200:
            return answer
        found = _body(answer)
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
            unread = {_key(key) for key in found.get("UnprocessedKeys", {}).get(table, {}).get("Keys", ())}
            for key in wanted["Keys"]:
                if _key(key) in unread:
                    continue
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
        # The sort of its items; of an empty answer that of the key with which the range begins, or of what follows it.
        keys = [_key(item) for item in found["Items"][:1]] or [(first, f"{low}{tail}") for tail in ("", "x", "x#x")]
        names = [name for name in (item_name(*key) for key in keys) if name in OWNERS]
        name = asked.get("IndexName") or (names[0] if names else "other")
        bill.read_units[name] += units.read_units(size, consistent=bool(asked.get("ConsistentRead")))  # type: ignore[assignment]

    # ------------------------------------------------------------------ writes

    async def _write(self, request: web.BaseRequest, operation: str, asked: Body) -> web.StreamResponse:
        table, writes = _written(operation, asked)
        keys = [key for key, _ in writes]
        async with self._writing:
            before = await self._images(request, table, keys)
            body = await request.read()
            answer = await self._forward("dynamodb", request, body)
            after = await self._images(request, table, keys)
        names = {item_name(*key) for key in keys}
        # Leases of polling processes; everything else that is written is work.
        polled = names <= POLLED and not any(name.startswith(_OUTBOX) for name in names)
        bill = self.polls if polled else self.bill
        if not polled:
            self._busy()
        bill.requests[operation] += 1
        bill.bytes += len(body) + _length(answer)
        if operation == "TransactWriteItems" and answer.status == 200 and "ClientRequestToken" in asked:
            if asked["ClientRequestToken"] in self._tokens:
                self._count_repetition(keys, after, bill)
                return answer
            self._tokens.add(asked["ClientRequestToken"])
        self._count_writes(operation, _charged(writes, answer), before, after, bill)
        return answer

    def _count_writes(
        self, operation: str, writes: Sequence[Write], before: Mapping[Key, Body], after: Mapping[Key, Body], bill: Bill
    ) -> None:
        for key, changes in writes:
            was, now = before.get(key), after.get(key)
            name = item_name(*key)
            if name not in OWNERS:
                raise UncountedError(f"no sort of item has the key {key}")
            bill.write_units[name if changes else name + _CONDITION] += units.table_write(
                was, now, transaction=operation == "TransactWriteItems"
            )
            for index in self._indexes:
                if cost := units.index_write(index, was, now):
                    bill.write_units[f"{index.name}: {name}"] += cost

    def _count_repetition(self, keys: Iterable[Key], found: Mapping[Key, Body], bill: Bill) -> None:
        """Of a transaction that was written before: reads its items, as a transaction does."""
        for key in keys:
            size = units.item_size(found.get(key, {}))
            bill.read_units[item_name(*key)] += 2 * units.read_units(size, consistent=True)  # type: ignore[assignment]

    async def _images(self, request: web.BaseRequest, table: str, keys: Sequence[Key]) -> dict[Key, Body]:
        found: dict[Key, Body] = {}
        left: list[Body] = [{"PK": {"S": pk}, "SK": {"S": sk}} for pk, sk in dict.fromkeys(keys)]
        while left:
            asked = {"RequestItems": {table: {"Keys": left[:100], "ConsistentRead": True}}}
            answer = await self._forward("dynamodb", request, json.dumps(asked).encode(), "BatchGetItem")
            body = _body(answer)
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


def _key(item: Mapping[str, Any]) -> Key:
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


def _charged(writes: Sequence[Write], answer: web.Response) -> Sequence[Write]:
    """The writes that DynamoDB charges for: those that it has made, and those whose conditions did not hold."""
    found = _body(answer)
    if answer.status == 200:
        left = found.get("UnprocessedItems")
        unmade = set(_written("BatchWriteItem", {"RequestItems": left})[1]) if left else set()
        return [write for write in writes if write not in unmade]
    code = str(found.get("__type", "")).rpartition("#")[2]
    if code == "ConditionalCheckFailedException":
        return writes
    reasons = {str(reason.get("Code", "None")) for reason in found.get("CancellationReasons", ())}
    if code == "TransactionCanceledException" and reasons <= _REFUSED_REASONS | {"ConditionalCheckFailed"}:
        return writes if "ConditionalCheckFailed" in reasons else ()
    if code not in _REFUSED:
        raise UncountedError(f"there is no rule for {code or answer.status} {sorted(reasons)}")
    return ()


def _body(answer: web.Response) -> Body:
    """{} when it has none."""
    found: Body = json.loads(answer.body or b"{}")  # type: ignore[arg-type]
    return found


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


def _sorts() -> list[tuple[int, re.Pattern[str], re.Pattern[str], str, str]]:
    """Of each sort of item: how much of its key is fixed text, the patterns of its keys, its name and its owner."""
    found = []
    for item in ITEMS:
        for owner in SERVICES if item.owner == "each" else (item.owner,):
            name = f"{item.name} of {owner}" if item.owner == "each" else item.name
            keys = [key.replace("<service>", owner) for key in (item.partition, item.sort_key)]
            fixed = sum(len(re.sub(r"<[^>]*>", "", key)) for key in keys)
            found.append((fixed, re.compile(_pattern(keys[0])), re.compile(_pattern(keys[1])), name, owner))
    # The longest fixed text first: a lease's partition also fits the pattern of an event's.
    return sorted(found, key=lambda each: -each[0])


_SORTS = _sorts()
# The name of a sort of item -> the service whose items they are.
OWNERS = {name: owner for *_, name, owner in _SORTS}


def item_name(partition: str, sort_key: str) -> str:
    """The name of a sort of item in protos.table.ITEMS; with its service, where each service has such items."""
    for _, first, second, name, _ in _SORTS:
        if first.fullmatch(partition) and second.fullmatch(sort_key):
            return name
    return "other"
