"""Metrics of a process: registered once, exported by OTLP and by a Prometheus endpoint (docs/adr/0065)."""

from shared.metrics.model import Across, Histogram, Series
from shared.metrics.registry import BREAKER_STATES, Metrics, MetricsConfig

__all__ = ["BREAKER_STATES", "Across", "Histogram", "Metrics", "MetricsConfig", "Series"]
