"""A snapshot of the metrics as the SDK's data classes, which its OTLP exporter sends."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shared.metrics.model import Family, Kind, Points, Series, Snapshot


def metrics_data(snapshot: Snapshot, resource: Resource, start_ns: int, now_ns: int) -> MetricsData:
    """start_ns: when the counters began, nanoseconds since 1970."""
    metrics = [_metric(family, points, start_ns, now_ns) for family, points in snapshot if points]
    scope = ScopeMetrics(InstrumentationScope("brain2"), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Family, points: Points, start_ns: int, now_ns: int) -> Metric:
    data: Sum | Gauge | Histogram
    if family.kind is Kind.HISTOGRAM:
        histograms = [
            _histogram_point(dict(zip(family.labels, labels, strict=True)), series, start_ns, now_ns)
            for labels, series in points.items()
            if isinstance(series, Series)
        ]
        data = Histogram(histograms, AggregationTemporality.CUMULATIVE)
    else:
        numbers = [
            NumberDataPoint(dict(zip(family.labels, labels, strict=True)), start_ns, now_ns, value)
            for labels, value in points.items()
            if not isinstance(value, Series)
        ]
        if family.kind is Kind.COUNTER:
            data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        else:
            data = Gauge(numbers)
    return Metric(family.name, family.description, family.unit, data)


def _histogram_point(attributes: Mapping[str, str], series: Series, start_ns: int, now_ns: int) -> HistogramDataPoint:
    exemplars = [
        Exemplar({}, float(each.value), int(each.time * 1e9), int(each.span_id, 16), int(each.trace_id, 16))
        for each in series.exemplars.values()
    ]
    # The smallest and the greatest value are not kept; None leaves the fields of the message unset.
    unknown: Any = None
    return HistogramDataPoint(
        attributes,
        start_ns,
        now_ns,
        series.count,
        series.sum,
        list(series.counts),
        series.bounds,
        unknown,
        unknown,
        exemplars,
    )
