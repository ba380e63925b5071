"""`make bench-throughput`: calls a second and processor a call, with one and two processes a service.

Everything shares this machine, so calls a second are what it gives beside its own load and stores. Processor a call is
what the services' processes took, by the kernel's account, with the work in the background that a write leaves behind;
what they take while idle is subtracted. From it follow the calls of one core and the cores of a rate. A bare grpc.aio
echo of the same bytes is measured in the same run, so that the machine's own speed is known.

GetNeighbors is answered from memory. The mixes are those of tests/bench/graph/mixes.py: LinkBench (SIGMOD 2013) and TAO
(USENIX ATC 2013). Loads are closed loops: so many calls are in flight for each process, on up to eight connections for
each process.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import redis.asyncio as redis_py

from deploy.local import processes
from deploy.local.console import Console
from deploy.local.stack import SERVICES, Options, Stack
from deploy.local.stack import running as stack_running
from protos.graph.v1 import graph_pb2, graph_pb2_grpc
from protos.node.v1 import node_pb2, node_pb2_grpc
from protos.table import user_partition
from shared.dynamo import Table
from shared.dynamo.size import item_bytes
from tests.bench import page
from tests.bench.cost.units import indexes_of
from tests.bench.graph import bare, seed
from tests.bench.graph.hot import GET
from tests.bench.graph.load import rate
from tests.bench.graph.mixes import LINKBENCH, TAO, Workload
from tests.bench.graph.openloop import ANSWERS
from tests.bench.graph.world import Bench, call
from tests.bench.similarity.corpus import Sample, collection, read
from tests.support.stores import Stores

IN_FLIGHT = (1, 8, 32)
PROCESSES = (1, 2)
_CONNECTIONS = 8
_TICKS = os.sysconf("SC_CLK_TCK")
_RATE = 10_000
# What DynamoDB adds to each item and each entry of an index.
_ENTRY_BYTES = 100
# Links of automatic links are made this many seconds after a burst of notes at the latest.
_QUIET_SECONDS = 3.0
Cell = dict[str, Any]


def processor(pid: int) -> float:
    """Seconds of processor that a process and its children have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / _TICKS + sum(processor(int(child)) for child in children)


class Meter:
    """The processor time of named processes, less what they take while idle."""

    def __init__(self, pids: Mapping[str, int]) -> None:
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
        self._from = {name: processor(pid) for name, pid in self._pids.items()}

    def used(self) -> dict[str, float]:
        """Seconds since start()."""
        took = time.perf_counter() - self._began
        return {
            name: max(0.0, processor(pid) - self._from[name] - self._idle[name] * took)
            for name, pid in self._pids.items()
        }


class Rotation:
    """Stubs of one service on several connections, used in turn."""

    def __init__(self, stubs: Sequence[Any]) -> None:
        self._next = itertools.cycle(stubs)

    def __getattr__(self, name: str) -> Any:
        return getattr(next(self._next), name)


