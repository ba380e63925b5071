"""Buckets, hit rates, and the two text formats that Prometheus reads."""

import shutil
import subprocess

import pytest
from opentelemetry.sdk.resources import Resource

from shared.metrics.hit_rate import HitRate
from shared.metrics.model import Family, Kind, Series, Snapshot
from shared.metrics.prometheus import render
from tests.support.clock import ManualClock

RESOURCE = Resource({"service.name": "node"})
TRACE = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


def test_a_bound_belongs_to_its_bucket() -> None:
    series = Series((1, 10))
    for value in (0, 1, 1.01, 10, 11):
        series.record(value)
    assert series.counts == [2, 2, 1]
    assert series.count == 5
    assert series.sum == pytest.approx(23.01)


def test_a_copy_stays_as_it_was() -> None:
    series = Series((1,))
    series.record(1, TRACE)
    copied = series.copy()
    series.record(1)
    assert (copied.count, series.count) == (1, 2)
    assert copied.exemplars == series.exemplars


def snapshot() -> Snapshot:
    series = Series((1, 10))
    series.record(0.5)
    series.record(7, TRACE)
    return [
        (Family("a_latency_ms", Kind.HISTOGRAM, "{ms}", ("code",), "How long."), {("OK",): series}),
        (Family("b.events", Kind.COUNTER, "{event}", ("b.outcome",), "Events."), {('odd "\\\n',): 2}),
        (Family("c_total", Kind.COUNTER, "", (), "More events."), {(): 3}),
        (Family("d_empty", Kind.GAUGE, "", (), "Nothing."), {}),
    ]


def test_the_text_format() -> None:
    assert render(snapshot(), RESOURCE, open_metrics=False).splitlines() == [
        "# TYPE target_info gauge",
        'target_info{service_name="node"} 1',
        "# HELP a_latency_ms How long.",
        "# TYPE a_latency_ms histogram",
        'a_latency_ms_bucket{code="OK",le="1.0"} 1',
        'a_latency_ms_bucket{code="OK",le="10.0"} 2',
        'a_latency_ms_bucket{code="OK",le="+Inf"} 2',
        'a_latency_ms_sum{code="OK"} 7.5',
        'a_latency_ms_count{code="OK"} 2',
        "# HELP b_events Events.",
        "# TYPE b_events counter",
        'b_events{b_outcome="odd \\"\\\\\\n"} 2',
        "# HELP c_total More events.",
        "# TYPE c_total counter",
        "c_total 3",
        "# HELP d_empty Nothing.",
        "# TYPE d_empty gauge",
    ]


def test_open_metrics_has_exemplars_and_an_end() -> None:
    lines = render(snapshot(), RESOURCE, open_metrics=True).splitlines()
    # Only a name that ends in _total may be that of a counter.
    assert {"# TYPE b_events unknown", "# TYPE c counter", "c_total 3"} <= set(lines)
    assert lines[-1] == "# EOF"
    (with_exemplar,) = [line for line in lines if " # {" in line]
    ids = f'{{trace_id="{TRACE[0]}",span_id="{TRACE[1]}"}}'
    assert with_exemplar.startswith(f'a_latency_ms_bucket{{code="OK",le="10.0"}} 2 # {ids} 7 ')


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_can_read_the_text_format() -> None:
    text = render(snapshot(), RESOURCE, open_metrics=False)
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=300)
    # 3: read, with remarks about names, such as the unit ms.
    assert checked.returncode in (0, 3), checked.stderr


def test_the_hit_rate_is_that_of_the_last_minutes() -> None:
    clock = ManualClock()
    counts = [0, 0]
    rate = HitRate(lambda: (counts[0], counts[1]), clock.monotonic, window=300)
    assert rate() is None
    counts[:] = [9, 1]
    assert rate() == 0.9
    clock.move(200)
    counts[:] = [9, 11]
    assert rate() == 9 / 20
    clock.move(301)
    counts[:] = [10, 11]
    assert rate() == 1  # the first twenty lookups are over five minutes old
    clock.move(301)
    assert rate() is None
