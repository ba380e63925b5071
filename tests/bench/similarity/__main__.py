"""Runs the measurements; see __init__.py. --quick: small, to see that it works."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import page
from tests.bench.similarity import core, report, served
from tests.bench.similarity.corpus import Sample, collection, read, samples

PEERS = ("tantivy", "bm25s", "sqlite-fts5", "scikit-learn")
_PYTHON = Path(".venv-bench/bin/python")


def main(arguments: Sequence[str]) -> int:
    """Measure and write; 0 when done."""
    parser = argparse.ArgumentParser(prog="make bench-similarity", description=__doc__)
    parser.add_argument("--file", type=Path, help="notes to start from (default: FOLDOC, else the shipped sample)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--served", type=int, default=100_000, help="the size that is also measured over gRPC; 0: none")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--peers-up-to", type=int, default=100_000, help="the largest size for the others")
    parser.add_argument("--rate", type=float, default=50.0, help="new notes a second for the delay of links")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--quick", action="store_true", help="500 and 2,000 notes, written to .brain2/ only")
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes, options.served, options.seconds = [500, 2_000], 2_000, 3.0
    folder = options.out or (Path(".brain2/bench") if options.quick else None)
    path = options.file or collection()
    base = read(path)
    found: dict[str, Any] = {
        "about": {
            "corpus": f"{path.name} ({len(base):,} notes), larger sizes by perturbed copies",
            "machine": page.machine(),
            "load": round(os.getloadavg()[0], 2),
        },
        "sizes": {},
    }
    for size in options.sizes:
        say(f"{size:,} notes")
        notes = samples(base, size + core.CHANGED)
        own = core.measure(notes)
        say(f"  brain2 {own}")
        if size == options.served:
            over = served_numbers(notes[:size], options.seconds, options.rate)
            say(f"  served {over}")
            found["links"] = {"rate": options.rate} | {k: v for k, v in over.items() if k.startswith("links")}
            own |= {k: v for k, v in over.items() if not k.startswith("links")}
        del notes
        found["sizes"][str(size)] = {"brain2": own}
        for name in options.peers if size <= options.peers_up_to else ():
            numbers = peer_numbers(path, size, name)
            if numbers:
                say(f"  {name} {numbers}")
                found["sizes"][str(size)][name] = numbers
        # Already now: a size that doesn't fit into this machine takes nothing from those before it. What isn't measured
        # this time stays as it was.
        before = page.numbers("similarity", folder)
        sizes = {**before.get("sizes", {}), **found["sizes"]}
        found = {**before, **found, "sizes": dict(sorted(sizes.items(), key=lambda each: int(each[0])))}
        page.write("similarity", "Similarity", found, report.table(found), folder)
    print(report.table(found))
    return 0


def served_numbers(notes: Sequence[Sample], seconds: float, rate: float) -> dict[str, float]:
    """served.measure() on stores of its own."""
    with tempfile.TemporaryDirectory() as data:
        return asyncio.run(served.measure(notes, seconds=seconds, rate=rate, data=Path(data)))


def peer_numbers(path: Path, size: int, name: str) -> dict[str, float]:
    """peers.py in its own process and environment, on one thread; {} when it can't run."""
    single = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    argv = [str(_PYTHON), "-m", "tests.bench.similarity.peers", str(path), str(size), name]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **single}, check=False)
    if done.returncode:
        say(f"  {name} could not run: {done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}")
        return {}
    numbers: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return numbers


def say(line: str) -> None:
    """Progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
