"""A short seeded run in CI: real processes, real faults, every promise checked. The long one is `make chaos`."""

from pathlib import Path

import pytest

from tests.chaos.run import Plan, run
from tests.support.waiting import PATIENCE


# The run itself takes well under a minute; what is left over is for machines that do something else besides.
@pytest.mark.timeout(240)
@pytest.mark.parametrize("cluster", [False, True], ids=["one Redis", "cluster"])
async def test_nothing_is_lost_when_things_break(tmp_path: Path, cluster: bool) -> None:
    plan = Plan(
        tmp_path / "run",
        seed=3,
        seconds=10.0,
        users=2,
        workers=3,
        pause=0.8,
        quiet_seconds=150.0 * PATIENCE,
        cluster=cluster,
    )
    outcome = await run(plan)
    assert outcome.violations == []
    assert outcome.calm.quiet
    assert sum(outcome.faults.values()) >= 8
    assert outcome.acknowledged >= 100
    assert outcome.looked_at["notes"] > 10
    assert outcome.looked_at["wiki_links"] > 0
