"""The table of `make bench-import`: of each tree the median run, and how many runs that is of."""

from typing import Any

from tests.bench.imports import median_run, table


def run(services: float) -> dict[str, Any]:
    return {"ms_a_note": {"node": services}, "services_ms": services, "stores_ms": 2 * services, "edges": 7}


def found(**trees: list[dict[str, Any]]) -> dict[str, Any]:
    return {"notes": 1000, "corpus": "c", "machine": "m", "date": "d", "trees": trees}


def test_the_median_run_is_shown_with_the_number_of_runs() -> None:
    text = table(found(before=[run(9), run(8), run(1)], now=[run(2), run(4), run(4)]))
    assert "of the median of 3 runs" in text
    assert "| before | 8.00 |" in text
    assert "| now | 4.00 |" in text
    assert "The services take 2 times less than those of the earlier tree, the stores 2 times less." in text


def test_one_run_is_called_one_run() -> None:
    text = table(found(now=[run(3)]))
    assert "of one run;" in text
    assert "times less" not in text


def test_of_two_runs_the_slower_one_is_shown() -> None:
    assert median_run([run(1), run(2)]) == run(2)
