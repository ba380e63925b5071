"""Traces across processes: one decision per trace, spans that hang together, statuses that say what happened."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared import errors, telemetry
from shared.grpc.client import Channels
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, plain_channel, server_config, serving
from tests.support.waiting import until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Recorder:
    """Tracing into memory; nothing else in these tests may export."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()

    def record(self, ratio: float) -> None:
        telemetry.setup("tests", server_config(trace_ratio=ratio), exporter=self._exporter)

    def spans(self) -> list[ReadableSpan]:
        telemetry.active().provider.force_flush()
        return list(self._exporter.get_finished_spans())

    async def wait_for(self, count: int) -> list[ReadableSpan]:
        """The spans, once there are `count`: a server may end its span after the caller's."""
        await until(lambda: len(self.spans()) == count, what=f"{count} spans")
        return self.spans()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(telemetry, "_active", telemetry.active())  # put back what was there
    yield Recorder()
    telemetry.active().shutdown()


def code_of(span: ReadableSpan) -> str:
    """The name of the status code in a span of a call."""
    number = (span.attributes or {})["rpc.grpc.status_code"]
    return next(code.name for code in grpc.StatusCode if code.value[0] == number)


async def call(target: str, headers: dict[str, str], text: str = "a") -> None:
    async with plain_channel(target) as channel:
        request = Echo(text=text).SerializeToString()
        await channel.unary_unary(f"/{NAME}/GetEcho")(request, metadata=tuple(headers.items()))


async def test_the_callers_trace_is_continued_through_a_call_to_a_peer(recorder: Recorder) -> None:
    recorder.record(0)
    async with Channels() as channels:

        async def unary(request: Any, context: Any) -> Any:
            if request.text == "outer":
                await channels.stub(target, SERVICE).CreateEcho(Echo(text="inner"))
            return request

        async with serving(EchoServicer(unary)) as target:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
            await call(target, headers, "outer")
    inner, client, outer = recorder.spans()
    assert [each.name for each in (outer, client, inner)] == [
        f"/{NAME}/{m}" for m in ("GetEcho", "CreateEcho", "CreateEcho")
    ]
    assert [each.kind for each in (outer, client, inner)] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.SERVER]
    assert {f"{each.context.trace_id:032x}" for each in (outer, client, inner)} == {TRACE}
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == PARENT
    assert client.parent is not None
    assert client.parent.span_id == outer.context.span_id
    assert inner.parent is not None
    assert inner.parent.span_id == client.context.span_id
    assert inner.context.trace_state.to_header() == "vendor=1"
    attributes = dict(outer.attributes or {})
    assert [attributes[f"rpc.{name}"] for name in ("system", "service", "method", "grpc.status_code")] == [
        "grpc",
        NAME,
        "GetEcho",
        0,
    ]
    assert inner.attributes is not None
    assert "grpc-python-asyncio" in str(inner.attributes["rpc.user_agent"])
    assert outer.status.status_code is StatusCode.UNSET
    assert outer.resource.attributes["service.name"] == "tests"


async def test_a_trace_that_is_left_out_is_left_out_everywhere(recorder: Recorder) -> None:
    """Ratio 1 would record anything that nobody decided about; the peer must hear the same trace id, unrecorded."""
    recorder.record(1)
    heard: list[str] = []
    async with Channels() as channels:

        async def unary(request: Any, context: Any) -> Any:
            with telemetry.span("inside"):
                if request.text == "outer":
                    await channels.stub(target, SERVICE).GetEcho(Echo(text="inner"))
                else:
                    heard.append(dict(iter(context.invocation_metadata()))["traceparent"])
            return request

        async with serving(EchoServicer(unary)) as target:
            await call(target, {"traceparent": f"00-{TRACE}-{PARENT}-00"}, "outer")
    assert recorder.spans() == []
    assert heard == [f"00-{TRACE}-{PARENT}-00"]


async def test_a_root_that_the_ratio_leaves_out_is_not_decided_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.record(0.5)
    draws = iter([0.9])  # left out; a second draw would be an error
    heard: list[str] = []
    async with Channels() as channels:

        async def unary(request: Any, context: Any) -> Any:
            if request.text == "outer":
                for _ in range(2):
                    with telemetry.span("inside"):
                        await channels.stub(target, SERVICE).GetEcho(Echo(text="inner"))
            else:
                heard.append(dict(iter(context.invocation_metadata()))["traceparent"])
            return request

        async with serving(EchoServicer(unary)) as target:
            # Of these modules alone: others of the process draw, too.
            drawn = SimpleNamespace(random=lambda: next(draws), getrandbits=random.getrandbits)
            for module in ("shared.grpc.server", "shared.telemetry"):
                monkeypatch.setattr(f"{module}.random", drawn)
            await call(target, {}, "outer")
            monkeypatch.undo()
    assert recorder.spans() == []
    assert heard[0].endswith("-00")


