"""`make fuzz`: 200,000 inputs to a stack of its own. The table goes into docs/bench/fuzz.json if there is no defect."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import Plan, run

_TABLE = Path(__file__).parents[2] / "docs" / "bench" / "fuzz.json"


def main() -> int:
    parser = argparse.ArgumentParser(description="Sends hostile requests to a stack of its own.")
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=24)
    parser.add_argument("--out", type=Path, default=_TABLE, help="where the table goes")
    parser.add_argument("--keep", type=Path, help="a folder for the stack and its log; a temporary one if it is absent")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(given.keep or Path(folder), given.seed, given.inputs, given.workers)
        report = asyncio.run(run(plan))
    table = {"seed": given.seed} | report.table()
    print(json.dumps({name: value for name, value in table.items() if name != "codes_by_rpc"}, indent=2))
    for line in report.defects:
        print(line)
    if not report.defects:
        given.out.write_text(json.dumps(table, indent=2) + "\n")
    return 1 if report.defects else 0


if __name__ == "__main__":
    sys.exit(main())
