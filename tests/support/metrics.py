"""A metrics collector of a test's own, on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc


class Sink(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps the newest number of each metric: got[service][name] or got[service][name, value of its attribute]."""

    def __init__(self) -> None:
        self.got: dict[str, dict[Any, float]] = {}
        self.units: dict[str, str] = {}
        self.attributes: set[str] = set()
        self.exports = 0
        self.histograms: dict[str, list[Any]] = {}

    async def Export(self, request: Any, context: Any) -> Any:
        self.exports += 1
        for resource in request.resource_metrics:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert names["service.instance.id"]
            newest = self.got.setdefault(names["service.name"], {})
            for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
                self.units[metric.name] = metric.unit
                self.histograms[metric.name] = list(metric.histogram.data_points)
                for point in [*metric.gauge.data_points, *metric.sum.data_points]:
                    self.attributes |= {each.key for each in point.attributes}
                    values = [each.value.string_value for each in point.attributes]
                    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
                    newest[(metric.name, *values) if values else metric.name] = value
        return metrics_service_pb2.ExportMetricsServiceResponse()


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, Sink]]:
    """Its endpoint, and what it got."""
    server, sink = grpc.aio.server(), Sink()
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}", sink
    finally:
        await server.stop(0)