async def test_the_ratio_decides_where_nobody_has(recorder: Recorder) -> None:
    recorder.record(1)
    async with serving() as target:
        await call(target, {})
        await call(target, {"traceparent": "garbage"})
        await call(target, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"})
    first, second, third = recorder.spans()
    assert first.parent is second.parent is third.parent is None
    assert len({each.context.trace_id for each in (first, second, third)}) == 3


async def test_any_odd_flags_mean_recorded(recorder: Recorder) -> None:
    recorder.record(0)
    async with serving() as target:
        for flags in ("01", "03", "00", "02"):
            await call(target, {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"})
    assert len(recorder.spans()) == 2


@pytest.mark.parametrize(
    ("error", "code", "server", "client"),
    [
        (errors.NotFound("no"), "NOT_FOUND", StatusCode.UNSET, StatusCode.ERROR),
        (errors.Unavailable("no"), "UNAVAILABLE", StatusCode.ERROR, StatusCode.ERROR),
        (KeyError("oops"), "INTERNAL", StatusCode.ERROR, StatusCode.ERROR),
    ],
)
async def test_statuses(
    recorder: Recorder, error: Exception, code: str, server: StatusCode, client: StatusCode
) -> None:
    recorder.record(1)

    async def unary(request: Any, context: Any) -> Any:
        raise error

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        yield request
        raise error

    async with serving(EchoServicer(unary, listed)) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        with telemetry.span("test"):
            with pytest.raises(errors.Brain2Error):
                await stub.CreateEcho(Echo())
            stream = stub.ListEchoes(Echo())
            await anext(stream)
            with pytest.raises(errors.Brain2Error):
                await anext(stream)
    found = {(each.name.rpartition("/")[2], each.kind): each for each in recorder.spans()}
    for method in ("CreateEcho", "ListEchoes"):
        for kind, status in ((SpanKind.SERVER, server), (SpanKind.CLIENT, client)):
            span = found[method, kind]
            assert code_of(span) == code, (method, kind)
            assert span.status.status_code is status, (method, kind)
    if isinstance(error, KeyError):
        assert [event.name for event in found["CreateEcho", SpanKind.SERVER].events] == ["exception"]


async def test_a_cancelled_call_says_so(recorder: Recorder) -> None:
    recorder.record(1)
    started, ended = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(EchoServicer(unary)) as target:
        running = asyncio.create_task(call(target, {}))
        await started.wait()
        running.cancel()
        await asyncio.wait((running,))
        await ended.wait()
        (span,) = await until(recorder.spans, seconds=10, what="the server's span")
    assert code_of(span) == "CANCELLED"


async def test_a_call_that_outlasts_its_deadline_is_an_error_on_both_sides(recorder: Recorder) -> None:
    recorder.record(1)

    async def unary(request: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        yield request
        await asyncio.Event().wait()

    async with serving(EchoServicer(unary, listed)) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        with telemetry.span("test"):
            with pytest.raises(errors.DeadlineExceeded):
                await stub.CreateEcho(Echo(), timeout=0.2)
            with pytest.raises(errors.DeadlineExceeded):
                async for _ in stub.ListEchoes(Echo(), timeout=0.2):
                    pass
        found = await recorder.wait_for(5)
    for span in found:
        if span.kind is not SpanKind.INTERNAL:
            assert (code_of(span), span.status.status_code) == ("DEADLINE_EXCEEDED", StatusCode.ERROR), span.name


@pytest.mark.parametrize(("method", "answers"), [("CreateEcho", 0), ("ListEchoes", 0), ("ListEchoes", 1)])
async def test_a_caller_that_gives_up_leaves_two_ended_spans(recorder: Recorder, method: str, answers: int) -> None:
    """The interceptors by themselves leave the client's span open, or without a code, when the caller is cancelled."""
    recorder.record(1)
    started, received = asyncio.Event(), asyncio.Event()

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        started.set()
        for _ in range(answers):
            yield request
        await asyncio.Event().wait()

    async def unary(request: Any, context: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    async with serving(EchoServicer(unary, listed)) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)

        async def call() -> None:
            with telemetry.span("test"):
                if method == "CreateEcho":
                    await stub.CreateEcho(Echo())
                async for _ in stub.ListEchoes(Echo()):
                    received.set()

        running = asyncio.create_task(call())
        await (received if answers else started).wait()
        running.cancel()
        await asyncio.wait((running,))
        found = await recorder.wait_for(3)
    assert {each.kind for each in found} == {SpanKind.CLIENT, SpanKind.SERVER, SpanKind.INTERNAL}
    for span in found:
        if span.kind is not SpanKind.INTERNAL:
            assert code_of(span) == "CANCELLED", span.kind


async def test_a_reader_that_stops_early_leaves_two_ended_spans(recorder: Recorder) -> None:
    recorder.record(1)

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            yield request

    async with serving(EchoServicer(listed=listed)) as target, Channels() as channels:
        with telemetry.span("test"):
            stream = channels.stub(target, SERVICE).ListEchoes(Echo())
            await anext(stream)
            await stream.aclose()
        found = await recorder.wait_for(3)
    assert [code_of(each) for each in found if each.kind is not SpanKind.INTERNAL] == ["CANCELLED", "CANCELLED"]


async def test_concurrent_calls_keep_their_traces_apart(recorder: Recorder) -> None:
    recorder.record(0)
    barrier = asyncio.Barrier(8)

    async def unary(request: Any, context: Any) -> Any:
        await barrier.wait()
        return Echo(text=telemetry.current_ids()[0])

    async with serving(EchoServicer(unary)) as target, plain_channel(target) as channel:

        async def one(number: int) -> None:
            trace = f"{number + 1:032x}"
            headers = (("traceparent", f"00-{trace}-{PARENT}-0{number % 2}"),)
            answer = await channel.unary_unary(f"/{NAME}/GetEcho")(b"", metadata=headers)
            assert Echo.FromString(answer).text == trace

        await asyncio.gather(*(one(number) for number in range(8)))
    assert {each.context.trace_id for each in recorder.spans()} == {2, 4, 6, 8}
