"""What is measured: the performance tests of the original design document, one after the other on one stack."""

import asyncio
import contextlib
import io
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import redis.asyncio as redis_py

from deploy.local import processes, stores
from deploy.local.console import Console
from deploy.local.stack import Options
from deploy.local.stack import running as stack_running
from protos.graph.v1 import graph_pb2, graph_pb2_grpc
from protos.node.v1 import node_pb2, node_pb2_grpc
from protos.similarity.v1 import similarity_pb2, similarity_pb2_grpc
from services.node_service.model import Draft
from tests.bench.graph import openloop, seed
from tests.bench.perf import bare
from tests.bench.perf.times import Call, Times, at_once, one_by_one, paired
from tests.bench.quiet import until_quiet
from tests.bench.similarity.corpus import Sample, collection, read, samples
from tests.support.stores import Stores

USER = "ada"
_GET = "/brain2.graph.v1.GraphService/GetNeighbors"
_RING = "perf-ring"
_DEGREE = 10
# A person leaves at least so many seconds between two deletions.
_PAUSE = 0.05
_LOOKUPS_PER_SECOND = 200.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    creates: notes created one after the other, and again `width` at a time. lookups: notes with ten neighbours each.
    changes: deletions, restores and questions for similar notes. imported: notes of another user's import, beside which
    lookups are measured for `seconds`, and for as long on the quiet stack.
    """

    creates: int = 1_000
    width: int = 32
    lookups: int = 10_000
    changes: int = 300
    imported: int = 3_000
    seconds: float = 20.0


QUICK = Scale(creates=60, width=8, lookups=200, changes=20, imported=200, seconds=3.0)


@dataclass
class World:
    """A stack, the clients of its services, and its stores."""

    stores: Stores
    addresses: dict[str, str]
    nodes: Any
    graph: Any
    similarity: Any
    bare: bare.BareStore


@dataclass
class Found:
    """Times by operation, those of the machine beside some of them, and what did not hold."""

    times: dict[str, Times] = field(default_factory=dict)
    beside: dict[str, Times] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def numbers(self) -> dict[str, Any]:
        """As JSON has it, in milliseconds."""
        return {
            "ms": {name: asdict(each) for name, each in self.times.items()},
            "machine_ms": {name: asdict(each) for name, each in self.beside.items()},
        }


PARTS = ("create", "similar", "delete", "lookup", "import")


async def measure(scale: Scale, progress: Callable[[str], None], parts: Collection[str] = PARTS) -> Found:
    """Start a stack and measure.

    progress: called with the name of each part. parts: which of PARTS are measured.
    """
    found = Found()
    notes = samples(read(collection()), 2 * scale.creates)
    async with world() as made:
        if "create" in parts:
            progress("create")
            await creation(made, scale, notes[: scale.creates], found)
            progress("create at once")
            await creation_at_once(made, scale, notes[scale.creates :], found)
        elif {"similar", "delete"} & set(parts):
            await creation_at_once(made, scale, notes[: scale.creates], Found())
            for request in await _bare_creations(made, scale, notes):
                await made.bare.send(request)
        if "similar" in parts:
            progress("similar")
            await similar(made, scale, notes, found)
        if "delete" in parts:
            progress("delete and restore")
            await deletion(made, scale, notes, found)
        if "lookup" in parts:
            progress("look up")
            await lookups(made, scale, found)
        if "import" in parts:
            if "lookup" not in parts:
                await _seeded(made, scale)
            progress("look up beside an import")
            await lookups_beside_an_import(made, scale, found)
    return found


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A stack as `make run` starts it, but for the share of traces, which is that of production."""
    async with contextlib.AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brain2-perf-")))
        log = io.StringIO()
        stack.push(lambda kind, error, trace: print(log.getvalue()[-20_000:]) if error is not None else None)
        options = Options(data=data, port_base=None, log_level="WARNING", trace_ratio=0.01)
        made = await stack.enter_async_context(stack_running(options, Console(log, quiet=True)))
        found = Stores(made.endpoints, made.resources)
        channels: Any = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(made.addresses[name]))
            for name in ("node", "graph", "similarity")
        }
        client = await stack.enter_async_context(found.client("dynamodb"))
        yield World(
            found,
            made.addresses,
            node_pb2_grpc.NodeServiceStub(channels["node"]),
            graph_pb2_grpc.GraphServiceStub(channels["graph"]),
            similarity_pb2_grpc.SimilarityServiceStub(channels["similarity"]),
            bare.BareStore(client, made.resources.table),
        )


