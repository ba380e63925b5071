"""What is promised, whether it was kept, and the table of docs/performance.md."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.perf.scenarios import PARTS, Found


@dataclass(frozen=True, slots=True)
class Promise:
    """Of one operation, in one of PARTS. p50, p99: milliseconds that it stays below.

    ratio: at p50, at most so many times what `beside` takes: the machine's own call beside it.
    p99_ratio: at p99, at most so many times another operation: (its name, the factor).
    """

    part: str
    operation: str
    p50: float | None = None
    p99: float | None = None
    ratio: float | None = None
    beside: str = ""
    p99_ratio: tuple[str, float] | None = None


PROMISES = (
    Promise("create", "create", p50=30, p99=50, ratio=1.25, beside="one TransactWriteItems of the same items"),
    Promise("create", "create at once"),
    Promise("similar", "similar", p99=200),
    Promise("delete", "delete", p99=30, ratio=1.25, beside="one TransactWriteItems of the same items"),
    Promise("delete", "restore", ratio=1.25, beside="one TransactWriteItems of the same items"),
    Promise("lookup", "look up, DynamoDB", p99=10),
    Promise("lookup", "look up, memory", p99=10, beside="an echo of the same bytes"),
    Promise("lookup", "look up, Redis", p99=10, ratio=1.3, beside="a handler with one call to Redis"),
    Promise("import", "look up, quiet stack", p99=10),
    Promise("import", "look up beside an import", p99=10, p99_ratio=("look up, quiet stack", 2.0)),
)


def broken(found: Found, parts: Collection[str] = PARTS) -> list[str]:
    """A line for each promise of these parts that was not kept. One that was not measured was not kept."""
    lines = list(found.wrong)
    for promise in PROMISES:
        if promise.part not in parts:
            continue
        name, times, beside = promise.operation, found.times.get(promise.operation), found.beside.get(promise.operation)
        other, p99_limit = promise.p99_ratio or (name, 1.0)
        if times is None or other not in found.times or (promise.beside and beside is None):
            lines.append(f"{name}: not measured")
            continue
        for which, limit in (("p50", promise.p50), ("p99", promise.p99)):
            if limit is not None and getattr(times, which) >= limit:
                lines.append(f"{name}: {which} is {getattr(times, which)} ms, promised is less than {limit:g} ms")
        if promise.ratio is not None and beside is not None and (ratio := times.p50 / beside.p50) > promise.ratio:
            lines.append(f"{name}: p50 is {ratio:.2f} times {promise.beside}, promised is {promise.ratio:g} at most")
        if (ratio := times.p99 / found.times[other].p99) > p99_limit:
            lines.append(f"{name}: p99 is {ratio:.2f} times that of: {other}; promised is {p99_limit:g} at most")
    return lines


def table(numbers: Mapping[str, Any]) -> str:
    """Markdown of what perf.json has."""
    lines = [
        f"One caller unless stated; four services, their stores and the caller on {numbers['machine']}; notes of "
        f"{numbers['corpus']}; {numbers['date']}. Milliseconds, the client's. *Beside it*: what the machine takes at "
        "the same time for the call that is named, measured by the same process. It sends the TransactWriteItems with "
        "aioboto3; the services write with a client of their own (`shared/aws_dynamo.py`).",
        "",
        "| | calls | p50 | p99 | max | promised | beside it, p50 / p99 | ratio at p50 | promised |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for promise in PROMISES:
        times = numbers["ms"].get(promise.operation)
        if times is None:
            continue
        limits = [f"{which} < {limit:g}" for which in ("p50", "p99") if (limit := getattr(promise, which)) is not None]
        if promise.p99_ratio is not None:
            limits.append(f"p99 <= {promise.p99_ratio[1]:g} times that of the row above")
        beside = numbers["machine_ms"].get(promise.operation)
        compared = "| | |"
        if beside is not None:
            limit = "" if promise.ratio is None else f"<= {promise.ratio:g}"
            ratio = times["p50"] / beside["p50"]
            compared = f"{promise.beside}: {beside['p50']} / {beside['p99']} | {ratio:.2f} | {limit} |"
        lines.append(
            f"| {promise.operation} | {times['calls']:,} | {times['p50']} | {times['p99']} | {times['max']} "
            f"| {', '.join(limits)} | {compared}"
        )
    lines += ["", *(f"- **broken** {line}" for line in numbers["broken"])] if numbers["broken"] else []
    return "\n".join(lines)
