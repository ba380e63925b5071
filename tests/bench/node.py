"""How long the node service takes, on real stores: `python -m tests.bench.node [--notes N] [--json FILE]`.

Runs the service in this process on a real port, one caller at a time, so a number is a latency and not a queue. On the
embedded stores nearly all of a write is the store; on DynamoDB it would be the network.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

from protos.node.v1 import node_pb2
from tests.support.node_service import NodeService, running
from tests.support.stores import fresh_user
from tests.support.stores import running as stores_running

PROMISES_MS = {"create": 50.0, "delete": 30.0}


async def measure(notes: int) -> dict[str, dict[str, float]]:
    """Milliseconds: p50, p99, max for each operation."""
    with tempfile.TemporaryDirectory() as data:
        async with stores_running(Path(data)) as stores, running(stores) as service:
            return await _measure(service, notes)


async def _measure(service: NodeService, notes: int) -> dict[str, dict[str, float]]:
    user, text = fresh_user(), "A note about nothing in particular. " * 25
    ids = [f"n{at}" for at in range(notes)]

    async def titles(node_id: str) -> object:
        return await service.stub.BatchGetNodes(
            node_pb2.BatchGetNodesRequest(user_id=user, node_ids=ids[:100], view=node_pb2.NODE_VIEW_TITLE)
        )

    steps: dict[str, Callable[[str], Awaitable[object]]] = {
        "warm-up": lambda node_id: service.create(user, f"w-{node_id}", content=text),
        "create": lambda node_id: service.create(user, node_id, content=text),
        "get, not cached": lambda node_id: service.get(user, node_id),
        "get, cached": lambda node_id: service.get(user, node_id),
        "100 titles": titles,
        "update": lambda node_id: service.update(user, node_id, title="new"),
        "list of 50": lambda node_id: service.stub.ListNodes(node_pb2.ListNodesRequest(user_id=user)),
        "delete": lambda node_id: service.delete(user, node_id),
        "restore": lambda node_id: service.restore(user, node_id),
    }
    results: dict[str, dict[str, float]] = {}
    for name, step in steps.items():
        taken = []
        for node_id in ids:
            started = perf_counter()
            await step(node_id)
            taken.append((perf_counter() - started) * 1000)
        taken.sort()
        results[name] = {
            "p50": round(taken[len(taken) // 2], 2),
            "p99": round(taken[int(len(taken) * 0.99)], 2),
            "max": round(taken[-1], 2),
        }
    del results["warm-up"]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=300)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = asyncio.run(measure(args.notes))
    print(f"{'ms':<16}{'p50':>8}{'p99':>8}{'max':>8}   promised")
    for name, row in results.items():
        promise = f"< {PROMISES_MS[name]:g}" if name in PROMISES_MS else ""
        print(f"{name:<16}{row['p50']:>8}{row['p99']:>8}{row['max']:>8}   {promise}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
