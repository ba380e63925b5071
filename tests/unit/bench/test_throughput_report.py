"""`make bench-throughput`: ratios are those of each round, and a load that was left out has no row."""

import os
import subprocess
import sys

from tests.bench.throughput.loads import Rounds
from tests.bench.throughput.report import conclusions, table
from tests.bench.throughput.world import MOST, Cell, closed, processor


def _cell(us: float) -> Cell:
    return {"rps": 1e6 / us, "us": {"graph": us, "node": 0.0}, "us_all": us, "refused": 0}


async def _rounds(**us: list[float]) -> Rounds:
    """The processor a call of each round, by load and processes, as in lookup_2=[...]."""
    rounds = Rounds()
    places = {name: iter(values) for name, values in us.items()}
    measures = {}
    for name in us:
        load, _, count = name.rpartition("_")

        async def measure(name: str = name) -> Cell:
            return _cell(next(places[name]))

        measures[load, int(count)] = measure
    await rounds.run(MOST, measures, len(next(iter(us.values()))))
    return rounds


async def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The machine becomes four times slower, and the ratio stays.
    rounds = await _rounds(echo_1=[100, 200, 400], lookup_1=[125, 250, 500], lookup_2=[125, 300, 500])
    assert rounds.ratio("lookup", "echo", "graph") == {"median": 0.8, "min": 0.8, "max": 0.8}
    assert rounds.two_processes("lookup") == {"median": 2.0, "min": 1.667, "max": 2.0}
    assert rounds.medians("lookup")["1"][str(MOST)]["us_all"] == 250


async def test_every_second_round_has_the_opposite_order() -> None:
    order: list[str] = []

    async def measure(name: str) -> Cell:
        order.append(name)
        return _cell(1.0)

    await Rounds().run(MOST, {("a", 1): lambda: measure("a"), ("b", 1): lambda: measure("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]


async def test_a_load_that_was_left_out_has_no_row() -> None:
    found = conclusions(await _rounds(create_1=[5_000.0], create_2=[6_000.0]))
    conditions = {"date": "2026-01-01", "machine": "m", "load": 0.1, "rounds": 1, "corpus": "c"}
    rows = table(conditions | found)
    assert "| CreateNode of one user, indexed and linked | 1 | - | - | 200 / 5,000 |" in rows
    assert "**1.67** (1.67 - 1.67)" in rows
    assert "echo" not in rows
    assert "TAO" not in rows


async def test_a_closed_loop_makes_as_many_calls_as_were_asked_for() -> None:
    made: list[int] = []

    async def call() -> None:
        made.append(1)

    await closed(call, 8, 21)
    assert len(made) == 21


def test_the_processor_of_a_process_includes_its_children() -> None:
    busy = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 0.2 <= processor(child.pid) < 30
        assert processor(os.getpid()) >= processor(child.pid) >= 0.2
        child.communicate(b"\n")
