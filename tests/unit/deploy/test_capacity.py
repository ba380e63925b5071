"""The plans of docs/capacity.md follow from the measurements and the inputs."""

import copy
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploy import capacity
from deploy.capacity import Inputs, Operation, plan
from tests.bench.throughput.loads import ECHOES
from tests.bench.throughput.report import TITLES


def operation(**changes: Any) -> dict[str, Any]:
    return {"write_units": 0, "read_units": 0, "event_chunks": 0, "write_units_by": {}} | changes


@pytest.fixture
def inputs() -> Inputs:
    """Round numbers: a mix of 90 % lookups and 10 % creations; another one is of edges alone."""
    given = copy.deepcopy(dict(capacity.load().given))
    given["assumed"] |= {
        "pod_cores_used": 0.5,
        "least_pods": dict.fromkeys(("node", "graph", "similarity", "cleanup"), 1),
        "partition_share_used": 0.5,
        "reads_cached": 0.9,
        "cache_node_commands": 1000,
        "cache_node_bytes": 10**9,
        "notes": 10**6,
        "notes_cached": 0.5,
    }
    given["operations"] = {
        "look": "lookup_miss",
        "new": "create",
        "get": "get_edge",
        "addlink": "create_edge",
    }
    us = {"node": 100.0, "graph": 200.0, "similarity": 0.0, "cleanup": 0.0}
    cells = {"1": {"32": {"us": us, "redis_commands": 2.0}}}
    throughput = {
        "shares": {"mixed": {"look": 90, "new": 10}, "edges": {"get": 90, "addlink": 10}},
        "mixed": cells,
        "edges": cells,
        "create": cells,
        "stored_bytes_a_note": 5000,
        "redis_bytes_a_note": 4000,
    }
    by = {"note": 4, "UserTimeIndex: note": 3, "event in the outbox of node": 3}
    linked = by | {"edge": 4, "event in the outbox of graph": 6}
    edge = {"edge": 4, "event in the outbox of graph": 5}
    cost = {
        "now": {
            "1 KB": {
                "create": operation(write_units=10, read_units=1, event_chunks=1, write_units_by=by),
                "create_linked": operation(write_units=20, event_chunks=2, write_units_by=linked),
                "create_edge": operation(write_units=9, read_units=4, event_chunks=1, write_units_by=edge),
                "get_edge": operation(read_units=3),
                "lookup_miss": operation(read_units=2),
                "read_miss": operation(read_units=1),
            }
        }
    }
    similarity = {"sizes": {"10000": {"brain2": {"add_ms": 0.1}}}}
    return Inputs(given, throughput, cost, similarity)


def test_an_operation_is_divided_into_its_partitions(inputs: Inputs) -> None:
    none = {"node": 0, "graph": 0, "similarity": 0, "cleanup": 0}
    assert inputs.operation("create") == Operation(10, 1, outbox_units=none | {"node": 3}, user_units=4, chunks=1)
    outbox = none | {"node": 3, "graph": 6}
    assert inputs.operation("create_linked") == Operation(20, 0, outbox_units=outbox, user_units=8, chunks=2)


def test_an_edge_is_planned_with_what_an_edge_was_measured_to_cost(inputs: Inputs) -> None:
    made = plan(inputs, "edges", 10_000)
    assert made.write_units == pytest.approx(1_000 * 9)
    assert made.read_units == pytest.approx(1_000 * 4 + 9_000 * 3), "no cache has an edge"
    assert (made.events, made.invocations) == (1_000, 0)
    # 5,000 units of the outbox, of which a partition is used for 500.
    assert made.outbox_shards == {"node": 8, "graph": 10}


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("addlink", "create_edge"),
        ("updatelink", "update_edge"),
        ("deletelink", "delete_edge"),
        ("getlink", "get_edge"),
        ("get", "get_edge"),
    ],
)
def test_the_operations_on_edges_of_the_mixes_are_measured_ones(name: str, operation: str) -> None:
    assert capacity.load().given["operations"][name] == operation


def test_every_operation_of_the_mixes_was_measured() -> None:
    inputs = capacity.load()
    for name in inputs.given["operations"].values():
        inputs.operation(name)


def test_reads_spread_users_as_writes_do(inputs: Inputs) -> None:
    # 2,800 units of reads and 4,000 of users' writes, of 1,500 and 500 of a partition.
    assert plan(inputs, "mixed", 10_000).users == 8
    # 31,000 units of reads and 4,000 of writes.
    assert plan(inputs, "edges", 10_000).users == 21


def test_the_limits_of_reads_are_stated_beside_those_of_writes(inputs: Inputs) -> None:
    table = capacity.limits(replace(inputs, throughput={**inputs.throughput, "calls_of_one_core": {}}))
    assert "| notes of one user, created and indexed (one partition) | 250 |" in table
    assert "| edges read, by GetEdge, of one user (one partition) | 1,000 |" in table
    assert "| lists of neighbours read, nothing cached, of one user (one partition) | 1,500 |" in table
    assert "| edges of all users by graph's outbox, for each shard | 200 |" in table
    assert "| batches of links of all users by graph's outbox, for each shard | 167 |" in table


