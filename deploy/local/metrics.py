"""Where the services' metrics go on one machine: one JSON file with the newest number of each.

{"graph": {"brain2.graph.l1.lookups{hit}": 12, ...}, ...}; the numbers are explained in docs/operations.md. With several
workers of a service each has a part of its own, {"graph 4711": ..., "graph 4712": ...}, while it runs: GET /metrics has
their sums.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc

from deploy.local.processes import runs


class MetricFile(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Writes the whole file anew at each export: that is a few numbers twice a minute.

    runs: whether a process of this machine runs.
    """

    def __init__(self, path: Path, runs: Callable[[int], bool] = runs) -> None:
        self._path = path
        self._runs = runs
        # service -> process id -> the newest number of each metric.
        self._newest: dict[str, dict[str, dict[str, float]]] = {}

    async def Export(
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: Any
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        exporting: dict[str, str] = {}
        for service, process, name, value in numbers(request):
            self._newest.setdefault(service, {}).setdefault(process, {})[name] = value
            exporting[service] = process
        # A process that has ended makes room for the one that took its place.
        for service, process in exporting.items():
            found = self._newest[service].items()
            self._newest[service] = {each: last for each, last in found if each == process or self._running(each)}
        fresh = self._path.with_name(self._path.name + ".new")
        # On a full disk the older numbers stay.
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(self._parts(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
            fresh.replace(self._path)
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def _running(self, process: str) -> bool:
        return not process.isdigit() or self._runs(int(process))

    def _parts(self) -> dict[str, dict[str, float]]:
        return {
            service if len(processes) == 1 else f"{service} {process}": found
            for service, processes in self._newest.items()
            for process, found in processes.items()
        }


def numbers(request: metrics_service_pb2.ExportMetricsServiceRequest) -> Iterator[tuple[str, str, str, float]]:
    """(service, process id, name{value of the attribute}, number) of each point."""
    for resource in request.resource_metrics:
        attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
        service = attributes.get("service.name", "?")
        # shared/resource.py: host and process id.
        process = attributes.get("service.instance.id", "").rpartition("-")[2]
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in [*metric.gauge.data_points, *metric.sum.data_points]:
                    which = ",".join(each.value.string_value for each in point.attributes)
                    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
                    yield service, process, f"{metric.name}{{{which}}}" if which else metric.name, value
