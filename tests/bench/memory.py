"""`make bench-memory`: the memory of each service under the largest requests that it accepts, as many as it accepts.

The whole stack runs here with the bounds that a pod has (a quarter of its memory limit for requests and answers in
flight). Its caches are not full after such a run, so what they may still take is added: bound_mib is what the limit of
a pod must hold.
"""

import argparse
import asyncio
import contextlib
import io
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import yaml

from deploy.local.console import Console
from deploy.local.stack import SERVICES, Options, Stack
from deploy.local.stack import running as stack_running
from deploy.local.stores import ROOT
from protos.cleanup.v1 import cleanup_pb2, cleanup_pb2_grpc
from protos.graph.v1 import graph_pb2, graph_pb2_grpc
from protos.node.v1 import node_pb2, node_pb2_grpc
from protos.similarity.v1 import similarity_pb2, similarity_pb2_grpc
from services.graph_service.config import GraphConfig
from services.similarity_service.config import SimilarityConfig
from shared.config import load
from tests.bench import page
from tests.support.scrape import parse, scrape

RESULT = ROOT / "docs" / "bench" / "memory.json"
_MIB = 1024 * 1024
_TEXT_BYTES = 256 * 1024
_USER = "large"
_AT_ONCE = 64
_BUSY = (
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
    # A connection that was full for longer than its keep-alive allows is closed.
    grpc.StatusCode.CANCELLED,
)
# Notes of the largest size that fit into one message of 4 MiB.
_NOTES_A_MESSAGE = 15
# Seconds a call may take: a busy machine must not end the calls whose memory is measured.
_CALL_SECONDS = 600.0
# A refused call is made again, this often and after this time.
_ATTEMPTS = 60
_PAUSE_SECONDS = 2.0
_LONGEST_MESSAGE = (("grpc.max_receive_message_length", 64 * _MIB),)


def limits() -> dict[str, int]:
    """The memory limit of each service's pod, in bytes."""
    found = {}
    for context in SERVICES:
        documents = yaml.safe_load_all((ROOT / "deploy" / "k8s" / "base" / f"{context}.yaml").read_text())
        [deployment] = [each for each in documents if each["kind"] == "Deployment"]
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        text = container["resources"]["limits"]["memory"]
        assert text.endswith("Mi")
        found[context] = int(text.removesuffix("Mi")) * _MIB
    return found


def peak(pid: int) -> int:
    """The largest resident memory that the processes of a group have had, in bytes. pid: of the first of them."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, StopIteration):
            # Fields after the name, which may hold spaces and brackets: state, parent, group.
            group = int((status.parent / "stat").read_text().rpartition(")")[2].split()[2])
            if group == pid:
                line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
                total += int(line.split()[1]) * 1024
    return total


async def measure(notes: int, edges: int) -> dict[str, Any]:
    """Memory of each service: idle, at its peak, and with full caches. notes: of 256 KiB. edges: at one hub."""
    limit = limits()

    def command(context: str) -> Sequence[str]:
        bound = f"BRAIN2_MAX_INFLIGHT_BYTES={limit[context] // 4}"
        return ("env", bound, sys.executable, "-m", f"services.{context}_service")

    async with contextlib.AsyncExitStack() as undo:
        data = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="brain2-bench-")))
        options = Options(data=data, port_base=None, log_level="WARNING", trace_ratio=0.0, command=command)
        stack = await undo.enter_async_context(stack_running(options, Console(io.StringIO(), quiet=True)))
        idle = {context: peak(stack.children[context].pid) for context in SERVICES}
        channels = {
            context: await undo.enter_async_context(grpc.aio.insecure_channel(address, options=_LONGEST_MESSAGE))
            for context, address in stack.addresses.items()
        }
        answers = await _load(channels, notes, edges)
        found = {}
        for context in SERVICES:
            highest = peak(stack.children[context].pid)
            room = await _room_in_caches(stack, context)
            found[context] = {
                "idle_mib": round(idle[context] / _MIB),
                "peak_mib": round(highest / _MIB),
                "bound_mib": round((highest + room) / _MIB),
                "limit_mib": limit[context] // _MIB,
            }
    load = {"notes_of_256_kib": notes, "edges_of_the_hub": edges, "calls_at_once": _AT_ONCE, "answers": answers}
    return {**load, "services": found}


async def _room_in_caches(stack: Stack, context: str) -> int:
    """The bytes that the service's caches in memory may still grow by."""
    families = parse(await scrape(stack.metrics[context]))
    environ = {"AWS_REGION": "x", "BRAIN2_EVENT_BUS": "x", "REDIS_URL": "redis://x"}
    if context == "graph":
        return max(load(GraphConfig, environ).memory_cache_bytes - round(families["brain2_graph_l1_size"].value()), 0)
    if context == "similarity":
        names = ("BRAIN2_NODE_TARGET", "BRAIN2_GRAPH_TARGET", "BRAIN2_QUEUE_URL", "BRAIN2_DLQ_URL")
        settings = load(SimilarityConfig, {**environ, **dict.fromkeys(names, "x:1")})
        return max(settings.index_megabytes * _MIB - round(families["brain2_similarity_index_size"].value()), 0)
    return 0


