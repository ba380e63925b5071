"""The metrics of several workers as those of one process.

Counters and histograms are added up, also those of workers that have ended: a sum that shrank would look to Prometheus
like a restart, and be counted a second time. Gauges are of the running workers alone: added up, or the greatest of them
(Across). The hit rates of the caches are computed again, from the hits and misses of all workers.
"""

import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from shared.metrics.hit_rate import HitRate
from shared.metrics.model import Across, Family, Kind, Labels, Points, Series, Snapshot
from shared.metrics.registry import CACHE_HIT_RATE, CACHE_HITS, CACHE_MISSES

# name -> the family and its points.
_Points: TypeAlias = "dict[Labels, float | Series]"
_Merged: TypeAlias = "dict[str, tuple[Family, _Points]]"


class Merger:
    """now: seconds of a monotonic clock, for the hit rates."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._latest: dict[object, Snapshot] = {}
        # The counters and histograms of the workers that have ended.
        self._ended: _Merged = {}
        self._merged: _Merged = {}
        self._rates: dict[Labels, HitRate] = {}

    def update(self, worker: object, snapshot: Snapshot) -> None:
        """Replace the snapshot of a worker."""
        self._latest[worker] = snapshot

    def ended(self, worker: object) -> None:
        """A worker has ended: its gauges go, its counters and histograms stay as its last snapshot had them."""
        for family, points in self._latest.pop(worker, ()):
            if family.kind is not Kind.GAUGE:
                _add(self._ended, family, points)

    def snapshot(self) -> Snapshot:
        """The merged metrics."""
        self._merged = {}
        for family, ended in self._ended.values():
            _add(self._merged, family, ended)
        for snapshot in self._latest.values():
            for family, points in snapshot:
                _add(self._merged, family, points)
        rates = self._merged.get(CACHE_HIT_RATE)
        if rates is not None:
            self._merged[CACHE_HIT_RATE] = rates[0], self._hit_rates()
        return list(self._merged.values())

    def _hit_rates(self) -> _Points:
        caches = self._points(CACHE_HITS)
        for labels in caches:
            if labels not in self._rates:
                self._rates[labels] = HitRate(self._reader(labels), self._now)
        return {labels: found for labels in caches if (found := self._rates[labels]()) is not None}

    def _reader(self, labels: Labels) -> Callable[[], tuple[int, int]]:
        def read() -> tuple[int, int]:
            return self._number(CACHE_HITS, labels), self._number(CACHE_MISSES, labels)

        return read

    def _points(self, name: str) -> Mapping[Labels, float | Series]:
        return self._merged[name][1] if name in self._merged else {}

    def _number(self, name: str, labels: Labels) -> int:
        found = self._points(name).get(labels, 0)
        return 0 if isinstance(found, Series) else int(found)


def _add(merged: _Merged, family: Family, points: Points) -> None:
    _, into = merged.setdefault(family.name, (family, {}))
    for labels, point in points.items():
        into[labels] = _sum(family, into.get(labels), point)


def _sum(family: Family, one: float | Series | None, other: float | Series) -> float | Series:
    if one is None:
        return other.copy() if isinstance(other, Series) else other
    if isinstance(one, Series) and isinstance(other, Series):
        one.counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
        one.sum += other.sum
        for at, exemplar in other.exemplars.items():
            if at not in one.exemplars or one.exemplars[at].time < exemplar.time:
                one.exemplars[at] = exemplar
        return one
    if isinstance(one, Series) or isinstance(other, Series):
        raise TypeError(f"{family.name} is a histogram of one worker and a number of another")
    return max(one, other) if family.across is Across.MAX else one + other