def test_a_plan_states_the_share_of_both_quotas() -> None:
    table = capacity.plans(capacity.load())
    assert table.count("| ... of the table's default quota |") == 2


def test_where_provisioned_units_are_cheaper_follows_from_the_prices() -> None:
    inputs = capacity.load()
    prices = inputs.given["prices"]
    prices["write_unit_hour"]["value"], prices["write_units_million"]["value"] = 0.0009, 0.5
    prices["read_unit_hour"]["value"], prices["read_units_million"]["value"] = 0.00018, 0.25
    # A write unit of which all is used costs a quarter of a dollar a million; on demand it is a half.
    assert "more than 50% of them are used, over all hours; for read units it is 20%." in capacity.plans(inputs)


def test_a_plan_is_the_rate_times_what_was_measured(inputs: Inputs) -> None:
    made = plan(inputs, "mixed", 10_000)
    # 1,000 creations and 900 lookups that nothing has cached.
    assert made.write_units == pytest.approx(10_000)
    assert made.read_units == pytest.approx(1_000 * 1 + 900 * 2)
    assert made.events == pytest.approx(1_000)
    assert made.invocations == pytest.approx(2_000)
    assert made.cores == pytest.approx({"node": 1, "graph": 2, "similarity": 0, "cleanup": 0})
    assert made.pods == {"node": 2, "graph": 4, "similarity": 1, "cleanup": 1}
    # Partitions are used for 500 units: 4,000 units of users, 3,000 of node's outbox.
    assert (made.users, made.outbox_shards) == (8, {"node": 8, "graph": 8})
    assert plan(inputs, "mixed", 100_000).outbox_shards == {"node": 60, "graph": 8}
    assert made.cache_shards == 20
    assert plan(inputs, "mixed", 100).cache_shards == 2
    assert made.storage_gb == 5
    assert made.dollars["write units, on demand"] == pytest.approx(10_000 * 730 * 3600 / 1e6 * 0.625)


def test_indexing_and_linking_real_notes_are_in_the_plan(inputs: Inputs) -> None:
    cells = {"1": {"32": {"us": {"node": 1.0, "graph": 3000.0, "similarity": 9000.0}, "redis_commands": 2.0}}}
    shares = {"mixed": {"look": 90, "addnode": 10}}
    given = {**inputs.given, "operations": {**inputs.given["operations"], "addnode": "create"}}
    changed = replace(inputs, given=given, throughput={**inputs.throughput, "create": cells, "shares": shares})
    made = plan(changed, "mixed", 10_000)
    assert made.cores == pytest.approx({"node": 1, "graph": 2 + 3, "similarity": 9, "cleanup": 0})
    # Each pod takes 0.1 ms for each of the 1,000 notes, and has 0.5 - 0.1 cores left.
    assert (made.deployments, made.pods["similarity"]) == (1, 23)
    # 10,000 notes would take a core of each pod. In four deployments it is a quarter, and another one is left.
    many = plan(changed, "mixed", 100_000)
    assert (many.deployments, many.pods["similarity"]) == (4, 360)


def test_the_page_has_every_plan_of_the_inputs() -> None:
    inputs = capacity.load()
    text = capacity.plans(inputs)
    for each in inputs.given["plans"]:
        assert f"{each['rate']:,} of" in text


def test_every_price_and_quota_states_where_it_is_from_and_when() -> None:
    given = capacity.load().given
    for name, each in [*given["prices"].items(), *given["quotas"].items()]:
        assert each.keys() == {"value", "date", "source"}, name
        assert each["value"] > 0, name
        date.fromisoformat(each["date"])


def test_inputs_of_ones_own_take_the_place_of_those_of_the_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.json"
    own.write_text('{"prices": {"write_units_million": 1.25}, "assumed": {"least_pods": {"node": 99}}}')
    capacity.main(["--inputs", str(own)])
    printed = capsys.readouterr().out
    assert "| write_units_million | 1.25 | mine.json; your own |" in printed
    assert "| pods of node, one process each | 99 |" in printed
    usual, mine = (plan(capacity.load(path), "linkbench", 10_000) for path in (None, own))
    assert mine.dollars["write units, on demand"] == pytest.approx(2 * usual.dollars["write units, on demand"])
    assert (usual.pods["graph"], 99) == (mine.pods["graph"], mine.pods["node"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"prices": {"core_hours": 1}}', "there is no input 'core_hours'"),
        ('{"prices": 7}', "stands in place of"),
        ("not JSON", "Expecting value"),
    ],
)
def test_wrong_inputs_are_refused_with_a_reason(
    text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.json"
    own.write_text(text)
    with pytest.raises(SystemExit):
        capacity.main(["--inputs", str(own)])
    assert why in capsys.readouterr().err


def test_the_limits_name_every_load_that_was_measured() -> None:
    loads = [name for name in TITLES if name not in ECHOES]
    measured = {"calls_of_one_core": {name: 1_000 + place for place, name in enumerate(loads)}}
    inputs = capacity.load()
    table = capacity.limits(replace(inputs, throughput={**inputs.throughput, **measured}))
    assert [f"{1_000 + place:,}" for place in range(len(loads))] == [
        line.split("|")[2].strip() for line in table.splitlines() if "one core" in line
    ]
