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

# Until all that polls has found nothing so often that it polls less.
_REST_SECONDS = 60.0


async def run(idle_seconds: float) -> dict[str, Any]:
    """Size -> operation -> numbers, and "idle" -> the numbers of a minute."""
    with tempfile.TemporaryDirectory(prefix="brain2-cost-") as data:
        async with world(Path(data)) as found:
            numbers: dict[str, Any] = {size.name: await measure(found, size) for size in SIZES}
            numbers["idle"] = await idle(found, idle_seconds)
            return numbers


async def idle(found: World, seconds: float) -> dict[str, Any]:
    """What one process of each service asks for in a minute in which nobody calls, once it has been idle for one.

    seconds: how long it is measured. What is done every few minutes is in some minutes only.
    """
    await found.quiet()
    await asyncio.sleep(_REST_SECONDS)
    found.proxy.bill, found.proxy.polls = Bill(), Bill()
    await asyncio.sleep(seconds)
    counted, polled = found.proxy.bill.numbers(), found.proxy.polls.numbers()
    return {name: _a_minute(counted[name], polled[name], seconds) for name in counted}


def _a_minute(counted: Any, polled: Any, seconds: float) -> Any:
    """Both together, of one minute: two numbers, or two tables of numbers."""
    if isinstance(counted, dict):
        return {key: _a_minute(counted.get(key, 0), polled.get(key, 0), seconds) for key in {**counted, **polled}}
    return round((counted + polled) * 60 / seconds, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-seconds", type=float, default=180.0, help="of the idle time")
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
