"""Where the services' spans go on one machine: an OTLP receiver that keeps the last of them, and a tree printer.

`python -m deploy.local trace TRACE_ID` prints one trace, by service. This is for a person at a terminal; a deployment
points OTEL_EXPORTER_OTLP_ENDPOINT at a collector.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2

from deploy.local.console import Console
from deploy.local.metrics import MetricFile

# Two files of this size at most: a few tens of thousands of spans.
MAX_BYTES = 16 << 20


class TraceFile(trace_service_pb2_grpc.TraceServiceServicer):
    """Appends spans to a file as JSON lines; a full file becomes FILE.1 and replaces the older one."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        lines = [json.dumps(span) for span in _spans(request)]
        # On a full disk they are dropped: the services would send them again and log each failure.
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size > self._max_bytes:
                self._path.replace(older(self._path))
            with self._path.open("a", encoding="utf-8") as out:
                out.writelines(line + "\n" for line in lines)
        return trace_service_pb2.ExportTraceServiceResponse()


async def serve(path: Path, port: int) -> grpc.aio.Server:
    """A running receiver on a loopback port; metrics come to the same endpoint, and go to metrics.json beside."""
    server = grpc.aio.server()
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricFile(path.with_name("metrics.json")), server)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(TraceFile(path), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


def older(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def _spans(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[dict[str, Any]]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes).get("service.name", "?")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "links": [link.trace_id.hex() for link in span.links],
                    "service": service,
                    "name": span.name,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "error": span.status.message or "error"
                    if span.status.code == span.status.STATUS_CODE_ERROR
                    else "",
                    "attributes": _attributes(span.attributes),
                }


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: common_pb2.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return (
        str(getattr(value, kind)) if kind in ("bytes_value", "kvlist_value") else getattr(value, kind) if kind else None
    )


def read(path: Path, trace_id: str) -> list[dict[str, Any]]:
    """The spans of one trace that are still kept, oldest first. trace_id: hexadecimal, a prefix will do."""
    found: list[dict[str, Any]] = []
    for file in (older(path), path):
        if file.exists():
            with file.open(encoding="utf-8") as lines:
                # A line names its own trace first: most lines are passed over without being parsed.
                for line in lines:
                    if line.startswith(f'{{"trace": "{trace_id}'):
                        # A full disk cuts a line off.
                        with contextlib.suppress(ValueError):
                            found.append(json.loads(line))
    return sorted(found, key=lambda span: (span["start"], span["end"]))


def show(path: Path, trace_id: str, console: Console) -> bool:
    """Print the trace as a tree with each span's service, start and duration; False when nothing of it is kept."""
    spans = read(path, trace_id.lower())
    if not spans:
        console.say(f"no spans of trace {trace_id} in {path.name}; the newest are exported within a few seconds")
        return False
    known = {span["span"] for span in spans}
    children: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        children[span["parent"] if span["parent"] in known else ""].append(span)
    began = spans[0]["start"]
    services = sorted({str(span["service"]) for span in spans})
    console.say(f"trace {spans[0]['trace']}: {len(spans)} spans in {len(services)} services: {', '.join(services)}")

    def walk(parent: str, depth: int) -> None:
        for span in children[parent]:
            at, took = (span["start"] - began) / 1e6, (span["end"] - span["start"]) / 1e6
            name = "  " * depth + span["name"]
            line = f"{at:9.1f} ms {took:9.1f} ms  {console.service(str(span['service']))} {name}"
            console.say(line + (f"  {console.paint(span['error'], 'red')}" if span["error"] else ""))
            walk(span["span"], depth + 1)

    walk("", 0)
    return True
