"""What a server counts: every call by method and code, however it was answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from protos.graph.v1 import graph_pb2
from shared import errors, telemetry
from shared.grpc.client import Channels
from shared.grpc.metered import RpcMetrics
from shared.grpc.server import GrpcServer
from shared.metrics import Metrics, Series
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, plain_channel, server_config
from tests.support.waiting import until

LATENCIES = {"echo_latency_ms": ((1.0, 1000.0), ("GetEcho",))}


@asynccontextmanager
async def counting(
    servicer: Any, service: Any = SERVICE, **options: Any
) -> AsyncIterator[tuple[str, Metrics, RpcMetrics]]:
    metrics = Metrics("tests", server_config(metrics_listen="127.0.0.1:0"))
    rpc = RpcMetrics(metrics, LATENCIES)
    limits = options.pop("limits", {})
    server = GrpcServer(server_config(**limits), [(service, servicer)], metrics=rpc, **options)
    port = await server.start()
    try:
        yield f"127.0.0.1:{port}", metrics, rpc
    finally:
        await server.stop(0)


def durations(metrics: Metrics) -> dict[tuple[str, ...], int]:
    """How many calls were counted, by method and code; those that were never called are left out."""
    series = metrics.histograms["rpc_server_duration_ms"].all
    return {labels: each.count for labels, each in series.items() if each.count}


def latency(metrics: Metrics) -> Series:
    return metrics.histograms["echo_latency_ms"].series()


async def test_calls_are_counted_by_method_and_code() -> None:
    async def unary(request: Any, context: Any) -> Any:
        if request.text == "missing":
            raise errors.NotFound("no")
        if request.text == "broken":
            raise KeyError("a defect")
        return request

    async with counting(EchoServicer(unary)) as (target, metrics, _), Channels() as channels:
        stub = channels.stub(target, SERVICE)
        for text in ("a", "b"):
            await stub.GetEcho(Echo(text=text))
        with pytest.raises(errors.NotFound):
            await stub.GetEcho(Echo(text="missing"))
        with pytest.raises(errors.Internal):
            await stub.CreateEcho(Echo(text="broken"))
        assert [each.text async for each in stub.ListEchoes(Echo(text="ab"))] == ["a", "b"]
    assert durations(metrics) == {
        ("GetEcho", "OK"): 2,
        ("GetEcho", "NOT_FOUND"): 1,
        ("CreateEcho", "INTERNAL"): 1,
        ("ListEchoes", "OK"): 1,
    }
    assert latency(metrics).count == 2  # successful calls only


async def test_answers_of_the_fast_path_and_refused_calls_are_counted() -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def unary(request: bytes, context: Any) -> bytes:
        begun.set()
        await end.wait()
        return request

    servicer = EchoServicer()
    servicer.RawEcho = unary  # type: ignore[method-assign]
    ready = {Echo(text="ready").SerializeToString(): b""}
    options = {"fast_paths": {"RawEcho": ready.get}, "limits": {"max_concurrent_rpcs": 1}}
    async with counting(servicer, **options) as (target, metrics, _), plain_channel(target) as channel:
        call = channel.unary_unary(f"/{NAME}/RawEcho")
        await call(Echo(text="ready").SerializeToString())
        slow = call(Echo(text="slow").SerializeToString())
        await begun.wait()
        with pytest.raises(grpc.aio.AioRpcError):
            await call(Echo(text="refused").SerializeToString())
        end.set()
        await slow
    assert durations(metrics) == {("RawEcho", "OK"): 2, ("RawEcho", "RESOURCE_EXHAUSTED"): 1}


async def test_a_cancelled_call_is_counted_as_cancelled() -> None:
    begun = asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async with counting(EchoServicer(unary)) as (target, metrics, _), plain_channel(target) as channel:
        call = channel.unary_unary(f"/{NAME}/GetEcho")(b"")
        await begun.wait()
        call.cancel()
        await until(lambda: durations(metrics) == {("GetEcho", "CANCELLED"): 1}, what="the cancelled call")


async def test_items_of_a_batch_are_counted_and_failed_ones_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Servicer:
        def __getattr__(self, name: str) -> Any:
            async def batch(request: Any, context: Any) -> Any:
                codes = [0, 5, 5] if request.edges[0].source_id == "a" else []
                results = [graph_pb2.CreateEdgeResult(code=code) for code in codes]
                return graph_pb2.BatchCreateEdgesResponse(results=results)

            return batch

    service = graph_pb2.DESCRIPTOR.services_by_name["GraphService"]
    caplog.set_level("INFO", "brain2.rpc")
    async with counting(Servicer(), service) as (target, _, rpc), Channels() as channels:
        stub = channels.stub(target, service)
        for source_id in ("a", "none"):
            edges = [graph_pb2.NewEdge(source_id=source_id, target_id="b")]
            await stub.BatchCreateEdges(graph_pb2.BatchCreateEdgesRequest(user_id="ada", edges=edges))
    assert rpc.items == {("BatchCreateEdges", "OK"): 1, ("BatchCreateEdges", "NOT_FOUND"): 2}
    (line,) = [each for each in caplog.records if each.message == "items of a batch failed"]
    assert vars(line)["failed"] == {"NOT_FOUND": 2}
    assert vars(line)["items"] == 3


async def test_a_recorded_call_is_an_exemplar_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_active", telemetry.active())
    telemetry.setup("tests", server_config(trace_ratio=0), exporter=InMemorySpanExporter())
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with counting(EchoServicer()) as (target, metrics, _), plain_channel(target) as channel:
        call = channel.unary_unary(f"/{NAME}/GetEcho")
        await call(b"")
        assert latency(metrics).exemplars == {}
        await call(b"", metadata=(("traceparent", f"00-{trace}-b7ad6b7169203331-01"),))
    assert {each.trace_id for each in latency(metrics).exemplars.values()} == {trace}
    telemetry.active().shutdown()
