"""Whether `make bench-fairness` fails when its promise is broken."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench import fairness
from tests.bench.fairness import GOAL_P99_S, broken


@pytest.mark.parametrize(
    ("p99", "imported", "reasons"),
    [(GOAL_P99_S - 0.001, 7_800, 0), (GOAL_P99_S, 7_800, 1), (0.1, 0, 1)],
    ids=["kept", "too slow", "no import"],
)
def test_a_promise_is_broken_by_a_late_note_and_without_an_import(p99: float, imported: int, reasons: int) -> None:
    assert len(broken({"p99_s": p99, "imported": imported})) == reasons


@pytest.mark.parametrize(("p99", "code"), [(GOAL_P99_S - 0.001, 0), (GOAL_P99_S, 1)], ids=["kept", "broken"])
def test_the_exit_code_says_so(p99: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def measure(samples: Sequence[Any], notes: int, seconds: float) -> dict[str, Any]:
        numbers = {"single_notes": 9, "imported": notes, "indexed": 1, "seconds": seconds}
        return numbers | {"p50_s": 0.1, "p99_s": p99, "max_s": p99}

    monkeypatch.setattr(fairness, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["fairness", "--out", str(tmp_path)])
    assert fairness.main() == code
