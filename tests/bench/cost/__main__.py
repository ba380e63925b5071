"""`make bench-cost` or `python -m tests.bench.cost`; --help lists what may be chosen."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import page
from tests.bench.cost import original
from tests.bench.cost.operations import LINKS, SIZES, measure
from tests.bench.cost.proxy import Bill
from tests.bench.cost.report import table
from tests.bench.cost.world import World, world


async def run(idle_seconds: float) -> dict[str, Any]:
    """Size -> operation -> numbers, and "idle" -> the numbers of a minute."""
    with tempfile.TemporaryDirectory(prefix="brain2-cost-") as data:
        async with world(Path(data)) as found:
            numbers: dict[str, Any] = {size.name: await measure(found, size) for size in SIZES}
            numbers["idle"] = await idle(found, idle_seconds)
            return numbers


async def idle(found: World, seconds: float) -> dict[str, Any]:
    """What one process of each service asks for in a minute in which nobody calls, once it has been idle for one."""
    await found.quiet()
    await asyncio.sleep(seconds)
    found.proxy.bill, found.proxy.polls = Bill(), Bill()
    await asyncio.sleep(seconds)
    both = [found.proxy.bill.numbers(), found.proxy.polls.numbers()]
    return {
        name: {key: _sum(each[name].get(key, 0) for each in both) for key in {**both[0][name], **both[1][name]}}
        if isinstance(both[0][name], dict)
        else _sum(each[name] for each in both) * 60 / seconds
        for name in both[0]
    }


def _sum(values: Any) -> Any:
    return sum(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="of the idle time, and of the wait before it")
    parser.add_argument("--before", action="store_true", help="keep the results as what later ones are compared with")
    parser.add_argument("--out", type=Path, help="a folder for the results; docs stays as it is")
    args = parser.parse_args()
    now = asyncio.run(run(args.idle_seconds))
    before = now if args.before else page.numbers("cost", args.out).get("before")
    found = {
        "machine": page.machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "now": now,
        "before": before,
        "original": {size.name: original.operations(size.content_bytes, LINKS) for size in SIZES},
    }
    print(table(found))
    page.write("cost", "Cost", found, table(found), args.out)


if __name__ == "__main__":
    main()
