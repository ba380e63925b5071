"""The machine's own speed: an echo of grpc.aio, one handler that makes one call to Redis, and one TransactWriteItems.

The requests to DynamoDB are those that the node service makes: its own use cases write to a client that keeps them.
They are sent later by a client of aioboto3 as anyone gets it.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import grpc

from deploy.local import processes
from services.node_service.adapters.dynamo import DynamoNodeStore
from services.node_service.adapters.envelope import Enveloper
from services.node_service.model import Cascade, Draft, Summary
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.optimistic_concurrency import OptimisticConcurrency
from services.node_service.usecases.restore_node import restore_node
from shared import telemetry
from shared.dynamo import Table
from shared.events.outbox import Outbox
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from tests.bench.graph import bare
from tests.support.stores import Stores

USER = "bare"
Request = Mapping[str, Any]


@contextlib.asynccontextmanager
async def server(answer: bytes, stores: Stores, command: Sequence[str] = ()) -> AsyncIterator[Any]:
    """The one method of a server of grpc.aio, which answers these bytes; with a command, after one call to Redis."""
    (port,) = processes.free_ports(1)
    config = {
        "port": port,
        "loop": "uvloop",
        "answer": answer.hex(),
        "redis_url": stores.redis_url,
        "command": list(command),
    }
    argv = [sys.executable, "-m", bare.__name__, json.dumps(config)]
    async with serving(argv, {}, port) as channel:
        yield channel.unary_unary(bare.METHOD)


@contextlib.asynccontextmanager
async def serving(argv: Sequence[str], env: Mapping[str, str], port: int) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that runs as a process until the end of the block."""
    import os

    child = await processes.start(
        argv[2], argv, env={**os.environ, **env}, on_line=lambda *line: print(*line, file=sys.stderr)
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 30)
            yield channel
    finally:
        await child.stop(10.0)


class Keeper:
    """In the place of a client of DynamoDB: reads, and keeps the transactions instead of sending them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.kept: list[Request] = []

    async def get_item(self, **request: Any) -> Any:
        return await self._client.get_item(**request)

    async def transact_write_items(self, **request: Any) -> Any:
        self.kept.append(request)
        return {}


class _OneDay:
    async def seconds(self, user_id: str) -> int:
        return 86_400


class _Alone:
    def announce(self, node: Summary) -> "_Alone":
        return self

    async def confirm(self, spent: float) -> None: ...

    async def withdraw(self) -> None: ...

    async def set_visibility(self, node: Summary, spent: float) -> None: ...


class BareStore:
    """Sends to DynamoDB what the node service would send."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._keeper = Keeper(client)
        clock = SystemClock()
        ids = UlidFactory(clock)
        found = Table(cast(Any, self._keeper), table)
        idempotency = Idempotency(found, "node", clock)
        # Of no service, so that nobody publishes its events.
        outbox = Outbox(found, cast(Any, None), service="bare", bus="none", clock=clock)
        self._notes = Notes(
            store=DynamoNodeStore(found, outbox, idempotency, Enveloper(ids, telemetry.inject)),
            idempotency=idempotency,
            retentions=_OneDay(),
            visibility=_Alone(),
            publisher=cast(Any, None),
            concurrency=OptimisticConcurrency(),
            clock=clock,
            ids=ids,
            max_answer_bytes=1 << 22,
        )

    async def creation(self, draft: Draft) -> Request:
        """The request of a creation."""
        await create_node(self._notes, USER, draft, None)
        return self._keeper.kept.pop()

    async def deletion(self, node_id: str) -> Request:
        """The request of the deletion of a note that was created."""
        await delete_node(self._notes, USER, node_id, "", Cascade.EDGES, None)
        return self._keeper.kept.pop()

    async def restoration(self, node_id: str) -> Request:
        """The request of the restore of a note whose deletion was sent."""
        await restore_node(self._notes, USER, node_id, None)
        return self._keeper.kept.pop()

    async def send(self, request: Request) -> None:
        """One TransactWriteItems."""
        await self._client.transact_write_items(**request)