class World:
    """A running stack, its meter, and stubs on so many connections."""

    def __init__(self, stack: Stack, count: int) -> None:
        self.stack = stack
        self.count = count
        self.stores = Stores(stack.endpoints, stack.resources)
        self.meter = Meter({name: stack.children[name].pid for name in SERVICES})

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
                    for _ in range(min(in_flight, _CONNECTIONS) * self.count)
                ]
                await asyncio.gather(*(channel.channel_ready() for channel in channels))
                made.append(Rotation([stub(channel) for channel in channels]))
            yield made[0], made[1]

    async def until_quiet(self) -> None:
        """Wait until the events are handled and the links are made."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        quiet = 0.0
        async with self.stores.client("sqs") as sqs:
            while quiet < _QUIET_SECONDS:
                await asyncio.sleep(0.5)
                quiet += 0.5
                for url in self.stack.resources.queues.values():
                    found = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names))["Attributes"]
                    if any(int(found[name]) for name in names):
                        quiet = 0.0


async def closed(begin: Callable[[], Awaitable[Any]], in_flight: int, seconds: float) -> tuple[int, float, int]:
    """So many calls at a time for so long: (calls, seconds, refusals that the load itself causes)."""
    ends = time.perf_counter() + seconds
    calls = refused = 0

    async def worker() -> None:
        nonlocal calls, refused
        while time.perf_counter() < ends:
            calls += 1
            try:
                await begin()
            except grpc.aio.AioRpcError as error:
                if error.code() not in ANSWERS:
                    raise
                refused += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return calls, time.perf_counter() - began, refused


def cell(calls: int, seconds: float, used: Mapping[str, float], refused: int = 0) -> Cell:
    """One measurement. us: microseconds of processor a call, by service."""
    us = {name: round(value / calls * 1e6, 1) for name, value in used.items()}
    return {"rps": round(calls / seconds, 1), "us": us, "us_all": round(sum(us.values()), 1), "refused": refused}


async def lookups(world: World, calls: int) -> dict[str, Cell]:
    """GetNeighbors of one note with ten neighbours, from memory."""
    port = int(world.stack.addresses["graph"].rpartition(":")[2])
    await seed.ring(world.stores, "bench-lookup", 100, each=5)
    request = graph_pb2.GetNeighborsRequest(user_id="bench-lookup", node_id=seed.name(0)).SerializeToString()
    answer = await call(port, GET, request)
    # Every worker fills its memory.
    await rate(port, GET, request, max(calls // 4, 100), len(answer), connections=16, streams=2)
    return {
        str(each): await _lookup(world.meter, port, GET, request, answer, calls, each, world.count)
        for each in IN_FLIGHT
    }


async def _lookup(
    meter: Meter, port: int, method: str, request: bytes, answer: bytes, calls: int, in_flight: int, count: int
) -> Cell:
    connections = min(in_flight, _CONNECTIONS)
    # One call at a time takes as long as the way there and back.
    calls = calls // 4 if in_flight == 1 else calls
    meter.start()
    found = await rate(
        port,
        method,
        request,
        calls * count,
        len(answer),
        connections=connections * count,
        streams=in_flight // connections,
    )
    return cell(calls * count, calls * count / found.calls, meter.used())


async def echo(calls: int, size: int, loop: str) -> dict[str, Cell]:
    """A bare grpc.aio server that answers so many bytes."""
    answer = b"x" * size
    (port,) = processes.free_ports(1)
    async with contextlib.AsyncExitStack() as stack:
        servers = Bench(None, stack)  # type: ignore[arg-type]
        pid = await servers.bare_process(answer, port, loop=loop)
        meter = Meter({"echo": pid})
        await rate(port, bare.METHOD, b"warm", max(calls // 4, 100), size)
        request = graph_pb2.GetNeighborsRequest(user_id="bench-lookup", node_id=seed.name(0)).SerializeToString()
        return {
            str(each): await _lookup(meter, port, bare.METHOD, request, answer, calls, each, 1) for each in IN_FLIGHT
        }


async def mix(
    world: World, shares: Mapping[str, float], notes: int, seconds: float, *, writes: bool
) -> dict[str, Cell]:
    """Operations of a mix on one user's graph, with the work in the background that its writes cause."""
    found: dict[str, Cell] = {}
    rng = random.Random(notes)
    async with world.stubs(max(IN_FLIGHT)) as (nodes, graph):
        work = Workload(f"bench-{len(shares)}-{world.count}", notes, nodes, graph, rng)
        await work.fill(world.stores)
        await world.until_quiet()
    names, weights = list(shares), list(shares.values())
    for in_flight in IN_FLIGHT:
        async with world.stubs(in_flight) as (nodes, graph):
            work.connect(nodes, graph)
            commands = await redis_info(world, "total_commands_processed")
            world.meter.start()
            calls, took, refused = await closed(
                lambda: work.operation(rng.choices(names, weights)[0]), in_flight * world.count, seconds
            )
            if writes:
                await world.until_quiet()
            found[str(in_flight)] = cell(calls, took, world.meter.used(), refused)
            commands = await redis_info(world, "total_commands_processed") - commands
            found[str(in_flight)]["redis_commands"] = round(commands / calls, 2)
    return found


