"""`make perf` or `python -m tests.bench.perf`; --help lists what may be chosen. Exit code 1: a promise was broken."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from tests.bench import page
from tests.bench.perf import report
from tests.bench.perf.scenarios import PARTS, QUICK, Scale, measure
from tests.bench.similarity.corpus import collection


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small: shows that it works; writes nothing into docs")
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="a part to measure; again for more; writes nothing into docs"
    )
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    args = parser.parse_args()
    scale = QUICK if args.quick else Scale()
    parts = args.only or PARTS
    found = asyncio.run(measure(scale, lambda part: print(f"measuring: {part}", flush=True), parts))
    about = {
        "machine": page.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "corpus": collection().name,
    }
    broken = report.broken(found, parts)
    numbers = {**about, **found.numbers(), "broken": broken}
    table = report.table(numbers)
    print(table)
    if args.out or not (args.quick or args.only):
        page.write("perf", "The promises", numbers, table, args.out)
    for line in broken:
        print(f"BROKEN {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
