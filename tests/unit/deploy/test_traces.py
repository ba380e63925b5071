"""The span receiver and the tree that it prints."""

import io
from pathlib import Path

import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from deploy.local import processes, traces
from deploy.local.console import Console

TRACE = bytes(range(16))


def exported(service: str, *spans: Span) -> ExportTraceServiceRequest:
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service))])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])]
    )


def span(name: str, number: int, parent: int = 0, trace: bytes = TRACE) -> Span:
    return Span(
        trace_id=trace,
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        start_time_unix_nano=number * 1_000_000,
        end_time_unix_nano=number * 1_000_000 + 500_000,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "traces.jsonl"


async def test_a_trace_over_two_services_is_one_tree(file: Path) -> None:
    receiver = traces.TraceFile(file)
    await receiver.Export(exported("graph", span("CreateEdge", 3, parent=2)), None)
    await receiver.Export(exported("node", span("CreateNode", 1), span("publish", 2, parent=1)), None)
    await receiver.Export(exported("node", span("another trace", 9, trace=bytes(16))), None)
    out = io.StringIO()
    assert traces.show(file, TRACE.hex()[:6], Console(out))
    assert out.getvalue().splitlines() == [
        f"trace {TRACE.hex()}: 3 spans in 2 services: graph, node",
        "      0.0 ms       0.5 ms  node       CreateNode",
        "      1.0 ms       0.5 ms  node         publish",
        "      2.0 ms       0.5 ms  graph          CreateEdge",
    ]


async def test_an_unknown_trace_is_said_to_be_unknown(file: Path) -> None:
    out = io.StringIO()
    assert not traces.show(file, "ff", Console(out))
    assert "no spans of trace ff" in out.getvalue()


async def test_the_file_is_bounded_and_both_halves_are_read(file: Path) -> None:
    receiver = traces.TraceFile(file, max_bytes=1)
    for number in (1, 2, 3):
        await receiver.Export(exported("node", span(f"call {number}", number)), None)
    # The oldest went when the file was moved aside for the second time.
    assert [found["name"] for found in traces.read(file, TRACE.hex())] == ["call 2", "call 3"]


async def test_attributes_and_errors_are_kept(file: Path) -> None:
    failed = span("CreateNode", 1)
    failed.status.code = failed.status.STATUS_CODE_ERROR
    failed.attributes.append(KeyValue(key="rpc.grpc.status_code", value=AnyValue(int_value=14)))
    await traces.TraceFile(file).Export(exported("node", failed), None)
    (found,) = traces.read(file, TRACE.hex())
    assert (found["error"], found["attributes"]) == ("error", {"rpc.grpc.status_code": 14})


async def test_spans_arrive_over_the_wire(file: Path) -> None:
    port = processes.free_ports(1)[0]
    receiver = await traces.serve(file, port)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await TraceServiceStub(channel).Export(exported("node", span("CreateNode", 1)), timeout=10)
    finally:
        await receiver.stop(0)
    assert [found["name"] for found in traces.read(file, TRACE.hex())] == ["CreateNode"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
async def test_a_full_disk_costs_spans_and_nothing_else(file: Path) -> None:
    file.symlink_to("/dev/full")
    await traces.TraceFile(file).Export(exported("node", span("call", 1)), None)
    file.unlink()
    await traces.TraceFile(file).Export(exported("node", span("call", 2)), None)
    # What a full disk leaves of the last line.
    with file.open("a") as out:
        out.write(file.read_text()[:50])
    assert [found["name"] for found in traces.read(file, TRACE.hex())] == ["call"]
