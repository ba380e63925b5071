"""A snapshot of the metrics as JSON values, for the way from a worker to its supervisor."""

from collections.abc import Sequence
from typing import Any

from shared.metrics.model import Across, Exemplar, Family, Kind, Series, Snapshot


def encode(snapshot: Snapshot) -> list[Any]:
    """The snapshot as lists, texts and numbers."""
    return [
        [
            [family.name, family.kind, family.unit, family.labels, family.description, family.across],
            [[labels, _series(point) if isinstance(point, Series) else point] for labels, point in points.items()],
        ]
        for family, points in snapshot
    ]


def decode(values: Sequence[Any]) -> Snapshot:
    """The snapshot that encode() got."""
    return [
        (
            Family(name, Kind(kind), unit, tuple(labels), description, Across(across)),
            {tuple(each): _decoded(point) if isinstance(point, list) else point for each, point in points},
        )
        for (name, kind, unit, labels, description, across), points in values
    ]


def _series(series: Series) -> list[Any]:
    return [series.bounds, series.counts, series.sum, list(series.exemplars.items())]


def _decoded(values: Sequence[Any]) -> Series:
    bounds, counts, total, exemplars = values
    series = Series(bounds)
    series.counts, series.sum = counts, total
    series.exemplars = {at: Exemplar(*exemplar) for at, exemplar in exemplars}
    return series
