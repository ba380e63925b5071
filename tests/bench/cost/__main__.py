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
from tests.bench.cost.world import World, world

# List prices, in dollars per million: AWS, us-east-1, on demand.
PRICES: dict[str, Any] = {
    "date": "2025-11",
    "write_units": 0.625,
    "read_units": 0.125,
    "event_chunks": 1.00,
    "queue_requests": 0.40,
}
_TITLES = {
    "create_linked": f"create, index, {LINKS} links",
    "create": "create, index",
    "update_title": "update the title",
    "update_content": "update the content",
    "read_miss": "read, nothing cached",
    "read_hit": "read, from the cache",
    "lookup_miss": "neighbours, nothing cached",
    "lookup_hit": "neighbours, from a cache",
    "search": "search",
    "soft_delete": "soft delete",
    "restore": "restore",
    "delete_and_purge": "soft delete and purge",
}


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


def dollars(numbers: dict[str, Any]) -> float:
    """Of a million such operations."""
    queues = sum(count for name, count in numbers.get("requests_by", {}).items() if "Message" in name)
    return float(
        numbers["write_units"] * PRICES["write_units"]
        + numbers["read_units"] * PRICES["read_units"]
        + numbers.get("event_chunks", 0) * PRICES["event_chunks"]
        + queues * PRICES["queue_requests"]
    )


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    before = found.get("before") or found["now"]
    prices = found["prices"]
    lines = [
        f"Counted {found['date']}. WCU and RCU: write and read units of DynamoDB, indexes included, of an operation and"
        " of all that follows it in the four services; in brackets what it was before state and content had items"
        f" of their own. Dollars: of a million operations at the list prices of {prices['date']}, us-east-1, on demand"
        f" ({prices['write_units']} for a million write units, {prices['read_units']} for read units,"
        f" {prices['event_chunks']} for events of 64 KB, {prices['queue_requests']} for requests to a queue)."
        " *Original*: the schema that the design began with, all indexes with ALL attributes and a row for each of"
        f" {original.KEYWORDS} keywords, computed by the same rules; it has no transactions and no outbox, so that a"
        " crash loses events.",
    ]
    for size in SIZES:
        there = original.operations(size.content_bytes, LINKS)
        lines += [
            "",
            f"| a note of {size.name} | WCU | its own | RCU | requests | events | KB | $ a million | original: WCU |"
            " RCU | $ |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for name, title in _TITLES.items():
            now, was, old = found["now"][size.name][name], before[size.name][name], there[name]
            lines.append(
                f"| {title} | **{now['write_units']:g}** ({was['write_units']:g}) | {now['own_write_units']:g} |"
                f" {now['read_units']:g}"
                f" ({was['read_units']:g}) | {now['requests']} | {now['events']} | {now['bytes'] / 1024:.1f} |"
                f" {dollars(now):.2f} ({dollars(was):.2f}) | {old['write_units']:g} | {old['read_units']:g} |"
                f" {dollars(old):.2f} |"
            )
    now, was = found["now"]["idle"], before["idle"]
    lines += [
        "",
        f"An idle minute of one process of each service: **{now['read_units']:g}** RCU ({was['read_units']:g}),"
        f" {now['write_units']:g} WCU ({was['write_units']:g}), {now['requests']:g} requests ({was['requests']:g}).",
    ]
    return "\n".join(lines)


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
        "prices": PRICES,
        "now": now,
        "before": before,
        "original": {size.name: original.operations(size.content_bytes, LINKS) for size in SIZES},
    }
    print(table(found))
    page.write("cost", "Cost", found, table(found), args.out)


if __name__ == "__main__":
    main()
