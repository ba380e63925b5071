"""Spans on their way out: to a collector that is there, and to one that isn't."""

import io
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from shared import logs, telemetry
from shared.config import ServerConfig
from shared.grpc.client import Channels
from tests.support.echo import SERVICE, Echo, EchoServicer, serving


class Sink(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def Export(self, request: Any, context: Any) -> Any:
        self.got += request.resource_spans
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, Sink]]:
    server, sink = grpc.aio.server(), Sink()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"http://127.0.0.1:{port}", sink
    await server.stop(0)


@pytest.fixture(autouse=True)
def _put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_active", telemetry.active())


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What goes to the log of a service, libraries included."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.JsonFormatter("tests"))
    handler.addFilter(logs.Unrepeated())
    logging.getLogger().addHandler(handler)
    yield out
    logging.getLogger().removeHandler(handler)


async def test_spans_reach_the_collector_at_the_end_at_the_latest() -> None:
    async with collector() as (endpoint, sink):
        async with telemetry.setup("node", ServerConfig(trace_ratio=1, otlp_endpoint=endpoint)):
            with telemetry.span("work", attributes={"n": 1}):
                pass
        (batch,) = sink.got
    resource = {each.key: each.value.string_value for each in batch.resource.attributes}
    assert (resource["service.name"], resource["service.namespace"]) == ("node", "brain2")
    (span,) = batch.scope_spans[0].spans
    assert span.name == "work"


async def test_a_collector_that_is_away_breaks_nothing(log: io.StringIO) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    began = time.monotonic()
    async with telemetry.setup("node", ServerConfig(trace_ratio=1, otlp_endpoint=endpoint)):
        for _ in range(3000):  # more than a queue holds
            with telemetry.span("work"):
                pass
    assert time.monotonic() - began < 10
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) <= 5, lines


async def test_the_calls_of_a_command_are_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def unary(request: Any, context: Any) -> Any:
        seen.append(dict(iter(context.invocation_metadata())).get("traceparent", ""))
        return request

    async with serving(EchoServicer(unary)) as target, collector() as (endpoint, sink):

        async def work() -> str:
            async with Channels() as channels:
                stub = channels.stub(target, SERVICE)
                for _ in range(2):
                    await stub.CreateEcho(Echo())
            return "done"

        monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
        assert await telemetry.run_command("import", work()) == "done"
        assert (seen, sink.got) == (["", ""], [])  # the services decide
        seen.clear()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        assert await telemetry.run_command("import", work()) == "done"
    spans = {span.name: span for batch in sink.got for each in batch.scope_spans for span in each.spans}
    root, call = spans["import"], spans["/brain2.tests.v1.EchoService/CreateEcho"]
    assert (root.parent_span_id, call.parent_span_id) == (b"", root.span_id)
    assert {header[3:35] for header in seen} == {root.trace_id.hex()}
    assert all(telemetry.is_sampled(header) for header in seen)
