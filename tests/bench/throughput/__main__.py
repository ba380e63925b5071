"""`make bench-throughput`."""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import page
from tests.bench.graph.mixes import LINKBENCH, TAO
from tests.bench.similarity.corpus import collection, read
from tests.bench.throughput import loads
from tests.bench.throughput.report import conclusions, table
from tests.bench.throughput.world import IN_FLIGHT, MOST, worlds

_LOADS = ("lookup", "tao", "linkbench", "create", "create_many")


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All of it; see report.conclusions() for what comes out."""
    rounds = loads.Rounds()
    found: dict[str, Any] = {"shares": {"linkbench": LINKBENCH, "tao": TAO}, "rounds": options.rounds}
    samples = read(collection())
    async with worlds(options.idle_seconds) as both:
        for name in options.only:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            if name == "lookup":
                await loads.lookups(both, rounds, options.rounds, options.calls)
            elif name == "tao":
                # Nothing else is in Redis yet that comes and goes.
                mixed = loads.Mix("tao", TAO, writes=False)
                taken = await loads.mix(both, rounds, options.rounds, mixed, options.notes, options.operations)
                found["redis_bytes_a_note"] = round(taken)
            elif name == "linkbench":
                mixed = loads.Mix("linkbench", LINKBENCH, writes=True)
                await loads.mix(both, rounds, options.rounds, mixed, options.notes, options.operations)
            elif name == "create":
                created = loads.Creations(name, samples, users=1)
                stored = await loads.creates(both, rounds, options.rounds, created, options.creates, IN_FLIGHT)
                found["stored_bytes_a_note"] = round(stored)
            else:
                created = loads.Creations(name, samples, users=loads.MANY_USERS)
                await loads.creates(both, rounds, options.rounds, created, options.creates, (MOST,))
    return found | conclusions(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Calls a second and processor a call, with one and two processes.")
    parser.add_argument("--quick", action="store_true", help="few and short: shows that it works, nothing else")
    parser.add_argument("--only", nargs="+", choices=_LOADS, default=_LOADS, help="these loads; docs stays as it is")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement")
    parser.add_argument("--calls", type=int, default=10_000, help="of each measurement of lookups, a process")
    parser.add_argument("--operations", type=int, default=2_000, help="of each measurement of a mix")
    parser.add_argument("--creates", type=int, default=1_000, help="of each measurement of creations")
    parser.add_argument("--notes", type=int, default=300, help="of the user of a mix")
    parser.add_argument("--idle-seconds", type=float, default=5.0, help="for what idle processes take")
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.calls, options.operations, options.creates, options.notes = 1, 800, 200, 100, 100
    conditions = {
        "machine": page.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
        "corpus": collection().name,
    }
    found = conditions | asyncio.run(measure(options))
    print(table(found))
    if tuple(options.only) == _LOADS or options.out is not None:
        page.write("throughput", "Throughput", found, table(found), options.out)


if __name__ == "__main__":
    main()
