"""Spans of work inside a process: decided once, linked to what started them, and nothing at all when left out."""

import time
from collections.abc import Iterator, Sequence
from threading import Event

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode

from shared import telemetry
from shared.config import ServerConfig

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECORDED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
LEFT_OUT = {"traceparent": f"00-{TRACE}-{PARENT}-00"}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    monkeypatch.setattr(telemetry, "_active", telemetry.active())  # put back what was there
    exporter = InMemorySpanExporter()
    telemetry.setup("tests", ServerConfig(trace_ratio=1), exporter=exporter)
    yield exporter
    telemetry.active().shutdown()


def finished(exporter: InMemorySpanExporter) -> Sequence[ReadableSpan]:
    telemetry.active().provider.force_flush()
    return exporter.get_finished_spans()


def test_a_consumer_continues_the_trace_of_the_event(exporter: InMemorySpanExporter) -> None:
    with telemetry.span("node.created", kind="consumer", carrier=RECORDED, links=[LEFT_OUT, {}], attributes={"n": 1}):
        with telemetry.span("inner"):
            headers = telemetry.inject()
        assert telemetry.current_ids()[0] == TRACE
        assert telemetry.is_recording()
    inner, outer = finished(exporter)
    assert outer.kind is SpanKind.CONSUMER
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == PARENT
    assert len(outer.links) == 1
    assert dict(outer.attributes or {}) == {"n": 1}
    assert inner.parent == outer.context
    assert headers == {"traceparent": f"00-{TRACE}-{inner.context.span_id:016x}-01"}
    assert not telemetry.is_recording()


def test_an_event_whose_trace_is_left_out_is_left_out(exporter: InMemorySpanExporter) -> None:
    with telemetry.span("recorded outside"):
        with telemetry.span("node.created", kind="consumer", carrier=LEFT_OUT) as span, telemetry.span("inner"):
            assert span is INVALID_SPAN
            assert telemetry.inject() == LEFT_OUT
            assert telemetry.current_ids() == (TRACE, PARENT)
        assert telemetry.is_recording()
    assert [each.name for each in finished(exporter)] == ["recorded outside"]


@pytest.mark.parametrize(
    "carrier", [{}, {"traceparent": ""}, {"traceparent": "garbage"}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}]
)
def test_without_a_carrier_the_ratio_decides(exporter: InMemorySpanExporter, carrier: dict[str, str]) -> None:
    with telemetry.span("loop", carrier=carrier):
        pass
    assert [(each.name, each.parent) for each in finished(exporter)] == [("loop", None)]
    exporter.clear()
    telemetry.setup("tests", ServerConfig(trace_ratio=0), exporter=exporter)
    with telemetry.span("left out", carrier=carrier):
        first, again = telemetry.inject(), telemetry.inject()
    assert finished(exporter) == ()
    # A trace that is left out has an id all the same, one for the whole of it.
    assert first == again
    assert first["traceparent"].endswith("-00")


def test_a_loop_that_asks_for_headers_can_still_be_traced_later(exporter: InMemorySpanExporter) -> None:
    assert telemetry.inject()["traceparent"].endswith("-00")
    with telemetry.span("work"):
        pass
    assert [each.name for each in finished(exporter)] == ["work"]


def test_an_error_marks_the_span(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), telemetry.span("work"):
        raise KeyError("lost")
    (span,) = finished(exporter)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "KeyError"


def test_other_libraries_follow_the_decision(exporter: InMemorySpanExporter) -> None:
    tracer = telemetry.active().provider.get_tracer("botocore")
    with telemetry.span("outer"):
        tracer.start_span("child").end()
    with telemetry.span("event", carrier=LEFT_OUT):
        tracer.start_span("left out with it").end()
    tracer.start_span("a root of its own").end()
    assert [each.name for each in finished(exporter)] == ["child", "outer", "a root of its own"]


def test_without_setup_nothing_is_recorded_or_sent() -> None:
    assert telemetry.active().records is False
    with telemetry.span("work", carrier=RECORDED) as span:
        assert span is INVALID_SPAN
        # Others may record it: the headers go on unchanged.
        assert telemetry.inject() == RECORDED
    assert telemetry.inject() == {}
    assert telemetry.current_ids() == ("", "")
    assert trace.get_current_span() is INVALID_SPAN


def test_a_collector_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_active", telemetry.active())
    released = Event()

    class Hanging(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            released.wait(60)
            return SpanExportResult.FAILURE

    tracing = telemetry.setup("tests", ServerConfig(trace_ratio=1), exporter=Hanging())
    with telemetry.span("work"):
        pass
    began = time.monotonic()
    tracing.shutdown(timeout=0.1)
    assert time.monotonic() - began < 10
    released.set()