async def creates(world: World, samples: Sequence[Sample], seconds: float) -> tuple[dict[str, Cell], float]:
    """CreateNode of real notes; the processor includes that they are indexed and linked.

    Also returns the bytes that DynamoDB stores a note.
    """
    found: dict[str, Any] = {}
    numbers = itertools.count()
    for in_flight in IN_FLIGHT:
        user = f"bench-create-{world.count}-{in_flight}"
        async with world.stubs(in_flight) as (nodes, _):

            def create(user: str = user, nodes: Any = nodes) -> Awaitable[Any]:
                number = next(numbers)
                sample = samples[number % len(samples)]
                # Each note once for each user, as far as there are so many.
                draft = node_pb2.NewNode(node_id=f"n{number}", title=sample.title, content=sample.text)
                made: Awaitable[Any] = nodes.CreateNode(node_pb2.CreateNodeRequest(user_id=user, node=draft))
                return made

            world.meter.start()
            calls, took, refused = await closed(create, in_flight * world.count, seconds)
            await world.until_quiet()
            found[str(in_flight)] = cell(calls, took, world.meter.used(), refused)
    return found, await table_bytes(world, user) / calls


async def table_bytes(world: World, user: str) -> int:
    """Bytes that DynamoDB charges storage for: all items of a user, and their entries in the indexes."""
    found = 0
    async with world.stores.client("dynamodb") as dynamodb:
        name = world.stack.resources.table
        indexes = indexes_of((await dynamodb.describe_table(TableName=name))["Table"])
        async for item in Table(dynamodb, name).query_all(user_partition(user)):
            entries = [entry for index in indexes if (entry := index.entry(item)) is not None]
            found += sum(item_bytes(dict(each)) + _ENTRY_BYTES for each in (item, *entries))
    return found


