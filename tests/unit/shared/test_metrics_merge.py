"""The metrics of several workers as those of one process."""

import json

from shared.metrics.merge import Merger
from shared.metrics.model import Across, Exemplar, Family, Kind, Points, Series, Snapshot
from shared.metrics.registry import CACHE_HIT_RATE, CACHE_HITS, CACHE_MISSES
from shared.metrics.transfer import decode, encode


def counter(name: str, points: Points) -> tuple[Family, Points]:
    return Family(name, Kind.COUNTER, "", ("by",), "A sentence."), points


def gauge(name: str, value: float, across: Across) -> tuple[Family, Points]:
    return Family(name, Kind.GAUGE, "s", (), "", across), {(): value}


def histogram(*values: float, trace: str = "") -> tuple[Family, Points]:
    series = Series((1, 10))
    for value in values:
        series.record(value, (trace, "01") if trace else None)
    return Family("h", Kind.HISTOGRAM, "{ms}", (), ""), {(): series}


def merged(merger: Merger) -> dict[str, Points]:
    return {family.name: points for family, points in merger.snapshot()}


def test_a_snapshot_is_the_same_after_the_way_to_the_supervisor() -> None:
    snapshot: Snapshot = [
        counter("c", {("a",): 3, ("b",): 4}),
        gauge("g", 1.5, Across.MAX),
        histogram(0.5, 20, trace="ab"),
    ]
    found = decode(json.loads(json.dumps(encode(snapshot))))
    assert [family for family, _ in found] == [family for family, _ in snapshot]
    assert [points for _, points in found[:2]] == [points for _, points in snapshot[:2]]
    one, other = found[2][1][()], snapshot[2][1][()]
    assert isinstance(one, Series)
    assert isinstance(other, Series)
    assert (one.bounds, one.counts, one.sum, one.exemplars) == (
        other.bounds,
        other.counts,
        other.sum,
        other.exemplars,
    )


def test_counters_and_histograms_add_up_and_gauges_by_their_rule() -> None:
    merger = Merger()
    merger.update(
        1, [counter("c", {("a",): 3}), gauge("sum", 2, Across.SUM), gauge("max", 2, Across.MAX), histogram(0.5)]
    )
    merger.update(
        2,
        [counter("c", {("a",): 4, ("b",): 1}), gauge("sum", 5, Across.SUM), gauge("max", 5, Across.MAX), histogram(7)],
    )
    found = merged(merger)
    assert (found["c"], found["sum"], found["max"]) == ({("a",): 7, ("b",): 1}, {(): 7}, {(): 5})
    series = found["h"][()]
    assert isinstance(series, Series)
    assert (series.counts, series.sum) == ([1, 1, 0], 7.5)
    # Merging does not change what was merged.
    assert merged(merger)["c"] == found["c"]


def test_what_a_worker_has_counted_stays_when_it_ends() -> None:
    merger = Merger()
    merger.update(1, [counter("c", {("a",): 3}), gauge("sum", 2, Across.SUM), histogram(0.5)])
    merger.ended(1)
    merger.ended(1)
    merger.update(2, [counter("c", {("a",): 1}), gauge("sum", 5, Across.SUM), histogram(7)])
    found = merged(merger)
    assert (found["c"], found["sum"]) == ({("a",): 4}, {(): 5})
    series = found["h"][()]
    assert isinstance(series, Series)
    assert series.counts == [1, 1, 0]
    merger.ended(2)
    assert merged(merger)["c"] == {("a",): 4}
    assert "sum" not in merged(merger)


def test_the_newest_exemplar_of_a_bucket_is_kept() -> None:
    merger = Merger()
    old, new = histogram(0.5, trace="01"), histogram(0.6, trace="02")
    for (_, points), at in ((old, 1.0), (new, 2.0)):
        series = points[()]
        assert isinstance(series, Series)
        series.exemplars[0] = Exemplar(series.sum, at, "0a", "01")
    merger.update(1, [new])
    merger.update(2, [old])
    series = merged(merger)["h"][()]
    assert isinstance(series, Series)
    assert series.exemplars[0].time == 2.0


def test_a_hit_rate_is_that_of_all_lookups_and_not_a_mean_of_rates() -> None:
    now = 0.0
    merger = Merger(lambda: now)

    def lookups(hits: int, misses: int) -> Snapshot:
        rate = Family(CACHE_HIT_RATE, Kind.GAUGE, "", ("cache",), "")
        return [
            counter(CACHE_HITS, {("memory",): hits}),
            counter(CACHE_MISSES, {("memory",): misses}),
            (rate, {("memory",): 0.5}),
        ]

    merger.update(1, lookups(90, 0))
    merger.update(2, lookups(0, 10))
    assert merged(merger)[CACHE_HIT_RATE] == {("memory",): 0.9}
    # After more than the window only what came since counts.
    now = 301.0
    merged(merger)
    now = 602.0
    merger.update(1, lookups(91, 0))
    merger.update(2, lookups(0, 13))
    assert merged(merger)[CACHE_HIT_RATE] == {("memory",): 0.25}
