"""What follows from the measurements, and the section of docs/performance.md."""

from collections.abc import Mapping
from typing import Any

from tests.bench.throughput.loads import ECHOES, MANY_USERS, Rounds
from tests.bench.throughput.world import IN_FLIGHT, MOST, Cell

_RATE = 10_000
TITLES = {
    "lookup": "GetNeighbors from memory",
    "echo": "bare grpc.aio echo of the same bytes",
    "echo_uvloop": "... that runs on uvloop, as the services do",
    "linkbench": "LinkBench's mix",
    "tao": "TAO's mix of reads",
    "create": "CreateNode of one user, indexed and linked",
    "create_many": f"CreateNode of {MANY_USERS} users in turn, indexed and linked",
}


def conclusions(rounds: Rounds) -> dict[str, Any]:
    """Ratios of the rounds, and what a core gives, from the cells with the most calls in flight."""
    cells = {name: rounds.medians(name) for name in TITLES if name in rounds.cells}
    one = {name: found["1"][str(MOST)] for name, found in cells.items() if name not in ECHOES}
    found: dict[str, Any] = dict(cells)
    if "lookup" in cells:
        found["lookup_vs_echo"] = {"graph": rounds.ratio("lookup", "echo", "graph")}
        found["lookup_vs_echo_uvloop"] = {"graph": rounds.ratio("lookup", "echo_uvloop", "graph")}
    found["two_processes"] = {name: rounds.two_processes(name) for name in cells}
    found["calls_of_one_core"] = {name: round(1e6 / each["us_all"]) for name, each in one.items()}
    found["cores_for_10000"] = {
        name: {service: round(_RATE * value / 1e6, 2) for service, value in each["us"].items()}
        for name, each in one.items()
    }
    return found


def table(found: Mapping[str, Any]) -> str:
    """Markdown of what was measured; a load that was left out has no row."""
    lines = [
        f"Measured {found['date']} on {found['machine']}, which the load and the stores share; load average "
        f"{found['load']}; medians of {found['rounds']} rounds. Calls a second / microseconds of processor a call in "
        "all services together.",
        "",
        "| | processes | " + " | ".join(f"{each} in flight a process" for each in IN_FLIGHT) + " |",
        "|---|---|" + "---|" * len(IN_FLIGHT),
    ]
    for name, title in TITLES.items():
        for count, cells in found.get(name, {}).items():
            shown = (_cell(cells.get(str(each))) for each in IN_FLIGHT)
            lines.append(f"| {title} | {count} | {' | '.join(shown)} |")
    if "stored_bytes_a_note" in found and "redis_bytes_a_note" in found:
        lines += [
            "",
            f"A note of {found['corpus']} takes {found['stored_bytes_a_note']:,} bytes of DynamoDB with its index "
            f"record, keywords and links; a note of a mix with five links takes {found['redis_bytes_a_note']:,} bytes "
            "of Redis.",
        ]
    if "lookup_vs_echo" in found:
        lines += [
            "",
            f"Calls by processor, {MOST} in flight, a lookup from memory against the bare echo: "
            f"{_spread(found['lookup_vs_echo']['graph'])} (goal >= 1); against the echo on uvloop: "
            f"{_spread(found['lookup_vs_echo_uvloop']['graph'])}.",
        ]
    lines += [
        "",
        f"| {MOST} in flight a process | one core gives, a second | cores for {_RATE:,} a second, by service "
        "| two processes, by processor a call (goal >= 1.8) |",
        "|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        if name not in found["two_processes"]:
            continue
        cores = found["cores_for_10000"].get(name, {})
        parts = ", ".join(f"{service} {value:g}" for service, value in cores.items() if value >= 0.05)
        given = found["calls_of_one_core"].get(name)
        core = "" if given is None else f"{given:,}"
        lines.append(f"| {title} | {core} | {parts} | {_spread(found['two_processes'][name])} |")
    return "\n".join(lines)


def _cell(cell: Cell | None) -> str:
    return "-" if cell is None else f"{cell['rps']:,.0f} / {cell['us_all']:,.0f}"


def _spread(found: Mapping[str, float]) -> str:
    return f"**{found['median']:.2f}** ({found['min']:.2f} - {found['max']:.2f})"
