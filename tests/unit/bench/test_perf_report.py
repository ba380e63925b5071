"""Whether `make perf` fails when a promise is broken."""

from dataclasses import replace

import pytest

from tests.bench.perf.report import PROMISES, Promise, broken, table
from tests.bench.perf.scenarios import Found
from tests.bench.perf.times import Times


def kept() -> Found:
    fast = Times(100, 1.0, 2.0, 3.0)
    return Found(
        times={each.operation: fast for each in PROMISES},
        beside={each.operation: fast for each in PROMISES if each.beside},
    )


def test_nothing_is_broken_when_all_is_kept() -> None:
    assert broken(kept()) == []
    assert "broken" not in table(kept(), {"machine": "m", "corpus": "c", "date": "d"})


@pytest.mark.parametrize(
    ("operation", "which", "value"),
    [
        (each.operation, which, limit)
        for each in PROMISES
        for which in ("p50", "p99")
        if (limit := getattr(each, which))
    ],
)
def test_a_time_at_its_limit_is_a_broken_promise(operation: str, which: str, value: float) -> None:
    found = kept()
    p50, p99 = (value, 2 * value) if which == "p50" else (1.0, value)
    found.times[operation] = Times(100, p50, p99, 3 * p99)
    assert any(line.startswith(f"{operation}: {which} is") for line in broken(found))


@pytest.mark.parametrize("promise", [each for each in PROMISES if each.ratio], ids=lambda each: each.operation)
def test_a_ratio_above_its_limit_is_a_broken_promise(promise: Promise) -> None:
    found = kept()
    assert promise.ratio is not None
    found.beside[promise.operation] = replace(found.beside[promise.operation], p50=1.0 / (promise.ratio + 0.01))
    (line,) = broken(found)
    assert f"times {promise.beside}" in line


def test_an_import_that_slows_lookups_down_is_a_broken_promise() -> None:
    found = kept()
    found.times["look up beside an import"] = Times(100, 1.0, 4.1, 5.0)
    (line,) = broken(found)
    assert "2.05 times" in line


def test_a_wrong_answer_is_a_broken_promise() -> None:
    found = kept()
    found.wrong.append("a note is missing")
    assert broken(found) == ["a note is missing"]