async def creation(world: World, scale: Scale, notes: Sequence[Sample], found: Found) -> None:
    """Back to back; beside them, the same items by one TransactWriteItems each."""
    requests = await _bare_creations(world, scale, notes)
    await _create(world, "warm", "warm", "A first call opens the connections.")
    found.times["create"], found.beside["create"] = await paired(
        [partial(_create, world, each.node_id, each.title, each.text) for each in notes],
        [partial(world.bare.send, request) for request in requests],
    )
    await until_quiet(world.stores, USER)


async def creation_at_once(world: World, scale: Scale, notes: Sequence[Sample], found: Found) -> None:
    """Many in flight. None may fail, and all must be there."""
    creates = [partial(_create, world, each.node_id, each.title, each.text) for each in notes]
    found.times["create at once"] = await at_once(creates, scale.width)
    for start in range(0, len(notes), 100):
        ids = [each.node_id for each in notes[start : start + 100]]
        answer = await world.nodes.BatchGetNodes(node_pb2.BatchGetNodesRequest(user_id=USER, node_ids=ids))
        if answer.missing_ids:
            found.wrong.append(f"{len(answer.missing_ids)} of the notes that were created at once are missing")
    await until_quiet(world.stores, USER)


async def similar(world: World, scale: Scale, notes: Sequence[Sample], found: Found) -> None:
    """Of a note among all that were created."""

    def call(node_id: str) -> Call:
        return lambda: world.similarity.FindSimilar(
            similarity_pb2.FindSimilarRequest(user_id=USER, node_id=node_id), timeout=30
        )

    await call(notes[0].node_id)()
    found.times["similar"] = await one_by_one([call(each.node_id) for each in notes[: scale.changes]])


async def deletion(world: World, scale: Scale, notes: Sequence[Sample], found: Found) -> None:
    """Deletions, then restores; beside them, the node service's part of each by one TransactWriteItems."""
    ids = [each.node_id for each in notes[: scale.changes]]
    some = ids[: min(_some(scale), scale.changes)]
    deletions = [await world.bare.deletion(node_id) for node_id in some]

    def delete(node_id: str) -> Call:
        return lambda: world.nodes.DeleteNode(node_pb2.DeleteNodeRequest(user_id=USER, node_id=node_id), timeout=30)

    def restore(node_id: str) -> Call:
        return lambda: world.nodes.RestoreNode(node_pb2.RestoreNodeRequest(user_id=USER, node_id=node_id), timeout=30)

    found.times["delete"], found.beside["delete"] = await paired(
        [delete(node_id) for node_id in ids],
        [partial(world.bare.send, request) for request in deletions],
        pause=_PAUSE,
    )
    await until_quiet(world.stores, USER)
    visible = [node_id for node_id in ids if await _visible(world, node_id)]
    if visible:
        found.wrong.append(f"{len(visible)} deleted notes are still visible")
    restorations = [await world.bare.restoration(node_id) for node_id in some]
    found.times["restore"], found.beside["restore"] = await paired(
        [restore(node_id) for node_id in ids],
        [partial(world.bare.send, request) for request in restorations],
        pause=_PAUSE,
    )
    await until_quiet(world.stores, USER)
    hidden = [node_id for node_id in ids if not await _visible(world, node_id)]
    if hidden:
        found.wrong.append(f"{len(hidden)} restored notes are still hidden")


async def lookups(world: World, scale: Scale, found: Found) -> None:
    """Of all notes of a graph: from DynamoDB, from memory, from Redis; beside these, an echo, and one Redis call."""
    await _seeded(world, scale, read=False)
    requests = [_request(number) for number in range(scale.lookups)]
    async with contextlib.AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(world.addresses["graph"]))
        memory: Any = channel.unary_unary(_GET)
        # The embedded store sorts a partition when it is first asked about it.
        await memory(_request(scale.lookups), timeout=60)
        found.times["look up, DynamoDB"] = await one_by_one([partial(memory, request) for request in requests])
        answer = await memory(requests[0])
        if len(graph_pb2.GetNeighborsResponse.FromString(answer).neighbors) != _DEGREE:
            found.wrong.append(f"a lookup had other than {_DEGREE} neighbours")
        echo = await stack.enter_async_context(bare.server(answer, world.stores))
        found.times["look up, memory"], found.beside["look up, memory"] = await paired(
            [partial(memory, request) for request in requests], [partial(echo, requests[0])] * scale.lookups
        )
        redis = await stack.enter_async_context(_without_memory(world))
        await redis(requests[0], timeout=60)
        command = ["MGET", *await _keys(world)]
        one_call = await stack.enter_async_context(bare.server(answer, world.stores, command))
        found.times["look up, Redis"], found.beside["look up, Redis"] = await paired(
            [partial(redis, request) for request in requests], [partial(one_call, requests[0])] * scale.lookups
        )


