"""How long one lookup takes, by the size of the user's graph and by the degree of the note. Open loop: a call's time
runs from when it should have begun."""

import functools
import random
from collections.abc import Awaitable, Sequence
from typing import Any

import grpc

from protos.graph.v1 import graph_pb2
from tests.bench.graph import seed
from tests.bench.graph.hot import GET
from tests.bench.graph.openloop import Call, closed, run
from tests.bench.graph.world import Bench

_SAMPLE = 2000


async def by_size(bench: Bench, sizes: Sequence[int], rate: float, seconds: float) -> dict[str, Any]:
    """sizes: edges of one user; every note has ten."""
    port = await bench.service("graph")
    found: dict[str, Any] = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(GET)
        for size in sizes:
            user = f"bench-size-{size}"
            notes = max(size // 5, 11)
            edges = await seed.ring(bench.stores, user, notes, each=5)
            rng = random.Random(size)
            sample = rng.sample(range(notes), min(_SAMPLE, notes))
            calls = [functools.partial(call, _request(user, seed.name(number))) for number in sample]
            cold = await closed(calls)
            warm = await run(functools.partial(_any_of, calls, rng), rate, seconds)
            found[str(edges)] = {"warm": warm.as_dict(), "cold": cold.as_dict()}
    return found


async def by_degree(bench: Bench, degrees: Sequence[int], rate: float, seconds: float) -> dict[str, Any]:
    """A page of 50: the first one, and one in the middle of the list."""
    port = await bench.service("graph")
    found: dict[str, Any] = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(GET)
        for degree in degrees:
            user, centre = f"bench-degree-{degree}", seed.name(9_999_999)
            await seed.star(bench.stores, user, degree)
            first, middle = _request(user, centre), _request(user, centre)
            pages = max(min(degree // 50 // 2, 100), 0)
            for _ in range(pages):
                answer = graph_pb2.GetNeighborsResponse.FromString(await call(middle, timeout=120))
                middle = _request(user, centre, answer.next_page_token)
            await call(first, timeout=120)
            found[str(degree)] = {
                "first_page": (await run(functools.partial(call, first), rate, seconds)).as_dict(),
                "middle_page": (await run(functools.partial(call, middle), rate, seconds)).as_dict(),
            }
    return found


def _request(user: str, note: str, page_token: str = "") -> bytes:
    request = graph_pb2.GetNeighborsRequest(user_id=user, node_id=note, page_size=50, page_token=page_token)
    return request.SerializeToString()


def _any_of(calls: Sequence[Call], rng: random.Random) -> Awaitable[Any]:
    return rng.choice(calls)()
