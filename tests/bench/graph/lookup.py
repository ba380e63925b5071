"""How long one lookup takes, by load, by the size of the user's graph and by the degree of the note. Open loop: the
time of a call runs from when it should have begun."""

import contextlib
import functools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from protos.graph.v1 import graph_pb2
from tests.bench.graph import seed
from tests.bench.graph.hot import GET
from tests.bench.graph.openloop import Call, closed, run
from tests.bench.graph.world import Bench

_SAMPLE = 2000
_STEP = 250
# Of the calls that were wanted, the share that must have been made.
_REACHED = 0.9


async def by_size(bench: Bench, sizes: Sequence[int], rate: float, seconds: float) -> dict[str, Any]:
    """sizes: edges of one user; every note has ten. From DynamoDB (one after the other), from memory, from Redis."""
    found: dict[str, Any] = {}
    for size in sizes:
        user = f"bench-size-{size}"
        notes = max(size // 5, 11)
        edges = await seed.ring(bench.stores, user, notes, each=5)
        async with _both(bench) as (memory, redis):
            rng = random.Random(size)
            sample = rng.sample(range(notes), min(_SAMPLE, notes))
            requests = [_request(user, seed.name(number)) for number in sample]
            choose = functools.partial(rng.choice, requests)
            # The embedded store sorts a partition when it is first asked about it.
            await memory(_request(user, seed.name(notes)), timeout=60)
            cold = await closed([functools.partial(memory, request) for request in requests])
            warm = await steady(_each(memory, choose), rate, seconds)
            shared = await steady(_each(redis, choose), rate, seconds)
        found[str(edges)] = {"warm": warm, "from_redis": shared, "cold": cold.as_dict()}
    return found


async def by_load(bench: Bench, rates: Sequence[float], seconds: float) -> dict[str, Any]:
    """rates: lookups a second of notes with ten neighbours, ascending; from memory and from Redis.

    A medium's last rate is the first that was too much: calls failed, or fewer were made than wanted.
    """
    user, notes = "bench-load", 2_000
    await seed.ring(bench.stores, user, notes, each=5)
    requests = [_request(user, seed.name(number)) for number in range(notes)]
    choose = functools.partial(random.Random(1).choice, requests)
    found: dict[str, Any] = {f"{rate:g}": {} for rate in rates}
    async with _both(bench) as (memory, redis):
        for key, call in (("warm", memory), ("from_redis", redis)):
            for request in requests:
                await call(request, timeout=60)
            for rate in rates:
                measured = await run(_each(call, choose), rate, seconds)
                found[f"{rate:g}"][key] = measured.as_dict()
                if measured.errors or measured.rate < _REACHED * rate:
                    break
    return {rate: value for rate, value in found.items() if value}


async def by_degree(bench: Bench, degrees: Sequence[int], rate: float, seconds: float) -> dict[str, Any]:
    """A page of 50: the first one, and one in the middle of the list; from memory and from Redis."""
    found: dict[str, Any] = {}
    for degree in degrees:
        user, centre = f"bench-degree-{degree}", seed.name(9_999_999)
        await seed.star(bench.stores, user, degree)
        first, middle = _request(user, centre), _request(user, centre)
        async with _both(bench) as (memory, redis):
            await _filled(memory, first)
            # The token of a page may be used with another size: in the middle by few steps.
            for _ in range(degree // 2 // _STEP):
                big = graph_pb2.GetNeighborsRequest.FromString(middle)
                big.page_size = _STEP
                answer = graph_pb2.GetNeighborsResponse.FromString(await memory(big.SerializeToString(), timeout=120))
                middle = _request(user, centre, answer.next_page_token)
            found[str(degree)] = {
                f"{page}{suffix}": await steady(functools.partial(call, request), rate, seconds)
                for suffix, call in (("", memory), ("_from_redis", redis))
                for page, request in (("first_page", first), ("middle_page", middle))
            }
    return found


async def steady(call: Call, rate: float, seconds: float) -> dict[str, Any]:
    """The latencies of calls that must all be answered."""
    measured = await run(call, rate, seconds)
    if measured.errors:
        raise RuntimeError(f"{measured.errors} of {measured.count} lookups failed: their times mean nothing")
    return measured.as_dict()


@contextlib.asynccontextmanager
async def _both(bench: Bench) -> AsyncIterator[tuple[Any, Any]]:
    """GetNeighbors of a service as it is, and of one that keeps nothing in memory."""
    async with bench.apart() as servers:
        ports = await servers.service("graph"), await servers.service("graph", BRAIN2_L1_BYTES="0")
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{ports[0]}") as memory,
            grpc.aio.insecure_channel(f"127.0.0.1:{ports[1]}") as redis,
        ):
            yield memory.unary_unary(GET), redis.unary_unary(GET)


def _each(call: Any, choose: Callable[[], bytes]) -> Call:
    return lambda: call(choose())


async def _filled(call: Any, request: bytes) -> None:
    """Ask until the answer comes from a cache: a hub's list is filled in the background."""
    for _ in range(50):
        began = time.perf_counter()
        await call(request, timeout=120)
        if time.perf_counter() - began < 0.1:
            return


def _request(user: str, note: str, page_token: str = "") -> bytes:
    request = graph_pb2.GetNeighborsRequest(user_id=user, node_id=note, page_size=50, page_token=page_token)
    return request.SerializeToString()
