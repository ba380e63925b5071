"""Work in the background: in the trace of its cause while that is young, later in one of its own with a link."""

from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import telemetry
from shared.config import ServerConfig
from shared.tracer import CONTINUED_MS, NoTracer, caused_by, traced

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECORDED, LEFT_OUT = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    monkeypatch.setattr(telemetry, "_active", telemetry.active())  # put back what was there
    exporter = InMemorySpanExporter()
    telemetry.setup("tests", ServerConfig(trace_ratio=0), exporter=exporter)
    yield exporter
    telemetry.active().shutdown()


def run(exporter: InMemorySpanExporter, traceparent: str, age_ms: int) -> list[tuple[str, list[str]]]:
    """(trace id, ids of the linked traces) of the spans."""
    with caused_by(telemetry, "work", traceparent, age_ms, {"n": 1}):
        pass
    telemetry.active().provider.force_flush()
    return [
        (f"{span.context.trace_id:032x}", [f"{link.context.trace_id:032x}" for link in span.links])
        for span in exporter.get_finished_spans()
    ]


def test_young_work_continues_the_trace(exporter: InMemorySpanExporter) -> None:
    assert run(exporter, RECORDED, CONTINUED_MS) == [(TRACE, [])]


def test_old_work_has_a_linked_trace_which_is_recorded_as_its_cause_was(exporter: InMemorySpanExporter) -> None:
    ((trace_id, links),) = run(exporter, RECORDED, CONTINUED_MS + 1)
    assert trace_id != TRACE
    assert links == [TRACE]


@pytest.mark.parametrize("age_ms", [0, CONTINUED_MS + 1])
@pytest.mark.parametrize("traceparent", [LEFT_OUT, ""])
def test_what_was_left_out_stays_left_out(exporter: InMemorySpanExporter, traceparent: str, age_ms: int) -> None:
    assert run(exporter, traceparent, age_ms) == []


def test_the_current_trace_is_told_whether_recorded_or_not(exporter: InMemorySpanExporter) -> None:
    assert telemetry.current() == ""
    with telemetry.span("recorded", carrier={"traceparent": RECORDED}):
        assert telemetry.current().startswith(f"00-{TRACE}-")
        assert telemetry.current().endswith("-01")
    with telemetry.span("left out", carrier={"traceparent": LEFT_OUT}):
        assert telemetry.current() == LEFT_OUT


def test_a_root_span_inside_another_trace_has_its_own(exporter: InMemorySpanExporter) -> None:
    with telemetry.span("outer", carrier={"traceparent": RECORDED}) as outer:
        with telemetry.span("batch", root=True, links=[{"traceparent": RECORDED}]) as batch:
            assert batch.get_span_context().trace_id != outer.get_span_context().trace_id
        with telemetry.span("batch of nothing recorded", root=True, links=[{"traceparent": LEFT_OUT}]):
            assert not telemetry.is_recording()
        assert telemetry.is_recording()


def test_without_a_tracer_work_is_done_all_the_same() -> None:
    with caused_by(NoTracer(), "work", RECORDED, 0, {}):
        assert NoTracer().current() == ""


async def test_a_generator_works_inside_its_span_and_its_consumer_does_not(exporter: InMemorySpanExporter) -> None:
    inside: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        for number in range(2):
            inside.append(telemetry.current())
            yield number

    with telemetry.span("call", carrier={"traceparent": RECORDED}):
        outside = telemetry.current()
        async for number in traced(telemetry, "part", numbers()):
            assert telemetry.current() == outside
            assert number == len(inside) - 1
    telemetry.active().provider.force_flush()
    part, call = exporter.get_finished_spans()
    assert (part.name, call.name) == ("part", "call")
    assert part.parent is not None
    assert part.parent.span_id == call.context.span_id
    assert inside == [f"00-{TRACE}-{part.context.span_id:016x}-01"] * 2


async def test_a_generator_that_fails_has_a_span_with_the_error(exporter: InMemorySpanExporter) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more")

    with telemetry.span("call", carrier={"traceparent": RECORDED}):
        parts = traced(telemetry, "part", broken())
        assert await anext(parts) == 1
        with pytest.raises(ValueError, match="no more"):
            await anext(parts)
    telemetry.active().provider.force_flush()
    assert exporter.get_finished_spans()[0].status.description == "no more"
