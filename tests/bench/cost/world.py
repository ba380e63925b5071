"""A whole stack behind the counting proxy, and calls to it."""

import asyncio
import contextlib
import io
import os
import random
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import redis.asyncio

from deploy.local import provision
from deploy.local import stores as launched
from deploy.local.console import Console
from deploy.local.stack import Options, Stack
from deploy.local.stack import running as stack_running
from protos.graph.v1 import graph_pb2_grpc
from protos.node.v1 import node_pb2_grpc
from protos.similarity.v1 import similarity_pb2_grpc
from tests.bench.cost.proxy import Bill, CostProxy
from tests.bench.quiet import queued, relinking
from tests.support.stores import Stores

# How long nothing must be asked of the stores until an operation counts as over.
QUIET_SECONDS = 3.0
_LONGEST_SECONDS = 180.0


@dataclass
class World:
    """A stack and what is counted of it."""

    stack: Stack
    stores: Stores
    proxy: CostProxy
    nodes: Any
    graph: Any
    similarity: Any

    async def cost(self, work: Awaitable[Any], user_id: str = "") -> Bill:
        """The bill of an operation and of everything that follows it. user_id: whose links are waited for."""
        self.proxy.bill = bill = Bill()
        await work
        await self.quiet(user_id)
        self.proxy.check()
        self.proxy.bill = Bill()
        return bill

    async def quiet(self, user_id: str = "") -> None:
        """Wait until the stores are left alone and nothing of the user is to be linked any more."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _LONGEST_SECONDS
        while loop.time() < ends:
            await asyncio.sleep(0.25)
            if loop.time() - self.proxy.busy_at < QUIET_SECONDS:
                continue
            if not (user_id and await relinking(self.stores, user_id)) and not await queued(self.stores):
                return
        raise RuntimeError(f"the stack was not quiet within {_LONGEST_SECONDS:.0f} s")

    async def forget_caches(self) -> None:
        """Empty Redis, as if no cache had been filled yet: no service keeps notes or lists in its own memory here."""
        client = redis.asyncio.Redis.from_url(self.stores.redis_url)
        await client.flushall()
        await client.aclose()


@contextlib.asynccontextmanager
async def world(data: Path) -> AsyncIterator[World]:
    """Stores, the proxy before them, and four services that know the proxy alone."""
    log = io.StringIO()
    console = Console(log, quiet=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.push(lambda kind, error, trace: print(log.getvalue()[-20_000:]) if error is not None else None)
        started = await launched.start(data / "stores", on_line=console.log, env={}, save_seconds=3600)
        stack.push_async_callback(started.stop)
        direct = started.endpoints
        upstream = {"dynamodb": direct.dynamodb, "events": direct.eventbridge, "sqs": direct.sqs}
        definition = provision.table_definition(provision.TEMPLATE.read_text(encoding="utf-8"))
        proxy = await stack.enter_async_context(CostProxy(upstream, definition).running())
        env = {
            "DYNAMODB_ENDPOINT": proxy.urls["dynamodb"],
            "EVENTBRIDGE_ENDPOINT": proxy.urls["events"],
            "SQS_ENDPOINT": proxy.urls["sqs"],
            "S3_ENDPOINT": direct.s3,
            "CLOUDFORMATION_ENDPOINT": direct.cloudformation,
            "REDIS_URL": direct.redis,
            # What a relinking costs does not depend on how long the next one may be part of it.
            "BRAIN2_RELINK_LINGER_SECONDS": "1",
            # A list in memory costs as little as one in Redis, and could not be forgotten.
            "BRAIN2_L1_BYTES": "0",
            **launched.credentials({}),
        }
        stack.enter_context(mock.patch.dict(os.environ, env))
        options = Options(data=data, port_base=None, log_level="WARNING", trace_ratio=0.0)
        made = await stack.enter_async_context(stack_running(options, console))
        channels = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(made.addresses[name]))
            for name in ("node", "graph", "similarity")
        }
        yield World(
            made,
            Stores(direct, made.resources),
            proxy,
            node_pb2_grpc.NodeServiceStub(channels["node"]),
            graph_pb2_grpc.GraphServiceStub(channels["graph"]),
            similarity_pb2_grpc.SimilarityServiceStub(channels["similarity"]),
        )


_LETTERS = "bdfgklmnprtvz"


class Words:
    """Words that no other note has, the same in every run."""

    def __init__(self, seed: int = 1) -> None:
        self._rng = random.Random(seed)

    def some(self, count: int) -> list[str]:
        return ["".join(self._rng.choice(_LETTERS) + self._rng.choice("aiou") for _ in range(4)) for _ in range(count)]

    def text(self, words: list[str], size: int) -> str:
        """A text of these words in any order, of so many bytes."""
        found = list(words)
        while sum(map(len, found)) + len(found) < size:
            found.append(self._rng.choice(words))
        self._rng.shuffle(found)
        return " ".join(found)[:size]
