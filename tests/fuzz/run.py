"""One fuzz run against a whole stack: `await run(Plan(...))`. `make fuzz` runs the long one (__main__.py)."""

import collections
import io
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.console import Console
from deploy.local.stack import SERVICES, Stack, running
from tests.fuzz.attack import Attack, Outcome
from tests.support.stack import stack_options

_WARM = 0.15
# The CPU time that one slice of an event loop may take: for each of the largest legal requests by itself, and for a
# flood of hostile ones, whose slices hold what many requests left for the garbage collector.
MOST_MS = 20
_FLOOD_MS = 100
# Milliseconds of CPU time that the work below took on the machine for which these are written.
_REFERENCE_MS = 10.6


def slowness() -> float:
    """How many times as much CPU time this machine takes for the same work; at least 1."""

    def work() -> float:
        before = time.thread_time()
        sum(each * each for each in range(200_000))
        return (time.thread_time() - before) * 1000

    return max(1.0, min(work() for _ in range(9)) / _REFERENCE_MS)


@dataclass(frozen=True)
class Plan:
    """data: a folder for the stack; count: how many inputs."""

    data: Path
    seed: int
    count: int
    workers: int = 24


@dataclass(frozen=True)
class Report:
    """The result. worst_loop_ms: the CPU time of the longest slice of each service's event loop."""

    outcome: Outcome
    crashed: int
    rss_growth_mb: float
    worst_loop_ms: dict[str, int]
    errors: list[str]

    def table(self) -> dict[str, Any]:
        """What docs/bench/fuzz.json holds."""
        totals: collections.Counter[str] = collections.Counter()
        for codes in self.outcome.codes.values():
            totals.update(codes)
        return {
            "inputs": self.outcome.inputs,
            "internal": self.outcome.internal,
            "crashed": self.crashed,
            "hung": self.outcome.hung,
            "leaked": self.outcome.leaked,
            "rss_growth_mb": self.rss_growth_mb,
            "worst_loop_ms": self.worst_loop_ms,
            "codes": dict(sorted(totals.items())),
            "codes_by_rpc": {name: dict(sorted(codes.items())) for name, codes in sorted(self.outcome.codes.items())},
        }

    @property
    def defects(self) -> list[str]:
        """What must be empty."""
        held = [
            f"the loop of {name} was held {ms} ms"
            for name, ms in self.worst_loop_ms.items()
            if ms > _FLOOD_MS * slowness()
        ]
        crashed = [f"{self.crashed} services ended"] if self.crashed else []
        return [*self.outcome.findings, *self.errors, *held, *crashed]


@dataclass(frozen=True)
class Watched:
    """A stack whose event loops are watched (entry.py)."""

    stack: Stack
    log: io.StringIO
    data: Path

    def worst_loop_ms(self) -> dict[str, int]:
        """The CPU time of the longest slice of each service's loop since the stack started or forget() was called."""
        return {name: _worst(self._file(name)) for name in SERVICES}

    def forget(self) -> None:
        """Measure anew."""
        for name in SERVICES:
            self._file(name).unlink(missing_ok=True)

    def errors(self) -> list[str]:
        """The lines of the log that no request may cause."""
        lines = self.log.getvalue().splitlines()
        return [line[:2000] for line in lines if re.search(r" CRITICAL |rpc crashed", line)]

    def slices(self) -> list[str]:
        """The lines of the log about slices that took long, with the code that ran."""
        return [line for line in self.log.getvalue().splitlines() if "the loop was held" in line]

    def _file(self, name: str) -> Path:
        return self.data / f"lag.{name}"


@asynccontextmanager
async def watched(data: Path) -> AsyncIterator[Watched]:
    """Start a stack; its log is in the folder afterwards."""
    log = io.StringIO()
    lag = {"FUZZ_LAG": str(data / "lag")}
    options = stack_options(data, trace_ratio=0.01, extra_env=lag, command=_command)
    try:
        async with running(options, Console(log, quiet=True)) as stack:
            yield Watched(stack, log, data)
    finally:
        (data / "log.txt").write_text(log.getvalue())


async def run(plan: Plan) -> Report:
    """Start a stack, send the inputs, and look at what is left."""
    async with watched(plan.data) as found:
        stack = found.stack
        warm = int(plan.count * _WARM)
        first = await Attack(stack.addresses, seed=plan.seed, count=warm, workers=plan.workers).run()
        before = _rss(stack)
        found.forget()  # the first requests of a process load what it needs
        attack = Attack(stack.addresses, seed=plan.seed + 1, count=plan.count - warm, workers=plan.workers)
        outcome = _joined(first, await attack.run())
        grown = max(after - before[name] for name, after in _rss(stack).items())
        crashed = sum(stack.children[name].ended.done() for name in SERVICES)
        worst = found.worst_loop_ms()
    return Report(outcome, crashed, round(grown / 1e6, 1), worst, found.errors()[:20])


def _command(context: str) -> Sequence[str]:
    return (sys.executable, "-m", "tests.fuzz.entry", context)


def _joined(one: Outcome, other: Outcome) -> Outcome:
    other.inputs += one.inputs
    other.internal += one.internal
    other.hung += one.hung
    other.leaked += one.leaked
    other.findings = one.findings + other.findings
    for name, codes in one.codes.items():
        other.codes.setdefault(name, collections.Counter()).update(codes)
    return other


def _rss(stack: Stack) -> dict[str, int]:
    """Resident memory of the services, in bytes."""
    found = {}
    for name in SERVICES:
        status = Path(f"/proc/{stack.children[name].pid}/status").read_text()
        matched = re.search(r"VmRSS:\s+(\d+) kB", status)
        found[name] = int(matched[1]) * 1024 if matched else 0
    return found


def _worst(file: Path) -> int:
    try:
        return round(float(file.read_text() or 0) * 1000)
    except FileNotFoundError:
        return 0
