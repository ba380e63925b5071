"""What a rate of calls takes: pods, shards, units, quotas and dollars, from measurements and from inputs.

Measured: docs/bench/throughput.json (processor, Redis, bytes; `make bench-throughput`), docs/bench/cost.json (units,
events; `make bench-cost`) and docs/bench/similarity.json (adding a note; `make bench-similarity`). Inputs:
docs/capacity.json, with prices, quotas and assumptions. `make docs` writes the tables into docs/capacity.md;
`python -m deploy.capacity --inputs FILE` prints them with inputs of your own.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protos.table import OUTBOX_SHARDS, RELINK_SHARDS

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_SERVICES = ("node", "graph", "similarity", "cleanup")
# Those whose outboxes are large: similarity has no events, and cleanup's are those of deletions.
_OUTBOXES = ("node", "graph")
_UNITS = ("write", "read")
_HOURS = 730
_SECONDS = _HOURS * 3600
_OUTBOX = "event in the outbox of "
_RELINK = "DeletionQueue: links to make"
# The cells with the most calls in flight for one process.
_CELL = "32"
# The index, in notes, whose time of adding a note is planned with.
_INDEX = "10000"
# How much of what a pod may use may be spent on what other pods have indexed.
_APPLIED_SHARE = 0.5
_TITLES = {"tao": "TAO's reads", "linkbench": "LinkBench"}


@dataclass(frozen=True)
class Operation:
    """What one operation costs at the stores.

    outbox_units: by the service whose outbox it is. user_units: write units in the partition of its user.
    """

    write_units: float
    read_units: float
    outbox_units: Mapping[str, float]
    user_units: float
    chunks: float


@dataclass(frozen=True)
class Inputs:
    """All that a plan is made from, as the files hold it."""

    given: Mapping[str, Any]
    throughput: Mapping[str, Any]
    cost: Mapping[str, Any]
    similarity: Mapping[str, Any]

    @property
    def add_seconds(self) -> float:
        """Processor that it takes to add a note to an index in memory."""
        return float(self.similarity["sizes"][_INDEX]["brain2"]["add_ms"]) / 1e3

    def price(self, name: str) -> float:
        """Dollars."""
        return float(self.given["prices"][name]["value"])

    def quota(self, name: str) -> float:
        """A second."""
        return float(self.given["quotas"][name]["value"])

    def operation(self, name: str) -> Operation:
        """An operation of docs/bench/cost.json on a note of 1 KB."""
        found = self.cost["now"]["1 KB"][name]
        by = found["write_units_by"]
        outbox = {service: by.get(_OUTBOX + service, 0) for service in _SERVICES}
        indexes = sum(units for item, units in by.items() if ":" in item)
        user = found["write_units"] - sum(outbox.values()) - indexes
        return Operation(found["write_units"], found["read_units"], outbox, user, found["event_chunks"])


@dataclass(frozen=True)
class Plan:
    """What a rate of a mix takes. Numbers without a unit in their name are a second's."""

    mix: str
    rate: int
    # Deployments among which the users are divided: each of their indexes takes in the notes of its own users only.
    deployments: int
    # Without what each pod of similarity takes for the notes that the others have indexed.
    cores: Mapping[str, float]
    pods: Mapping[str, int]
    write_units: float
    read_units: float
    outbox_shards: Mapping[str, int]
    users: int
    events: float
    invocations: float
    cache_shards: int
    storage_gb: float
    dollars: Mapping[str, float]


def given() -> dict[str, Any]:
    """docs/capacity.json: the only place of prices and quotas."""
    found: dict[str, Any] = json.loads((_DOCS / "capacity.json").read_text(encoding="utf-8"))
    return found


def load(own: Path | None = None) -> Inputs:
    """The files of the checkout. own: a JSON file whose values take the place of those of docs/capacity.json."""
    measured = [_DOCS / "bench" / f"{name}.json" for name in ("throughput", "cost", "similarity")]
    found = [json.loads(file.read_text(encoding="utf-8")) for file in measured]
    inputs = given()
    if own is not None:
        inputs = _merged(inputs, json.loads(own.read_text(encoding="utf-8")), own.name)
    return Inputs(inputs, *found)


