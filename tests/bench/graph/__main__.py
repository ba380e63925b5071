"""`make bench-graph` or `python -m tests.bench.graph`; --help lists what may be chosen."""

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Any

from tests.bench.graph import auth, clustered, hot, lookup, mixes, report
from tests.bench.graph.world import LOAD_CORE, bench

PARTS = ("hot", "cluster", "auth", "load", "lookup", "linkbench", "tao")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the graph service; see tests/bench/graph/__init__.py")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works, nothing else")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (may be given again)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the hot path")
    parser.add_argument("--calls", type=int, default=20_000, help="calls of each measurement of the hot path")
    parser.add_argument("--sizes", type=_numbers, default=[1_000, 30_000, 1_000_000], help="edges of a user, a,b,c")
    parser.add_argument("--degrees", type=_numbers, default=[10, 1_000, 100_000], help="degrees of a note")
    parser.add_argument("--notes", type=_numbers, default=[1_000, 5_000, 20_000], help="notes of the two mixes")
    rates = [250, 500, 1_000, 1_500, 2_000, 3_000, 4_000]
    parser.add_argument("--loads", type=_numbers, default=rates, help="lookups a second of the latency by load")
    parser.add_argument("--rate", type=float, default=200.0, help="operations a second of LinkBench's mix")
    parser.add_argument("--read-rate", type=float, default=500.0, help="lookups and TAO's reads a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement at a rate")
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


async def main(options: argparse.Namespace) -> None:
    if options.quick:
        options.rounds, options.calls, options.seconds = 2, 2_000, 2.0
        options.sizes, options.degrees, options.notes = [100, 1_000], [10, 1_000], [200]
        options.read_rate, options.rate, options.loads = 100.0, 20.0, [50, 100]
    found: dict[str, Any] = {"conditions": {}}
    for part in options.only or PARTS:
        began = time.monotonic()
        print(f"measuring: {part}", flush=True)
        found["conditions"][part] = report.conditions(options.quick, options.rounds)
        found |= await _MEASURE[part](options)
        print(f"measured: {part}, in {time.monotonic() - began:.0f} s", flush=True)
        # Already now: a part that fails takes nothing from those before it.
        report.write(found, options.out)
    print(report.table(found))


# Each on stores of its own: what one leaves behind must not weigh on the next.
async def _hot(options: argparse.Namespace) -> dict[str, Any]:
    async with bench(os.environ) as world:
        return await hot.measure(world, options.rounds, options.calls)


async def _cluster(options: argparse.Namespace) -> dict[str, Any]:
    async with bench(os.environ) as world:
        return await clustered.measure(world, options.rounds, options.calls)


async def _auth(options: argparse.Namespace) -> dict[str, Any]:
    async with bench(os.environ) as world:
        return await auth.measure(world, options.rounds, options.calls)


async def _load(options: argparse.Namespace) -> dict[str, Any]:
    async with bench(os.environ) as world:
        return {"load": await lookup.by_load(world, options.loads, options.seconds)}


async def _lookup(options: argparse.Namespace) -> dict[str, Any]:
    async with bench(os.environ) as world:
        sizes = await lookup.by_size(world, options.sizes, options.read_rate, options.seconds)
    async with bench(os.environ) as world:
        degrees = await lookup.by_degree(world, options.degrees, options.read_rate, options.seconds)
    whole = {"by_size": sizes, "by_degree": degrees}
    p99 = {
        name: {key: {what: one["p99_ms"] for what, one in value.items()} for key, value in values.items()}
        for name, values in whole.items()
    }
    return {"lookup": whole, "lookup_p99_ms": p99}


async def _linkbench(options: argparse.Namespace) -> dict[str, Any]:
    async with bench(os.environ) as world:
        shares, sizes = mixes.LINKBENCH, options.notes
        return {"linkbench": await mixes.measure(world, shares, sizes, options.rate, options.seconds)}


async def _tao(options: argparse.Namespace) -> dict[str, Any]:
    async with bench(os.environ) as world:
        shares, sizes = mixes.TAO, options.notes
        return {"tao": await mixes.measure(world, shares, sizes, options.read_rate, options.seconds)}


_MEASURE = {
    "hot": _hot,
    "cluster": _cluster,
    "auth": _auth,
    "load": _load,
    "lookup": _lookup,
    "linkbench": _linkbench,
    "tao": _tao,
}


if __name__ == "__main__":
    # This process is the load; what it starts (stores) inherits the core, the services move to theirs.
    os.sched_setaffinity(0, {LOAD_CORE % (os.cpu_count() or 1)})
    asyncio.run(main(arguments()))
