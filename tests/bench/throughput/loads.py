"""The loads: lookups beside the bare echo, the mixes, and creations. Each is measured in rounds, in turn."""

import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.local import processes
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from tests.bench.graph import bare, seed
from tests.bench.graph.hot import GET, spread
from tests.bench.graph.load import rate
from tests.bench.graph.mixes import Workload
from tests.bench.graph.world import Bench, call
from tests.bench.similarity.corpus import Sample
from tests.bench.throughput.world import (
    CONNECTIONS,
    IN_FLIGHT,
    MOST,
    PROCESSES,
    Cell,
    Meter,
    World,
    cell,
    closed,
    median,
)

_USER = "bench-lookup"
ECHOES = {"echo": "asyncio", "echo_uvloop": "uvloop"}
MANY_USERS = 16
Measure = Callable[[], Awaitable[Cell]]


@dataclass
class Rounds:
    """The measurements of all rounds: load -> processes -> calls in flight -> one cell for each round."""

    cells: dict[str, dict[str, dict[str, list[Cell]]]] = field(default_factory=dict)

    async def run(self, in_flight: int, measures: Mapping[tuple[str, int], Measure], rounds: int) -> None:
        """Make each measurement once a round, in the opposite order every second time."""
        for number in range(rounds):
            for name, count in list(measures)[:: -1 if number % 2 else 1]:
                cells = self.cells.setdefault(name, {}).setdefault(str(count), {})
                cells.setdefault(str(in_flight), []).append(await measures[name, count]())

    def medians(self, name: str) -> dict[str, dict[str, Cell]]:
        """By processes and calls in flight."""
        by_count = sorted(self.cells[name].items())
        return {count: {each: median(cells) for each, cells in found.items()} for count, found in by_count}

    def ratio(self, name: str, other: str, service: str = "us_all") -> dict[str, Any]:
        """How many calls of `name` one process answers with the processor that `other` takes for one call.

        service: count only what this service takes for `name`.
        """
        return spread(
            [
                theirs["us_all"] / (ours["us_all"] if service == "us_all" else ours["us"][service])
                for ours, theirs in zip(self._most(name, 1), self._most(other, 1), strict=True)
            ]
        )

    def two_processes(self, name: str) -> dict[str, Any]:
        """What two processes give for what one gives, if each has a core: by processor a call."""
        pairs = zip(self._most(name, 1), self._most(name, 2), strict=True)
        return spread([2 * one["us_all"] / two["us_all"] for one, two in pairs])

    def _most(self, name: str, count: int) -> list[Cell]:
        return self.cells[name][str(count)][str(MOST)]