def _merged(old: Any, new: Any, where: str) -> Any:
    """`old` with the values of `new`. ValueError for a name that `old` does not have."""
    if not isinstance(old, dict):
        return new
    if not isinstance(new, dict):
        if "source" in old:
            return {"value": new, "date": "your own", "source": where}
        raise ValueError(f"{where}: {new!r} stands in place of {', '.join(old)}")
    if unknown := sorted(new.keys() - old.keys()):
        raise ValueError(f"{where}: there is no input {unknown[0]!r}; there are {', '.join(old)}")
    return {**old, **{name: _merged(old[name], value, where) for name, value in new.items()}}


def plan(inputs: Inputs, mix: str, rate: int) -> Plan:
    """The plan for so many operations of the mix a second, all the time."""
    given, assumed = inputs.given, inputs.given["assumed"]
    shares = {name: share / 100 for name, share in inputs.throughput["shares"][mix].items()}
    cores = _cores(inputs, mix, shares, rate)
    # Each pod of similarity applies all notes of its deployment to its indexes, at worst.
    applied = rate * _written(shares) * inputs.add_seconds
    deployments = max(1, math.ceil(applied / (assumed["pod_cores_used"] * _APPLIED_SHARE)))
    usable_cores = dict.fromkeys(cores, assumed["pod_cores_used"])
    usable_cores["similarity"] -= applied / deployments
    pods = {
        name: max(assumed["least_pods"][name] * deployments, math.ceil(each / usable_cores[name]))
        for name, each in cores.items()
    }
    units = {"write": 0.0, "read": 0.0, "user": 0.0}
    outbox = dict.fromkeys(_OUTBOXES, 0.0)
    events = invocations = 0.0
    for name, share in shares.items():
        kind = given["operations"][name]
        one = inputs.operation(kind)
        calls = rate * share * (1 - assumed["reads_cached"] if kind.endswith("_miss") else 1.0)
        units["write"] += calls * one.write_units
        units["read"] += calls * one.read_units
        units["user"] += calls * one.user_units
        for service in outbox:
            outbox[service] += calls * one.outbox_units[service]
        events += calls * one.chunks
        invocations += calls * one.chunks * given["targets"].get(kind, 0)
    usable = {which: inputs.quota(f"partition_{which}_units") * assumed["partition_share_used"] for which in _UNITS}
    storage = assumed["notes"] * inputs.throughput["stored_bytes_a_note"] / 1e9
    cache_shards = max(deployments, _cache_shards(inputs, mix, rate))
    month = _SECONDS / 1e6
    dollars = {
        "write units, on demand": units["write"] * month * inputs.price("write_units_million"),
        "read units, on demand": units["read"] * month * inputs.price("read_units_million"),
        "storage": storage * inputs.price("storage_gb_month"),
        "events": events * month * inputs.price("events_million"),
        "queue requests": invocations
        * assumed["queue_requests_a_message"]
        * month
        * inputs.price("queue_requests_million"),
        "cores": sum(pods.values()) * _HOURS * inputs.price("core_hour"),
        "cache": cache_shards * assumed["cache_nodes_a_shard"] * _HOURS * inputs.price("cache_node_hour"),
    }
    return Plan(
        mix=mix,
        rate=rate,
        deployments=deployments,
        cores=cores,
        pods=pods,
        write_units=units["write"],
        read_units=units["read"],
        outbox_shards={
            name: max(OUTBOX_SHARDS * deployments, math.ceil(each / usable["write"])) for name, each in outbox.items()
        },
        users=math.ceil(max(units["user"] / usable["write"], units["read"] / usable["read"])),
        events=events,
        invocations=invocations,
        cache_shards=cache_shards,
        storage_gb=storage,
        dollars=dollars,
    )


def _cores(inputs: Inputs, mix: str, shares: Mapping[str, float], rate: int) -> dict[str, float]:
    """Cores by service.

    The notes of LinkBench are one letter, many times. What it takes to index and link real notes is taken from the
    measurement of creations instead, where that is more.
    """
    us = inputs.throughput[mix]["1"][_CELL]["us"]
    create = inputs.throughput["create"]["1"][_CELL]["us"]
    written = _written(shares)
    found = {}
    for name in _SERVICES:
        measured = us.get(name, 0.0)
        if name == "similarity":
            measured = max(measured, written * create[name])
        if name == "graph":
            measured += written * create[name]
        found[name] = rate * measured / 1e6
    return found


