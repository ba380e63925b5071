"""A short seeded fuzz run; the long one is `make fuzz`."""

from pathlib import Path

import pytest

from tests.fuzz.run import Plan, run


@pytest.mark.timeout(300)
async def test_hostile_requests_break_nothing(tmp_path: Path) -> None:
    report = await run(Plan(tmp_path / "stack", seed=5, count=1_500, workers=12))
    assert report.defects == []
    assert report.outcome.internal == report.outcome.hung == report.outcome.leaked == report.crashed == 0
    # The run reaches what lies behind the checks.
    codes = report.table()["codes"]
    assert codes["OK"] > 200
    assert codes["INVALID_ARGUMENT"] > 200
    assert codes["NOT_FOUND"] > 20
    assert len(report.outcome.codes) > 40