async def redis_info(world: World, name: str) -> int:
    """A number of Redis about itself, as its INFO names it."""
    async with redis_py.Redis.from_url(world.stores.redis_url) as redis:
        return int((await redis.info())[name])


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All of it; see table() for what comes out."""
    found: dict[str, Any] = {name: {} for name in ("lookup", "linkbench", "tao", "create")}
    found["shares"] = {"linkbench": LINKBENCH, "tao": TAO}
    samples = read(collection())
    for count in PROCESSES:
        with tempfile.TemporaryDirectory(prefix="brain2-bench-") as folder:
            made = Options(
                data=Path(folder), port_base=None, log_level="WARNING", trace_ratio=0.01, save_seconds=0, workers=count
            )
            async with stack_running(made, Console(quiet=True)) as stack:
                world = World(stack, count)
                await asyncio.sleep(2.0)
                await world.meter.calibrate(options.seconds)
                key = str(count)
                _say(f"{count} process(es) a service: lookups")
                found["lookup"][key] = await lookups(world, options.calls)
                if count == 1:
                    request = graph_pb2.GetNeighborsRequest(user_id="bench-lookup", node_id=seed.name(0))
                    port = int(stack.addresses["graph"].rpartition(":")[2])
                    size = len(await call(port, GET, request.SerializeToString()))
                    for name, loop in (("echo", "asyncio"), ("echo_uvloop", "uvloop")):
                        found[name] = {key: await echo(options.calls, size, loop)}
                # Reads first: no work of writes is left behind then.
                _say("TAO's mix")
                before = await redis_info(world, "used_memory")
                found["tao"][key] = await mix(world, TAO, options.notes, options.seconds, writes=False)
                taken = await redis_info(world, "used_memory") - before
                found["redis_bytes_a_note"] = round(taken / options.notes)
                _say("LinkBench's mix")
                found["linkbench"][key] = await mix(world, LINKBENCH, options.notes, options.seconds, writes=True)
                _say("creates")
                found["create"][key], stored = await creates(world, samples, options.seconds)
                found["stored_bytes_a_note"] = round(stored)
    return found | conclusions(found)


def conclusions(found: Mapping[str, Any]) -> dict[str, Any]:
    """Ratios, and what a core gives, from the cells with the most calls in flight."""
    most = str(max(IN_FLIGHT))
    us = {name: found[name]["1"][most] for name in ("lookup", "linkbench", "tao", "create")}
    return {
        "lookup_vs_echo": round(found["echo"]["1"][most]["us_all"] / us["lookup"]["us"]["graph"], 2),
        "lookup_vs_echo_uvloop": round(found["echo_uvloop"]["1"][most]["us_all"] / us["lookup"]["us"]["graph"], 2),
        # What two processes give for what one gives, if each has a core.
        "two_processes": {
            name: round(2 * each["us_all"] / found[name]["2"][most]["us_all"], 2) for name, each in us.items()
        },
        "calls_of_one_core": {name: round(1e6 / each["us_all"]) for name, each in us.items()},
        "cores_for_10000": {
            name: {service: round(_RATE * value / 1e6, 2) for service, value in each["us"].items()}
            for name, each in us.items()
        },
    }


_TITLES = {
    "lookup": "GetNeighbors from memory",
    "echo": "bare grpc.aio echo of the same bytes",
    "echo_uvloop": "... that runs on uvloop, as the services do",
    "linkbench": "LinkBench's mix",
    "tao": "TAO's mix of reads",
    "create": "CreateNode, indexed and linked",
}


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    most = str(max(IN_FLIGHT))
    lines = [
        f"Measured {found['date']} on {found['machine']}, which the load and the stores share; load average "
        f"{found['load']}. Calls a second / microseconds of processor a call in all services together.",
        "",
        "| | processes | " + " | ".join(f"{each} in flight a process" for each in IN_FLIGHT) + " |",
        "|---|---|" + "---|" * len(IN_FLIGHT),
    ]
    for name, title in _TITLES.items():
        for count, cells in found[name].items():
            shown = (f"{each['rps']:,.0f} / {each['us_all']:,.0f}" for each in cells.values())
            lines.append(f"| {title} | {count} | {' | '.join(shown)} |")
    lines += [
        "",
        f"A note of {found['corpus']} takes {found['stored_bytes_a_note']:,} bytes of DynamoDB with its index record, "
        f"keywords and links; a note of a mix with five links takes {found['redis_bytes_a_note']:,} bytes of Redis.",
        "",
        f"Calls by processor, a lookup from memory against the bare echo: {found['lookup_vs_echo']} (goal >= 1); "
        f"against the echo on uvloop: {found['lookup_vs_echo_uvloop']}.",
        "",
        f"| {most} in flight a process | one core gives, a second | cores for {_RATE:,} a second, by service "
        "| two processes, by processor a call (goal >= 1.8) |",
        "|---|---|---|---|",
    ]
    for name, given in found["calls_of_one_core"].items():
        cores = found["cores_for_10000"][name]
        parts = ", ".join(f"{service} {value:g}" for service, value in cores.items() if value >= 0.05)
        lines.append(f"| {_TITLES[name]} | {given:,} | {parts} | {found['two_processes'][name]} |")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(f"measuring: {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Calls a second and processor a call, with one and two processes.")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works, nothing else")
    parser.add_argument("--seconds", type=float, default=2.5, help="of each measurement of mixes and creates")
    parser.add_argument("--calls", type=int, default=10_000, help="of each measurement of lookups")
    parser.add_argument("--notes", type=int, default=300, help="of the user of a mix")
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.calls, options.notes = 1.0, 800, 100
    conditions = {
        "machine": page.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
        "corpus": collection().name,
    }
    found = conditions | asyncio.run(measure(options))
    print(table(found))
    page.write("throughput", "Throughput", found, table(found), options.out)


if __name__ == "__main__":
    main()