def _written(shares: Mapping[str, float]) -> float:
    return sum(shares.get(name, 0.0) for name in ("addnode", "updatenode"))


def _cache_shards(inputs: Inputs, mix: str, rate: int) -> int:
    assumed = inputs.given["assumed"]
    commands: float = rate * inputs.throughput[mix]["1"][_CELL]["redis_commands"]
    held: float = assumed["notes"] * assumed["notes_cached"] * inputs.throughput["redis_bytes_a_note"]
    by_commands = math.ceil(commands / float(assumed["cache_node_commands"]))
    return max(1, by_commands, math.ceil(held / float(assumed["cache_node_bytes"])))


def plans(inputs: Inputs) -> str:
    """The table of the plans."""
    made = [plan(inputs, each["mix"], each["rate"]) for each in inputs.given["plans"]]
    rows: list[tuple[str, list[str]]] = [
        ("deployments among which the users are divided", [f"{each.deployments:,}" for each in made])
    ]
    rows += [(f"pods of {name}, one process each", [f"{each.pods[name]:,}" for each in made]) for name in _SERVICES]
    rows += [
        ("cores that they use", [f"{sum(each.cores.values()):,.0f}" for each in made]),
        ("DynamoDB write units", [f"{each.write_units:,.0f}" for each in made]),
        (
            "... of the table's default quota",
            [_share(each.write_units, inputs.quota("table_write_units")) for each in made],
        ),
        ("DynamoDB read units", [f"{each.read_units:,.0f}" for each in made]),
        (
            "... of the table's default quota",
            [_share(each.read_units, inputs.quota("table_read_units")) for each in made],
        ),
        ("users among whom the calls must be spread, at least", [f"{each.users:,}" for each in made]),
        *((f"outbox shards of {name}", [f"{each.outbox_shards[name]:,}" for each in made]) for name in _OUTBOXES),
        ("events", [f"{each.events:,.0f}" for each in made]),
        ("... of the quota, if each went alone", [_share(each.events, inputs.quota("put_events")) for each in made]),
        ("invocations (messages to queues)", [f"{each.invocations:,.0f}" for each in made]),
        ("... of the quota", [_share(each.invocations, inputs.quota("invocations")) for each in made]),
        ("Redis shards", [f"{each.cache_shards:,}" for each in made]),
        ("GB in DynamoDB", [f"{each.storage_gb:,.0f}" for each in made]),
    ]
    rows += [(f"dollars a month: {name}", [f"{each.dollars[name]:,.0f}" for each in made]) for name in made[0].dollars]
    rows.append(("**dollars a month**", [f"**{sum(each.dollars.values()):,.0f}**" for each in made]))
    rows.append(("... with provisioned units", [f"{_provisioned(inputs, each):,.0f}" for each in made]))
    head = " | ".join(f"{each.rate:,} of {_TITLES[each.mix]}" for each in made)
    lines = [f"| a second | {head} |", "|---|" + "---:|" * len(made)]
    lines += [f"| {title} | {' | '.join(values)} |" for title, values in rows]
    write, read = (f"{_break_even(inputs, which):.0%}" for which in _UNITS)
    lines += [
        "",
        f"Provisioned write units are cheaper than those on demand where more than {write} of them are used, over all "
        f"hours; for read units it is {read}.",
    ]
    return "\n".join(lines)


def _break_even(inputs: Inputs, which: str) -> float:
    """The share of provisioned units from whose use on they are cheaper than units on demand."""
    provisioned = inputs.price(f"{which}_unit_hour") / 3600
    return provisioned / (inputs.price(f"{which}_units_million") / 1e6)


