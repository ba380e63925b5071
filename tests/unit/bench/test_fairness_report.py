"""Whether `make bench-fairness` fails when its promise is broken."""

import pytest

from tests.bench.fairness import GOAL_P99_S, broken


@pytest.mark.parametrize(
    ("p99", "imported", "reasons"),
    [(GOAL_P99_S - 0.001, 7_800, 0), (GOAL_P99_S, 7_800, 1), (0.1, 0, 1)],
    ids=["kept", "too slow", "no import"],
)
def test_a_promise_is_broken_by_a_late_note_and_without_an_import(p99: float, imported: int, reasons: int) -> None:
    assert len(broken({"p99_s": p99, "imported": imported})) == reasons
