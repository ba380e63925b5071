"""Where the services' metrics go on one machine: one JSON file with the newest number of each.

{"graph": {"brain2.graph.l1.lookups{hit}": 12, ...}, ...}; the numbers are explained in docs/operations.md.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc


class MetricFile(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Writes the whole file anew at each export: that is a few numbers twice a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: dict[str, dict[str, float]] = {}

    async def Export(
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: Any
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        for service, name, value in numbers(request):
            self._newest.setdefault(service, {})[name] = value
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(json.dumps(self._newest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        fresh.replace(self._path)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def numbers(request: metrics_service_pb2.ExportMetricsServiceRequest) -> Iterator[tuple[str, str, float]]:
    """(service, name{value of the attribute}, number) of each point."""
    for resource in request.resource_metrics:
        service = {each.key: each.value.string_value for each in resource.resource.attributes}.get("service.name", "?")
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in [*metric.gauge.data_points, *metric.sum.data_points]:
                    which = ",".join(each.value.string_value for each in point.attributes)
                    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
                    yield service, f"{metric.name}{{{which}}}" if which else metric.name, value
