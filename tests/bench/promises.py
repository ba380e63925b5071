"""`make bench-promises`: the promised latencies, on the whole stack as `make run` starts it, but for its snapshots.

Four services, their stores and the caller share this machine; tracing is on at 1 %. One caller, one call at a time, so
a number is a latency and not a queue. On the embedded stores nearly all of a write is the store; on AWS it would be the
network. Each call's time is the client's, with gRPC and protobuf.
"""

import argparse
import asyncio
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc

from deploy.local.console import Console
from deploy.local.stack import Options
from deploy.local.stack import running as stack_running
from protos.graph.v1 import graph_pb2, graph_pb2_grpc
from protos.node.v1 import node_pb2, node_pb2_grpc
from protos.similarity.v1 import similarity_pb2, similarity_pb2_grpc
from tests.bench import page
from tests.bench.similarity.corpus import Sample, collection, read

_USER = "ada"
# What each operation may take: the worst for most calls (p99), and in the middle where that is promised too.
PROMISES_MS = {
    "create": {"p99": 50.0, "p50": 30.0},
    "neighbours": {"p99": 10.0},
    "similar notes": {"p99": 200.0},
    "delete": {"p99": 30.0},
}
_WRITES = {"create", "delete", "restore"}
Step = Callable[[str], Any]


async def measure(samples: Sequence[Sample], calls: int) -> dict[str, dict[str, float]]:
    """Milliseconds: p50, p99, max for each operation. All samples are notes; `calls` of them are measured with."""
    async with contextlib.AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brain2-bench-")))
        # The embedded store's snapshots would be measured, too, and nobody takes them elsewhere.
        options = Options(data=data, port_base=None, log_level="WARNING", trace_ratio=0.01, save_seconds=0)
        made = await stack.enter_async_context(stack_running(options, Console(io.StringIO(), quiet=True)))
        channels: Any = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(made.addresses[name]))
            for name in ("node", "graph", "similarity")
        }
        nodes: Any = node_pb2_grpc.NodeServiceStub(channels["node"])
        graph: Any = graph_pb2_grpc.GraphServiceStub(channels["graph"])
        similarity: Any = similarity_pb2_grpc.SimilarityServiceStub(channels["similarity"])
        asked = {each.node_id: each for each in samples[:calls]}
        background = samples[calls:]
        for start in range(0, len(background), 100):
            news = [_draft(each) for each in background[start : start + 100]]
            await nodes.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=_USER, nodes=news), timeout=60)
        await _until_indexed(similarity, background[-1].node_id)

        steps: dict[str, Step] = {
            "create": lambda name: nodes.CreateNode(
                node_pb2.CreateNodeRequest(user_id=_USER, node=_draft(asked[name]))
            ),
            "read": lambda name: nodes.GetNode(node_pb2.GetNodeRequest(user_id=_USER, node_id=name)),
            "neighbours": lambda name: graph.GetNeighbors(graph_pb2.GetNeighborsRequest(user_id=_USER, node_id=name)),
            "similar notes": lambda name: similarity.FindSimilar(
                similarity_pb2.FindSimilarRequest(user_id=_USER, node_id=name)
            ),
            "search": lambda name: similarity.SearchNodes(
                similarity_pb2.SearchNodesRequest(user_id=_USER, query=asked[name].title)
            ),
            "delete": lambda name: nodes.DeleteNode(node_pb2.DeleteNodeRequest(user_id=_USER, node_id=name)),
            "restore": lambda name: nodes.RestoreNode(node_pb2.RestoreNodeRequest(user_id=_USER, node_id=name)),
        }
        found = {}
        for name, step in steps.items():
            found[name] = await _timed(step, list(asked), pause=0.05 if name in _WRITES else 0.0)
            if name == "create":
                await _until_indexed(similarity, next(reversed(asked)))
        return found


async def _timed(step: Step, node_ids: Sequence[str], pause: float = 0.0) -> dict[str, float]:
    """pause: seconds between two writes, which a person would leave, so that what follows one isn't in the next."""
    taken = []
    for node_id in node_ids:
        started = perf_counter()
        await step(node_id)
        taken.append((perf_counter() - started) * 1000)
        await asyncio.sleep(pause)
    ranked = sorted(taken[5:])  # the first ones open connections
    return {
        "p50": round(ranked[len(ranked) // 2], 2),
        "p99": round(ranked[int(len(ranked) * 0.99)], 2),
        "max": round(ranked[-1], 2),
    }


async def _until_indexed(similarity: Any, node_id: str) -> None:
    deadline = perf_counter() + 300
    while perf_counter() < deadline:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await similarity.FindSimilar(similarity_pb2.FindSimilarRequest(user_id=_USER, node_id=node_id))
            await asyncio.sleep(3.0)  # its links are settled
            return
        await asyncio.sleep(0.2)
    raise RuntimeError(f"{node_id} was not indexed")


def _draft(sample: Sample) -> node_pb2.NewNode:
    return node_pb2.NewNode(node_id=sample.node_id, title=sample.title, content=sample.text)


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"One caller; all four services and their stores on the same machine ({found['machine']}); {found['notes']:,} "
        f"notes of {found['corpus']}, {found['calls']} calls each; {found['date']}. Milliseconds, the client's.",
        "",
        "| | p50 | p99 | max | promised |",
        "|---|---|---|---|---|",
    ]
    for name, row in found["ms"].items():
        promise = ", ".join(f"{which} < {limit:g}" for which, limit in PROMISES_MS.get(name, {}).items())
        lines.append(f"| {name} | {row['p50']} | {row['p99']} | {row['max']} | {promise} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=3000, help="of the user")
    parser.add_argument("--calls", type=int, default=500, help="of each operation")
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    args = parser.parse_args()
    path = collection()
    samples = read(path)[: args.notes]
    calls = min(args.calls, len(samples) // 2)
    found = {
        "machine": page.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "corpus": path.name,
        "notes": len(samples),
        "calls": calls,
        "ms": asyncio.run(measure(samples, calls)),
    }
    print(table(found))
    print(json.dumps(found["ms"]))
    page.write("promises", "The promises", found, table(found), args.out)


if __name__ == "__main__":
    main()