# ---------------------------------------------------------------------- lookups
async def lookups(worlds: Sequence[World], rounds: Rounds, number: int, calls: int) -> None:
    """GetNeighbors of one note with ten neighbours, from memory, beside echoes of the same bytes."""
    request = graph_pb2.GetNeighborsRequest(user_id=_USER, node_id=seed.name(0)).SerializeToString()
    for world in worlds:
        await seed.ring(world.stores, _USER, 100, each=5)
    answer = await call(worlds[0].graph_port, GET, request)
    async with contextlib.AsyncExitStack() as stack:
        servers: dict[tuple[str, int], tuple[Meter, int, str]] = {}
        for count, world in zip(PROCESSES, worlds, strict=True):
            for name, loop in ECHOES.items():
                servers[name, count] = await _echo(stack, answer, loop, count)
            servers["lookup", count] = world.meter, world.graph_port, GET
        for _, port, method in servers.values():
            # Every worker fills its memory.
            await rate(port, method, request, max(calls // 4, 100), len(answer), connections=16, streams=2)
        for in_flight in IN_FLIGHT:
            measures: dict[tuple[str, int], Measure] = {}
            for (name, count), server in servers.items():
                measures[name, count] = _lookup(*server, request, len(answer), calls, in_flight, count)
            await rounds.run(in_flight, measures, number)


async def _echo(stack: contextlib.AsyncExitStack, answer: bytes, loop: str, count: int) -> tuple[Meter, int, str]:
    """A bare server of so many processes, which share a port as the workers of a service do."""
    (port,) = processes.free_ports(1)
    servers = Bench(None, stack)  # type: ignore[arg-type]
    pids = [await servers.bare_process(answer, port, loop=loop) for _ in range(count)]
    return Meter({"echo": pids}), port, bare.METHOD


def _lookup(
    meter: Meter, port: int, method: str, request: bytes, size: int, calls: int, in_flight: int, count: int
) -> Measure:
    connections = min(in_flight, CONNECTIONS)
    # One call at a time takes as long as the way there and back.
    total = count * (calls // 4 if in_flight == 1 else calls)

    async def measure() -> Cell:
        meter.start()
        found = await rate(
            port, method, request, total, size, connections=connections * count, streams=in_flight // connections
        )
        return cell(total, total / found.calls, meter.used())

    return measure


# ---------------------------------------------------------------------- mixes
@dataclass
class Mix:
    """A mix of operations on the graph of one user of each stack. writes: it leaves work in the background."""

    name: str
    shares: Mapping[str, float]
    writes: bool
    work: dict[int, tuple[str, Workload]] = field(default_factory=dict)

    async def fill(self, world: World, notes: int) -> None:
        """Make the user's notes and edges."""
        user = f"bench-{self.name}"
        async with world.stubs(MOST) as (nodes, graph):
            work = Workload(user, notes, nodes, graph, random.Random(notes))
            await work.fill(world.stores)
        await world.until_quiet([user])
        self.work[world.count] = user, work

    def measure(self, world: World, calls: int, in_flight: int) -> Measure:
        """So many operations, with the work in the background that the writes among them cause."""
        rng = random.Random(calls + in_flight)
        names, weights = list(self.shares), list(self.shares.values())
        total = calls // 4 if in_flight == 1 else calls

        async def one() -> Cell:
            user, work = self.work[world.count]
            async with world.stubs(in_flight) as (nodes, graph):
                work.connect(nodes, graph)
                commands = await world.redis_info("total_commands_processed")
                world.meter.start()
                seconds, refused = await closed(
                    lambda: work.operation(rng.choices(names, weights)[0]), in_flight * world.count, total
                )
                if self.writes:
                    await world.until_quiet([user])
                found = cell(total, seconds, world.meter.used(), refused)
                commands = await world.redis_info("total_commands_processed") - commands
            return found | {"redis_commands": round(commands / total, 2)}

        return one


async def mix(worlds: Sequence[World], rounds: Rounds, number: int, mixed: Mix, notes: int, calls: int) -> float:
    """Measure a mix; returns the bytes of Redis that a note takes when it is cached."""
    taken = 0
    for world in worlds:
        before = await world.redis_info("used_memory")
        await mixed.fill(world, notes)
        taken = await world.redis_info("used_memory") - before
    for in_flight in IN_FLIGHT:
        measures = {(mixed.name, world.count): mixed.measure(world, calls, in_flight) for world in worlds}
        await rounds.run(in_flight, measures, number)
    return taken / notes


# ---------------------------------------------------------------------- creations
@dataclass
class Creations:
    """CreateNode of real notes, with their indexing and linking. Every measurement has new users: so many."""

    name: str
    samples: Sequence[Sample]
    users: int
    made: Any = field(default_factory=itertools.count)

    async def measure(self, world: World, calls: int, in_flight: int) -> tuple[Cell, list[str]]:
        """Create so many notes; the users who have them."""
        total = calls // 4 if in_flight == 1 else calls
        run = next(self.made)
        users = [f"bench-{self.name}-{run}-{number}" for number in range(self.users)]
        numbers = itertools.count()
        async with world.stubs(in_flight) as (nodes, _):

            def create() -> Awaitable[Any]:
                number, place = divmod(next(numbers), self.users)
                # Each note once for each user, as far as there are so many.
                sample = self.samples[number % len(self.samples)]
                draft = node_pb2.NewNode(node_id=f"n{number}", title=sample.title, content=sample.text)
                made: Awaitable[Any] = nodes.CreateNode(node_pb2.CreateNodeRequest(user_id=users[place], node=draft))
                return made

            world.meter.start()
            seconds, refused = await closed(create, in_flight * world.count, total)
            await world.until_quiet(users)
            return cell(total, seconds, world.meter.used(), refused), users


async def creates(
    worlds: Sequence[World], rounds: Rounds, number: int, created: Creations, calls: int, in_flights: Sequence[int]
) -> float:
    """Measure creations; returns the bytes of DynamoDB that a note takes."""
    stored = 0.0
    for in_flight in in_flights:

        def measure(world: World, in_flight: int = in_flight) -> Measure:
            async def one() -> Cell:
                nonlocal stored
                found, users = await created.measure(world, calls, in_flight)
                if world is worlds[0] and in_flight == MOST:
                    stored = sum([await world.table_bytes(user) for user in users]) / calls
                return found

            return one

        await rounds.run(in_flight, {(created.name, world.count): measure(world) for world in worlds}, number)
    return stored