def limits(inputs: Inputs) -> str:
    """The table of what one partition and one pod limit."""
    writes, reads = (inputs.quota(f"partition_{which}_units") for which in _UNITS)
    linked, create, edge = (inputs.operation(name) for name in ("create_linked", "create", "create_edge"))
    lines = ["| limit | a second |", "|---|---:|"]
    rows = [
        ("notes of one user, created and indexed (one partition)", writes / create.user_units),
        ("edges of one user, by CreateEdge (one partition)", writes / edge.user_units),
    ]
    rows += [
        (f"{what} of one user (one partition)", reads / inputs.operation(name).read_units)
        for name, what in _READS.items()
    ]
    rows += [
        ("notes of all users by node's outbox, for each shard", writes / create.outbox_units["node"]),
        ("batches of links of all users by graph's outbox, for each shard", writes / linked.outbox_units["graph"]),
        ("edges of all users by graph's outbox, for each shard", writes / edge.outbox_units["graph"]),
    ]
    if relink := inputs.cost["now"]["1 KB"]["create"]["write_units_by"].get(_RELINK):
        rows.append(("bursts of notes, each of one user, that relinking notes down", writes * RELINK_SHARDS / relink))
    pod = inputs.given["assumed"]["pod_cores_used"]
    rows.append(("notes of all users, if every pod of similarity has all their indexes", pod / inputs.add_seconds))
    lines += [f"| {title} | {value:,.0f} |" for title, value in rows]
    for name, value in inputs.throughput["calls_of_one_core"].items():
        lines.append(f"| one core: {_CORE[name]} | {value:,} |")
    return "\n".join(lines)


_READS = {
    "read_miss": "notes read, nothing cached,",
    "lookup_miss": "lists of neighbours read, nothing cached,",
    "get_edge": "edges read, by GetEdge,",
}
_CORE = {
    "lookup": "GetNeighbors from memory",
    "linkbench": "LinkBench's mix, all services",
    "tao": "TAO's mix of reads, all services",
    "create": "CreateNode of one user, indexed and linked, all services",
    "create_many": "CreateNode of many users, indexed and linked, all services",
}


def inputs_table(inputs: Inputs) -> str:
    """The inputs, as the tables were made with them."""
    given, measured = inputs.given, inputs.throughput
    lines = ["| input | value | from |", "|---|---|---|"]
    for name, each in [*given["prices"].items(), *given["quotas"].items()]:
        lines.append(f"| {name} | {each['value']:,} | {each['source']}; {each['date']} |")
    for name, value in given["assumed"].items():
        shown = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else f"{value:,}"
        lines.append(f"| {name} | {shown} | assumed |")
    here = f"`make bench-throughput`, {measured['date']}, {measured['machine']}, load average {measured['load']}"
    lines += [f"| {name} | {measured[name]:,} | {here} |" for name in ("stored_bytes_a_note", "redis_bytes_a_note")]
    lines.append(f"| seconds to add a note to an index | {inputs.add_seconds:.6f} | {_added(inputs)} |")
    lines.append(f"| units and events | docs/bench/cost.json | `make bench-cost`, {inputs.cost['date']} |")
    return "\n".join(lines)


def _added(inputs: Inputs) -> str:
    about = inputs.similarity["about"]
    return f"`make bench-similarity`, {int(_INDEX):,} notes, {about['machine']}, load average {about['load']}"


def _share(value: float, quota: float) -> str:
    return f"{value / quota:.0%}"


def _provisioned(inputs: Inputs, made: Plan) -> float:
    """Dollars a month with provisioned units, of which as much is used as of a partition."""
    used = inputs.given["assumed"]["partition_share_used"]
    units: float = made.write_units * inputs.price("write_unit_hour") + made.read_units * inputs.price("read_unit_hour")
    others: float = sum(value for name, value in made.dollars.items() if not name.endswith("on demand"))
    total: float = others + units / used * _HOURS
    return total


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m deploy.capacity", description=main.__doc__)
    parser.add_argument(
        "--inputs",
        type=Path,
        metavar="FILE",
        help='JSON with values in place of those of docs/capacity.json, such as {"prices": {"core_hour": 0.03}}',
    )
    own = parser.parse_args(argv).inputs
    try:
        inputs = load(own)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print("\n\n".join((plans(inputs), limits(inputs), inputs_table(inputs))))


if __name__ == "__main__":
    main()