async def lookups_beside_an_import(world: World, scale: Scale, found: Found) -> None:
    """At a steady rate, on a quiet stack and while another user imports."""
    async with grpc.aio.insecure_channel(world.addresses["graph"]) as channel:
        memory: Any = channel.unary_unary(_GET)
        rng = random.Random(1)

        async def one() -> None:
            await memory(_request(rng.randrange(scale.lookups)))

        await until_quiet(world.stores, USER)
        await steady("look up, quiet stack", one, scale.seconds, found)
        argv = [sys.executable, "-m", "tests.bench.perf.importer", world.addresses["node"], "importer"]
        async with importing([*argv, str(scale.imported)], found):
            await steady("look up beside an import", one, scale.seconds, found)


async def steady(name: str, call: Call, seconds: float, found: Found) -> None:
    """Calls at a steady rate, each of which must be answered."""
    taken = await openloop.run(call, _LOOKUPS_PER_SECOND, seconds)
    found.times[name] = Times(taken.count, taken.p50_ms, taken.p99_ms, taken.max_ms)
    if taken.errors:
        found.wrong.append(f"{name}: {taken.errors} of {taken.count} calls failed")


@contextlib.asynccontextmanager
async def importing(argv: Sequence[str], found: Found) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another user's import as a process, from its first note on. One that has failed by the end is no import."""
    importer = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    try:
        assert importer.stdout is not None
        # Reading the collection is no part of an import, and would take a core for the first seconds.
        if not await importer.stdout.readline():
            raise RuntimeError("the import did not begin")
        yield importer
        if importer.returncode:
            found.wrong.append(f"the import beside which lookups were measured failed with {importer.returncode}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            importer.kill()
        await importer.wait()


async def _seeded(world: World, scale: Scale, *, read: bool = True) -> None:
    """The graph in which notes are looked up. read: also look each of them up, so that Redis and memory hold them."""
    await seed.ring(world.stores, _RING, scale.lookups, each=_DEGREE // 2)
    if read:
        async with grpc.aio.insecure_channel(world.addresses["graph"]) as channel:
            memory: Any = channel.unary_unary(_GET)
            await memory(_request(scale.lookups), timeout=60)
            await at_once([partial(memory, _request(number)) for number in range(scale.lookups)], scale.width)


async def _create(world: World, node_id: str, title: str, text: str) -> None:
    note = node_pb2.NewNode(node_id=node_id, title=title, content=text)
    await world.nodes.CreateNode(node_pb2.CreateNodeRequest(user_id=USER, node=note), timeout=30)


async def _bare_creations(world: World, scale: Scale, notes: Sequence[Sample]) -> list[bare.Request]:
    drafts = [Draft(node_id=each.node_id, title=each.title, content=each.text) for each in notes[: _some(scale)]]
    return [await world.bare.creation(draft) for draft in drafts]


async def _visible(world: World, node_id: str) -> bool:
    """Whether the node service and the index have the note."""
    try:
        await world.nodes.GetNode(node_pb2.GetNodeRequest(user_id=USER, node_id=node_id), timeout=30)
        await world.similarity.FindSimilar(similarity_pb2.FindSimilarRequest(user_id=USER, node_id=node_id), timeout=30)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return False
    return True


@contextlib.asynccontextmanager
async def _without_memory(world: World) -> AsyncIterator[Any]:
    """GetNeighbors of a further graph service, which keeps nothing in memory."""
    (port,) = processes.free_ports(1)
    env = {
        **world.stores.environment("graph"),
        **stores.credentials(),
        "BRAIN2_LISTEN": f"127.0.0.1:{port}",
        "BRAIN2_NODE_TARGET": world.addresses["node"],
        "BRAIN2_TRACE_RATIO": "0.01",
        "BRAIN2_LOG_LEVEL": "WARNING",
        "BRAIN2_L1_BYTES": "0",
        # The events are for the other one.
        "BRAIN2_QUEUE_URL": "",
    }
    argv = [sys.executable, "-m", "services.graph_service"]
    async with bare.serving(argv, {**os.environ, **env}, port) as channel:
        yield channel.unary_unary(_GET)


async def _keys(world: World) -> list[str]:
    """What one lookup asks of Redis: the hidden notes and the list."""
    async with redis_py.Redis.from_url(world.stores.redis_url) as redis:
        found: list[bytes] = [key async for key in redis.scan_iter(match=f"g:{{{_RING}}}:a:*", count=10_000)]
    return sorted(key.decode() for key in found if key.decode().endswith((f":{seed.name(0)}", ":!hidden")))


def _request(number: int) -> bytes:
    request = graph_pb2.GetNeighborsRequest(user_id=_RING, node_id=seed.name(number))
    return request.SerializeToString()


def _some(scale: Scale) -> int:
    """How many calls of the machine's own stand beside the creations."""
    return max(scale.creates // 3, 1)
