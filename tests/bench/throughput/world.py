"""What a measurement runs on: two stacks, the meters of their processor time, and loads in a closed loop."""

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import redis.asyncio as redis_py

from deploy.local.console import Console
from deploy.local.stack import SERVICES, Options, Stack, running
from protos.graph.v1 import graph_pb2_grpc
from protos.node.v1 import node_pb2_grpc
from protos.table import user_partition
from shared.dynamo import Table
from shared.dynamo.size import item_bytes
from tests.bench import quiet
from tests.bench.cost.units import indexes_of
from tests.bench.graph.openloop import ANSWERS
from tests.support.stores import Stores

PROCESSES = (1, 2)
IN_FLIGHT = (1, 8, 32)
MOST = max(IN_FLIGHT)
CONNECTIONS = 8
Cell = dict[str, Any]
# The clock of a process, all threads together, as clock_getcpuclockid() names it.
_CPU_CLOCK = 2
# What DynamoDB adds to each item and each entry of an index.
_ENTRY_BYTES = 100
# Notes are relinked again when others come within this time, and a user is at rest after it. 20 s is the default: each
# measurement with writes waits so long. Less than a burst takes to be indexed would relink its first notes once more.
_LINGER_SECONDS = 10
# An event is on its way from the outbox to the queue for less than this time.
_ON_ITS_WAY_SECONDS = 1.0


def processor(pid: int) -> float:
    """Seconds of processor that a process and its children have taken."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK) + sum(processor(int(child)) for child in children)


class Meter:
    """The processor time of named processes, less what they take while idle."""

    def __init__(self, pids: Mapping[str, Sequence[int]]) -> None:
        self._pids = pids
        self._idle = dict.fromkeys(pids, 0.0)
        self._from: dict[str, float] = {}
        self._began = 0.0

    async def calibrate(self, seconds: float) -> None:
        """Measure what the processes take without a load."""
        self._idle = dict.fromkeys(self._pids, 0.0)
        self.start()
        await asyncio.sleep(seconds)
        self._idle = {name: used / seconds for name, used in self.used().items()}

    def start(self) -> None:
        self._began = time.perf_counter()
        self._from = self._now()

    def used(self) -> dict[str, float]:
        """Seconds since start()."""
        took = time.perf_counter() - self._began
        return {name: max(0.0, now - self._from[name] - self._idle[name] * took) for name, now in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: sum(map(processor, pids)) for name, pids in self._pids.items()}


class Rotation:
    """Stubs of one service on several connections, used in turn."""

    def __init__(self, stubs: Sequence[Any]) -> None:
        self._next = itertools.cycle(stubs)

    def __getattr__(self, name: str) -> Any:
        return getattr(next(self._next), name)


class World:
    """A running stack with so many processes a service, and its meter."""

    def __init__(self, stack: Stack, count: int) -> None:
        self.stack = stack
        self.count = count
        self.stores = Stores(stack.endpoints, stack.resources)
        self.meter = Meter({name: [stack.children[name].pid] for name in SERVICES})
        self.graph_port = int(stack.addresses["graph"].rpartition(":")[2])

    @contextlib.asynccontextmanager
    async def stubs(self, in_flight: int) -> AsyncIterator[tuple[Any, Any]]:
        """(node, graph)"""
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with contextlib.AsyncExitStack() as stack:
            made: list[Any] = []
            for name, stub in (("node", node_pb2_grpc.NodeServiceStub), ("graph", graph_pb2_grpc.GraphServiceStub)):
                channels = [
                    await stack.enter_async_context(
                        grpc.aio.insecure_channel(self.stack.addresses[name], options=options)
                    )
                    for _ in range(min(in_flight, CONNECTIONS) * self.count)
                ]
                await asyncio.gather(*(channel.channel_ready() for channel in channels))
                made.append(Rotation([stub(channel) for channel in channels]))
            yield made[0], made[1]

    async def until_quiet(self, users: Sequence[str]) -> None:
        """Wait until the events are handled and the notes of these users are linked for good."""
        for _ in range(2):  # what was on its way the first time has arrived
            await asyncio.sleep(_ON_ITS_WAY_SECONDS)
            for user in users:
                await quiet.until_quiet(self.stores, user)

    async def redis_info(self, name: str) -> int:
        """A number of Redis about itself, as its INFO names it."""
        async with redis_py.Redis.from_url(self.stores.redis_url) as redis:
            return int((await redis.info())[name])

    async def table_bytes(self, user: str) -> int:
        """Bytes that DynamoDB charges storage for: all items of a user, and their entries in the indexes."""
        found = 0
        async with self.stores.client("dynamodb") as dynamodb:
            name = self.stack.resources.table
            indexes = indexes_of((await dynamodb.describe_table(TableName=name))["Table"])
            async for item in Table(dynamodb, name).query_all(user_partition(user)):
                entries = [entry for index in indexes if (entry := index.entry(item)) is not None]
                found += sum(item_bytes(dict(each)) + _ENTRY_BYTES for each in (item, *entries))
        return found


@contextlib.asynccontextmanager
async def worlds(idle_seconds: float) -> AsyncIterator[list[World]]:
    """A stack for each of PROCESSES; both run at the same time."""
    async with contextlib.AsyncExitStack() as undo:
        made = []
        for count in PROCESSES:
            options = Options(
                data=Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="brain2-bench-"))),
                port_base=None,
                log_level="WARNING",
                trace_ratio=0.01,
                save_seconds=0,
                workers=count,
                extra_env={"BRAIN2_RELINK_LINGER_SECONDS": str(_LINGER_SECONDS)},
            )
            made.append(World(await undo.enter_async_context(running(options, Console(quiet=True))), count))
        await asyncio.sleep(2.0)
        await asyncio.gather(*(world.meter.calibrate(idle_seconds) for world in made))
        yield made


async def closed(begin: Callable[[], Awaitable[Any]], in_flight: int, calls: int) -> tuple[float, int]:
    """So many calls, so many at a time: (seconds, refusals that the load itself causes)."""
    left = calls
    refused = 0

    async def worker() -> None:
        nonlocal left, refused
        while left > 0:
            left -= 1
            try:
                await begin()
            except grpc.aio.AioRpcError as error:
                if error.code() not in ANSWERS:
                    raise
                refused += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return time.perf_counter() - began, refused


def cell(calls: int, seconds: float, used: Mapping[str, float], refused: int = 0) -> Cell:
    """One measurement. us: microseconds of processor a call, by service."""
    us = {name: round(value / calls * 1e6, 1) for name, value in used.items()}
    return {"rps": round(calls / seconds, 1), "us": us, "us_all": round(sum(us.values()), 1), "refused": refused}


def median(cells: Sequence[Cell]) -> Cell:
    """The median of each number of several measurements."""
    found: Cell = {}
    for name, value in cells[0].items():
        each = [cell[name] for cell in cells]
        found[name] = median(each) if isinstance(value, dict) else round(statistics.median(each), 2)
    return found
