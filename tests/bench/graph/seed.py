"""Graphs to measure on, written straight into DynamoDB: the API's own pace is another measurement.

The items are those that the service itself would have written, put by BatchWriteItem.
"""

import asyncio
import os
import random
from collections.abc import Iterable, Iterator

from services.graph_service.adapters import items
from services.graph_service.model.edge import NewEdge, first_version
from shared.dynamo import Item, Table
from tests.support.stores import Stores

_CHUNK = 5000
_PARALLEL = 2
_NOW = 1_700_000_000_000


def name(number: int) -> str:
    return f"note-{number:07d}"


async def write(stores: Stores, user: str, edges: Iterable[tuple[int, int, float]]) -> int:
    """Both items of each edge; answers how many edges."""
    before = os.sched_getaffinity(0)
    # Nothing is measured now: making the items may take the core that the store doesn't.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    count = 0
    try:
        async with stores.client("dynamodb") as client:
            table = Table(client, stores.environment("graph")["BRAIN2_TABLE"])
            running: set[asyncio.Task[None]] = set()
            for chunk in _chunks(user, edges):
                count += len(chunk) // 2
                running.add(asyncio.create_task(table.batch_write(puts=chunk)))
                if len(running) >= _PARALLEL:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            await asyncio.gather(*running)
    finally:
        os.sched_setaffinity(0, before)
    return count


def _chunks(user: str, edges: Iterable[tuple[int, int, float]]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for number, (a, b, weight) in enumerate(edges):
        chunk += items.edge_items(first_version(user, NewEdge(name(a), name(b), weight=weight), _NOW + number))
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def ring(stores: Stores, user: str, notes: int, *, each: int) -> int:
    """Every note is linked to the next `each`: all have the degree 2 * each."""
    rng = random.Random(1)
    return await write(
        stores,
        user,
        ((i, (i + step) % notes, rng.randrange(1, 1000) / 1000) for i in range(notes) for step in range(1, each + 1)),
    )


async def star(stores: Stores, user: str, degree: int, centre: int = 9_999_999) -> int:
    rng = random.Random(2)
    return await write(stores, user, ((centre, i, rng.randrange(1, 1000) / 1000) for i in range(degree)))
