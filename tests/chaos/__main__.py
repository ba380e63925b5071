"""`python -m tests.chaos`: break a running Brain2 in every way we can, and count what is lost.

python -m tests.chaos                     the long run: 100,000 operations, 500 faults, then the planted bugs
python -m tests.chaos --short             about a minute
python -m tests.chaos --cluster           the long run on a Redis Cluster of three masters, without the planted bugs
python -m tests.chaos --planted outbox    one planted bug: exits 0 if it was caught
python -m tests.chaos --only-planted      all three, and what they showed is put into the report of the last long run
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import page
from tests.chaos import planted
from tests.chaos.run import Outcome, Plan, run

# What each planted bug needs to show. outbox: crashes. lease: a list that many change, and that is forgotten and slowly
# read again and again, without memory that knows better than Redis. fence: races.
_FOR_BUG: dict[str, dict[str, Any]] = {
    "outbox": {"kinds": {"kill": 1, "bus": 1}, "pause": 1.0, "seconds": 20.0},
    "lease": {
        "kinds": {"slow": 1, "flush": 4},
        "pause": 0.3,
        "seconds": 25.0,
        "follows": 60,
        "env": {"BRAIN2_L1_BYTES": "0"},
    },
    "fence": {"kinds": {"stop": 1}, "pause": 3.0, "seconds": 25.0},
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="about a minute, for a look")
    parser.add_argument("--cluster", action="store_true", help="Redis is a cluster of three masters")
    parser.add_argument("--seconds", type=float, help="length of the load instead of the goals")
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--longest", type=float, default=3600.0, help="seconds after which the load ends anyway")
    parser.add_argument("--workers", type=int, default=6, help="workers for each of eight users, in the long run")
    parser.add_argument("--planted", choices=planted.BUGS, help="only this bug")
    parser.add_argument("--only-planted", action="store_true", help="without the long run")
    parser.add_argument("--no-planted", action="store_true", help="without the planted bugs")
    parser.add_argument("--keep", type=Path, help="folder for history and logs (default: a temporary one)")
    parser.add_argument("--report", type=Path, help="a folder for the results; docs stays as it is")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="brain2-chaos-"))
    try:
        if options.planted:
            return 0 if _caught(options.planted, options.seed, folder) else 1
        return _all(options, folder)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _all(options: argparse.Namespace, folder: Path) -> int:
    if options.only_planted:
        report = page.numbers("chaos", options.report)
        report["planted_bugs_caught"] = [bug for bug in planted.BUGS if _caught(bug, options.seed, folder)]
        page.write("chaos", "Faults", report, table(report), options.report)
        return 0 if report["planted_bugs_caught"] == list(planted.BUGS) else 1
    if options.short or options.seconds:
        seconds = options.seconds or 20.0
        plan = Plan(folder / "main", options.seed, seconds=seconds, cluster=options.cluster, rolling=True, rebuild=True)
    else:
        plan = Plan(
            folder / "main",
            options.seed,
            operations=options.operations,
            faults=options.faults,
            longest=options.longest,
            users=8,
            cluster=options.cluster,
            workers=options.workers,
            pause=1.3,
            # A message that failed four times waits for four minutes, and may do so twice.
            quiet_seconds=900.0,
            rolling=True,
            rebuild=True,
        )
    outcome = asyncio.run(run(plan, _say))
    _show(outcome)
    caught = []
    planting = not options.no_planted and not options.cluster
    if planting:
        caught = [bug for bug in planted.BUGS if _caught(bug, options.seed, folder)]
    report = _report(outcome, caught, options.seed)
    if not options.short and not options.seconds:
        name, title = ("chaos-cluster", "Faults on a Redis Cluster") if options.cluster else ("chaos", "Faults")
        page.write(name, title, report, table(report), options.report)
    missed = [bug for bug in planted.BUGS if planting and bug not in caught]
    if missed:
        _say(f"the checker missed {', '.join(missed)}")
    return 1 if outcome.violations or missed else 0


def _caught(bug: str, seed: int, folder: Path) -> bool:
    """Whether a short run with the bug breaks a promise; three seeds, for what a seed happens not to hit."""
    for attempt in range(3):
        plan = Plan(folder / f"{bug}-{attempt}", seed + attempt, bug=bug, quiet_seconds=60.0, **_FOR_BUG[bug])
        _say(f"planted bug: {bug}")
        outcome = asyncio.run(run(plan, _say))
        # That it never became quiet is a sign of trouble, but of none in particular.
        kinds = sorted({violation["kind"] for violation in outcome.violations} - {"NOT_QUIET"})
        _say(f"  {'caught: ' + ', '.join(kinds) if kinds else 'not caught'}")
        if kinds:
            return True
    return False


def _show(outcome: Outcome) -> None:
    _say(f"faults: {outcome.faults}")
    _say(f"requests hit in the proxies: {outcome.injected}")
    _say(f"errors that retries went over: {outcome.errors}")
    _say(f"slowest call with its retries: {outcome.slowest:.1f} s; dead letters sent again: {outcome.calm.redriven}")
    _say(f"automatic links against a clean rebuild: {outcome.rebuild}")
    for violation in outcome.violations[:50]:
        _say(f"VIOLATION {violation}")
    _say(f"{len(outcome.violations)} violations")


def _report(outcome: Outcome, caught: list[str], seed: int) -> dict[str, Any]:
    return {
        "faults": sum(outcome.faults.values()),
        "faults_by_kind": outcome.faults,
        "requests_hit": outcome.injected,
        "acknowledged": outcome.acknowledged,
        "unknown": outcome.unknown,
        "violations": len(outcome.violations),
        "planted_bugs_caught": caught,
        "seed": seed,
        "seconds": round(outcome.seconds),
        "rolling_restart": outcome.rolling,
        "dead_letters_redriven": outcome.calm.redriven,
        "quiet_after_seconds": round(outcome.calm.seconds, 1),
        "links_against_rebuild": outcome.rebuild,
        "looked_at": outcome.looked_at,
        "slowest_call_seconds": round(outcome.slowest, 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    same, missing, more = report["links_against_rebuild"].values()
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(report["faults_by_kind"].items()))
    calls, failed = report["rolling_restart"].values()
    rows = {
        "faults injected": f"{report['faults']:,} ({kinds})",
        "requests that they hit in the proxies": f"{sum(report['requests_hit'].values()):,}",
        "calls that were acknowledged, with an answer or a definite no": f"{report['acknowledged']:,}",
        "calls that ended unknown, after 90 s of retries": f"{report['unknown']:,}",
        "**promises broken**": f"**{report['violations']:,}**",
        "rolling restart of all services under load": f"{calls:,} calls, {failed} failed",
        "automatic links, against a clean rebuild": f"{same:,} the same, {missing} missing, {more} too many",
        "planted bugs that were caught": ", ".join(report["planted_bugs_caught"]) or "not tried",
    }
    lines = [
        f"{report['seconds'] // 60} minutes of load, seed {report['seed']}, {report['date']}.",
        "",
        "| | |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())])


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
