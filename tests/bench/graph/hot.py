"""The hot path: a list in memory against an echo, a list in Redis against one Redis call, batches against single
calls.
"""

import statistics
from typing import Any

import redis.asyncio as redis_py

from protos.graph.v1 import graph_pb2
from tests.bench.graph import bare, seed
from tests.bench.graph.load import rate
from tests.bench.graph.world import Bench, call

USER = "bench-hot"
GET = "/brain2.graph.v1.GraphService/GetNeighbors"
BATCH = "/brain2.graph.v1.GraphService/BatchGetNeighbors"
NOTES = 100


def spread(values: list[float]) -> dict[str, Any]:
    """Median and extremes of the rounds."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


async def measure(bench: Bench, rounds: int, calls: int) -> dict[str, Any]:
    """Ratios of the hot path. calls: in each measurement."""
    await seed.ring(bench.stores, USER, NOTES, each=5)
    sink = await bench.sink()
    memory = await bench.service("graph", OTEL_EXPORTER_OTLP_ENDPOINT=sink)
    redis = await bench.service("graph", OTEL_EXPORTER_OTLP_ENDPOINT=sink, BRAIN2_L1_BYTES="0")

    single = graph_pb2.GetNeighborsRequest(user_id=USER, node_id=seed.name(0)).SerializeToString()
    ids = [seed.name(i) for i in range(NOTES)]
    many = graph_pb2.BatchGetNeighborsRequest(user_id=USER, node_ids=ids, limit=10).SerializeToString()
    answer = await call(memory, GET, single)
    assert len(graph_pb2.GetNeighborsResponse.FromString(answer).neighbors) == 10
    batched = await call(memory, BATCH, many)
    assert sum(len(r.neighbors) for r in graph_pb2.BatchGetNeighborsResponse.FromString(batched).results) == 10 * NOTES
    assert await call(redis, GET, single) == answer

    echo = await bench.bare(answer)
    echo_uvloop = await bench.bare(answer, loop="uvloop")
    command = ["MGET", *await _keys(bench)]
    one_call = await bench.bare(answer, command=command)
    one_call_uvloop = await bench.bare(answer, loop="uvloop", command=command)

    ratios: dict[str, list[float]] = {name: [] for name in ("l1", "l1_uvloop", "l2", "l2_uvloop", "batch")}
    rates: dict[str, list[float]] = {name: [] for name in ("echo", "l1", "bare_redis", "l2", "batch_ids")}
    for number in range(rounds + 1):
        at_echo = (await rate(echo, bare.METHOD, single, calls, len(answer))).calls
        at_l1 = (await rate(memory, GET, single, calls, len(answer))).calls
        at_uvloop = (await rate(echo_uvloop, bare.METHOD, single, calls, len(answer))).calls
        at_redis = (await rate(one_call, bare.METHOD, single, calls, len(answer))).calls
        at_l2 = (await rate(redis, GET, single, calls, len(answer))).calls
        at_redis_uvloop = (await rate(one_call_uvloop, bare.METHOD, single, calls, len(answer))).calls
        at_batch = (await rate(memory, BATCH, many, max(calls // 20, 50), len(batched))).calls * NOTES
        if number == 0:
            continue  # the first warms everything
        ratios["l1"].append(at_l1 / at_echo)
        ratios["l1_uvloop"].append(at_l1 / at_uvloop)
        ratios["l2"].append(at_l2 / at_redis)
        ratios["l2_uvloop"].append(at_l2 / at_redis_uvloop)
        ratios["batch"].append(at_batch / at_l1)
        measured = (at_echo, at_l1, at_redis, at_l2, at_batch)
        for name, value in zip(rates, measured, strict=True):
            rates[name].append(value)
    return {
        "l1_hit_vs_echo": {
            **spread(ratios["l1"]),
            "vs_echo_on_uvloop": spread(ratios["l1_uvloop"]),
            "l1_rps": spread(rates["l1"]),
            "echo_rps": spread(rates["echo"]),
            "answer_bytes": len(answer),
        },
        "l2_hit_vs_bare_redis": {
            **spread(ratios["l2"]),
            "vs_bare_on_uvloop": spread(ratios["l2_uvloop"]),
            "l2_rps": spread(rates["l2"]),
            "bare_rps": spread(rates["bare_redis"]),
        },
        "batch100_vs_single": {**spread(ratios["batch"]), "ids_per_second": spread(rates["batch_ids"])},
    }


async def _keys(bench: Bench) -> list[str]:
    """What one lookup asks of Redis: the hidden notes and the list."""
    async with redis_py.Redis.from_url(bench.stores.redis_url) as redis:
        found: list[bytes] = [key async for key in redis.scan_iter(match=f"g:{{{USER}}}:a:*", count=10_000)]
    keys = [key.decode() for key in found]
    ours = [key for key in keys if key.endswith((f":{seed.name(0)}", ":!hidden"))]
    return sorted(ours)
