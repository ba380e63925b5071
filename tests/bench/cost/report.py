"""The section of docs/performance.md: the counts of docs/bench/cost.json, with the prices of docs/capacity.json."""

from collections.abc import Mapping
from typing import Any

from deploy import capacity
from protos.table import SERVICES
from tests.bench.cost import original
from tests.bench.cost.operations import LINKS, SIZES

TITLES = {
    "create_linked": f"create, index, {LINKS} links",
    "create": "create, index",
    "update_title": "update the title",
    "update_content": "update the content",
    "create_edge": "create an edge",
    "get_edge": "get an edge, which no cache holds",
    "update_edge": "update an edge",
    "delete_edge": "delete an edge",
    "read_miss": "read, nothing cached",
    "read_hit": "read, from the cache",
    "lookup_miss": "neighbours, nothing cached",
    "lookup_hit": "neighbours, from a cache",
    "search": "search",
    "soft_delete": "soft delete",
    "restore": "restore",
    "delete_and_purge": "soft delete and purge",
}


def dollars(numbers: Mapping[str, Any], prices: Mapping[str, Any]) -> float:
    """Of a million such operations. prices: those of docs/capacity.json."""
    queues = sum(count for name, count in numbers.get("requests_by", {}).items() if "Message" in name)
    amounts = {
        "write_units_million": numbers["write_units"],
        "read_units_million": numbers["read_units"],
        "events_million": numbers.get("event_chunks", 0),
        "queue_requests_million": queues,
    }
    return float(sum(amount * prices[name]["value"] for name, amount in amounts.items()))


def table(found: Mapping[str, Any]) -> str:
    """Markdown, with the prices that docs/capacity.json has now."""
    before = found.get("before") or found["now"]
    prices = capacity.given()["prices"]
    values = {name: each["value"] for name, each in prices.items()}
    lines = [
        f"Counted {found['date']}. WCU and RCU: write and read units of DynamoDB, indexes included, of an operation and"
        " of all that follows it in the four services; in brackets what it was before state and content had items"
        " of their own. The columns *node* to *cleanup*: the WCU of the items of each service. Dollars: of a million"
        " operations at the prices of [capacity](capacity.md#inputs), on demand"
        f" ({values['write_units_million']} for a million write units, {values['read_units_million']} for read units,"
        f" {values['events_million']} for events of 64 KB, {values['queue_requests_million']} for requests to a"
        " queue). *Original*: the schema that the design began with, all indexes with ALL attributes and a row for each"
        f" of {original.KEYWORDS} keywords, computed by the same rules; it has no transactions and no outbox, so that a"
        " crash loses events.",
    ]
    for size in SIZES:
        there = found["original"][size.name]
        lines += [
            "",
            f"| a note of {size.name} | WCU | {' | '.join(SERVICES)} | RCU | requests | events | KB | $ a million |"
            " original: WCU | RCU | $ |",
            "|---|---|" + "---|" * len(SERVICES) + "---|---|---|---|---|---|---|---|",
        ]
        for name, title in TITLES.items():
            now = found["now"][size.name][name]
            # What was not counted then has nothing in brackets.
            was = before[size.name].get(name)
            brackets = ["", "", ""] if was is None else [f" ({each})" for each in _shown(was, prices)]
            was_wcu, was_rcu, was_cost = brackets
            services = " | ".join(f"{now['write_units_by_service'][service]:g}" for service in SERVICES)
            wcu, rcu, cost = _shown(now, prices)
            lines.append(
                f"| {title} | **{wcu}**{was_wcu} | {services} | {rcu}{was_rcu} | {now['requests']} | {now['events']} |"
                f" {now['bytes'] / 1024:.1f} | {cost}{was_cost} | {' | '.join(_shown(there[name], prices))} |"
            )
    now, was = found["now"]["idle"], before["idle"]
    lines += [
        "",
        f"An idle minute of one process of each service: **{now['read_units']:g}** RCU ({was['read_units']:g}),"
        f" {now['write_units']:g} WCU ({was['write_units']:g}), {now['requests']:g} requests ({was['requests']:g}).",
    ]
    return "\n".join(lines)


def _shown(numbers: Mapping[str, Any], prices: Mapping[str, Any]) -> list[str]:
    """WCU, RCU and dollars."""
    return [f"{numbers['write_units']:g}", f"{numbers['read_units']:g}", f"{dollars(numbers, prices):.2f}"]
