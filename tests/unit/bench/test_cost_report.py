"""The table of `make bench-cost`: prices are those of docs/capacity.json, and nowhere else."""

import json
import re
from typing import Any

import pytest

from deploy import capacity
from tests.bench import page
from tests.bench.cost import original
from tests.bench.cost.operations import LINKS, SIZES
from tests.bench.cost.report import TITLES, dollars, table

NUMBERS: dict[str, Any] = {
    "write_units": 10,
    "read_units": 4.5,
    "event_chunks": 2,
    "requests_by": {"ReceiveMessage": 1, "DeleteMessageBatch": 2, "PutItem": 9},
}


def test_dollars_are_those_of_the_inputs_of_the_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("write_units_million", "read_units_million", "events_million", "queue_requests_million")
    prices = {name: {"value": value} for name, value in zip(names, (1000, 100, 10, 1), strict=True)}
    assert dollars(NUMBERS, prices) == 10 * 1000 + 4.5 * 100 + 2 * 10 + 3
    found = page.numbers("cost")
    assert "prices" not in found
    monkeypatch.setattr(capacity, "given", lambda: {"prices": prices})
    assert "(1000 for a million write units, 100 for read units," in table(found)


def test_every_operation_has_a_row_beside_the_same_one_on_the_original_schema() -> None:
    found = page.numbers("cost")
    rows = re.findall(r"^\| ([^|]+) \| \*\*", table(found), flags=re.MULTILINE)
    assert rows == [*TITLES.values()] * len(SIZES)
    for size in SIZES:
        assert found["now"][size.name].keys() == TITLES.keys()
        assert found["original"][size.name] == json.loads(json.dumps(original.operations(size.content_bytes, LINKS)))
        assert found["original"][size.name].keys() == TITLES.keys()


@pytest.mark.parametrize("name", ["create_edge", "update_edge", "delete_edge"])
def test_what_an_edge_costs_is_the_graphs(name: str) -> None:
    for size in SIZES:
        numbers = page.numbers("cost")["now"][size.name][name]
        assert numbers["write_units_by_service"]["graph"] == numbers["write_units"] > 0