async def _load(channels: dict[str, grpc.aio.Channel], notes: int, edges: int) -> dict[str, dict[str, int]]:
    """Write the largest notes and a hub, then read them in every expensive way; the answers of each by their code."""
    node: Any = node_pb2_grpc.NodeServiceStub(channels["node"])
    graph: Any = graph_pb2_grpc.GraphServiceStub(channels["graph"])
    similarity: Any = similarity_pb2_grpc.SimilarityServiceStub(channels["similarity"])
    cleanup: Any = cleanup_pb2_grpc.CleanupServiceStub(channels["cleanup"])
    rng = random.Random(14)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(20_000)]
    ids = [f"n{n}" for n in range(notes)]

    def text() -> str:
        return " ".join(rng.choices(words, k=_TEXT_BYTES // 8))

    async def create(some: Sequence[str]) -> None:
        large = [node_pb2.NewNode(node_id=each, title=each, content=text()) for each in some]
        await node.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=_USER, nodes=large), timeout=_CALL_SECONDS)

    await _all(create, [ids[at : at + _NOTES_A_MESSAGE] for at in range(0, notes, _NOTES_A_MESSAGE)], 8)
    hub = [f"h{n}" for n in range(edges)]
    small = [[node_pb2.NewNode(node_id=each, title=each) for each in hub[at : at + 100]] for at in range(0, edges, 100)]

    async def create_small(some: Sequence[node_pb2.NewNode]) -> None:
        await node.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=_USER, nodes=some), timeout=_CALL_SECONDS)

    await _all(create_small, small, 4)
    labels = {f"k{n}": "v" * 100 for n in range(16)}

    async def link(some: Sequence[str]) -> None:
        new = [graph_pb2.NewEdge(source_id=ids[0], target_id=each, metadata={"labels": labels}) for each in some]
        await graph.BatchCreateEdges(graph_pb2.BatchCreateEdgesRequest(user_id=_USER, edges=new), timeout=_CALL_SECONDS)

    await _all(link, [hub[at : at + 100] for at in range(0, edges, 100)], 4)

    async def read(_: int) -> None:
        some = rng.sample(ids, min(_NOTES_A_MESSAGE, notes))
        await node.BatchGetNodes(node_pb2.BatchGetNodesRequest(user_id=_USER, node_ids=some), timeout=_CALL_SECONDS)

    async def walk(_: int) -> None:
        await graph.GetSubgraph(
            graph_pb2.GetSubgraphRequest(user_id=_USER, node_id=ids[0], max_hops=3, max_fanout=1000, max_nodes=10_000),
            timeout=_CALL_SECONDS,
        )

    async def stream(_: int) -> None:
        async for _answer in graph.ListEdges(graph_pb2.ListEdgesRequest(user_id=_USER), timeout=_CALL_SECONDS):
            pass

    async def compare(_: int) -> None:
        await similarity.FindSimilar(
            similarity_pb2.FindSimilarRequest(user_id=_USER, text=text(), limit=100), timeout=_CALL_SECONDS
        )

    async def export(_: int) -> None:
        async for _answer in cleanup.ExportUser(cleanup_pb2.ExportUserRequest(user_id=_USER), timeout=_CALL_SECONDS):
            pass

    works = ((read, 128), (walk, 64), (stream, 32), (compare, 64), (export, 16))
    return {work.__name__: dict(await _all(work, range(count), _AT_ONCE)) for work, count in works}


async def _all(work: Callable[[Any], Awaitable[None]], items: Sequence[Any], at_once: int) -> Counter[str]:
    """Do the work for each item, and count the answers by code. A busy service refuses calls, as its bounds demand:
    they are made again, so that it stays at its bounds."""
    places = asyncio.Semaphore(at_once)
    answers: Counter[str] = Counter()

    async def one(item: Any) -> None:
        async with places:
            for _ in range(_ATTEMPTS):
                try:
                    await work(item)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in _BUSY:
                        raise
                    answers[error.code().name] += 1
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    answers["OK"] += 1
                    return

    await asyncio.gather(*(one(item) for item in items))
    if not answers["OK"]:
        raise RuntimeError(f"no call of {work.__name__}() succeeded: {dict(answers)}")
    return answers


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--notes", type=int, default=150, help="notes of 256 KiB (default: 150)")
    parser.add_argument("--edges", type=int, default=2000, help="edges at one note (default: 2000)")
    parser.add_argument("--json", type=Path, help=f"write the result here ({RESULT.relative_to(ROOT)})")
    arguments = parser.parse_args(argv)
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": page.machine(),
        **asyncio.run(measure(arguments.notes, arguments.edges)),
    }
    text = json.dumps(result, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
