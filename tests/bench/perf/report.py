"""What is promised, whether it was kept, and the table of docs/performance.md."""

from dataclasses import dataclass
from typing import Any

from tests.bench.perf.scenarios import Found


@dataclass(frozen=True, slots=True)
class Promise:
    """Of one operation. p50, p99: milliseconds that it stays below.

    ratio: at p50, at most so many times what `beside` takes: the machine's own call beside it.
    p99_ratio: at p99, at most so many times another operation: (its name, the factor).
    """

    operation: str
    p50: float | None = None
    p99: float | None = None
    ratio: float | None = None
    beside: str = ""
    p99_ratio: tuple[str, float] | None = None


PROMISES = (
    Promise("create", p50=30, p99=50, ratio=1.25, beside="one TransactWriteItems of the same items"),
    Promise("create at once"),
    Promise("similar", p99=200),
    Promise("delete", p99=30, ratio=1.25, beside="one TransactWriteItems of the same items"),
    Promise("restore", ratio=1.25, beside="one TransactWriteItems of the same items"),
    Promise("look up, DynamoDB", p99=10),
    Promise("look up, memory", p99=10, beside="an echo of the same bytes"),
    Promise("look up, Redis", p99=10, ratio=1.3, beside="a handler with one call to Redis"),
    Promise("look up, quiet stack", p99=10),
    Promise("look up beside an import", p99=10, p99_ratio=("look up, quiet stack", 2.0)),
)


def broken(found: Found) -> list[str]:
    """A line for each promise that was not kept."""
    lines = list(found.wrong)
    for promise in PROMISES:
        name, times = promise.operation, found.times.get(promise.operation)
        if times is None:
            continue
        for which, limit in (("p50", promise.p50), ("p99", promise.p99)):
            if limit is not None and getattr(times, which) >= limit:
                lines.append(f"{name}: {which} is {getattr(times, which)} ms, promised is less than {limit:g} ms")
        if promise.ratio is not None and (ratio := _ratio(found, name)) > promise.ratio:
            lines.append(f"{name}: p50 is {ratio:.2f} times {promise.beside}, promised is {promise.ratio:g} at most")
        if promise.p99_ratio is not None:
            other, limit = promise.p99_ratio
            if (ratio := times.p99 / found.times[other].p99) > limit:
                lines.append(f"{name}: p99 is {ratio:.2f} times that of: {other}; promised is {limit:g} at most")
    return lines


def table(found: Found, about: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"One caller unless stated; four services, their stores and the caller on {about['machine']}; notes of "
        f"{about['corpus']}; {about['date']}. Milliseconds, the client's. *Beside it*: what the machine takes at the "
        "same time for the call that is named, measured by the same client.",
        "",
        "| | calls | p50 | p99 | max | promised | beside it, p50 / p99 | ratio at p50 | promised |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for promise in PROMISES:
        times = found.times.get(promise.operation)
        if times is None:
            continue
        limits = [f"{which} < {limit:g}" for which in ("p50", "p99") if (limit := getattr(promise, which)) is not None]
        if promise.p99_ratio is not None:
            limits.append(f"p99 <= {promise.p99_ratio[1]:g} times that of the row above")
        beside = found.beside.get(promise.operation)
        compared = "| | |"
        if beside is not None:
            limit = "" if promise.ratio is None else f"<= {promise.ratio:g}"
            ratio = _ratio(found, promise.operation)
            compared = f"{promise.beside}: {beside.p50} / {beside.p99} | {ratio:.2f} | {limit} |"
        lines.append(
            f"| {promise.operation} | {times.calls:,} | {times.p50} | {times.p99} | {times.max} "
            f"| {', '.join(limits)} | {compared}"
        )
    kept = broken(found)
    lines += ["", *(f"- **broken** {line}" for line in kept)] if kept else []
    return "\n".join(lines)


def _ratio(found: Found, operation: str) -> float:
    return found.times[operation].p50 / found.beside[operation].p50
