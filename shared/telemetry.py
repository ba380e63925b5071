"""Traces: one decision per trace, made where the request enters, and almost no cost for traces that aren't recorded.

The OpenTelemetry SDK is called for recorded traces only. The state of the others is one context variable, `unsampled`:
    None        nothing is decided yet (start-up, a background loop), or the current work is recorded; where nothing is
                decided, the next span() decides by the ratio;
    Unsampled   the current work is not recorded. It holds the traceparent that came with a call or an event; where none
                came, ids are drawn when they are needed: for a call to a peer, an event, or a line of the log.
Therefore a peer never decides again about a trace that this process left out, and the logs of both sides have the same
trace id. The SDK's own sampler was measured instead: it makes a span object for every call, which costs a third of the
throughput (docs/adr/0002). Spans of calls are made by shared/grpc/tracing.py.
"""

import asyncio
import contextlib
import logging
import random
import re
import threading
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes, AttributeValue

from shared.config import CommandConfig, load
from shared.resource import resource

log = logging.getLogger(__name__)
T = TypeVar("T")


class Unsampled:
    """A trace that isn't recorded. All tasks of a call share one of these, and so the ids that one of them draws."""

    __slots__ = ("_header",)

    def __init__(self, header: str = "") -> None:
        self._header = header

    @property
    def header(self) -> str:
        """The traceparent, drawn now if there was none or a malformed one."""
        if not self._header or not _TRACEPARENT.fullmatch(self._header):
            self._header = _drawn()
        return self._header


# The current trace when it isn't recorded; see the module's docstring.
unsampled: ContextVar[Unsampled | None] = ContextVar("brain2_unsampled", default=None)
# Whether the ratio has decided that the next root span is recorded.
root_recorded: ContextVar[bool] = ContextVar("brain2_root_recorded", default=False)

# version(2)-trace(32)-span(16)-flags(2); later versions may append more.
SHORTEST = 55
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_W3C = TraceContextTextMapPropagator()
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
}


class TraceConfig(Protocol):
    """The part of ServerConfig that this module reads."""

    @property
    def trace_ratio(self) -> float: ...
    @property
    def otlp_endpoint(self) -> str: ...


class _RatioSampler(Sampler):
    """Follows the parent span or an earlier decision. Without either, it samples by the ratio."""

    def __init__(self, ratio: float) -> None:
        self._others = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if not trace.get_current_span(parent_context).get_span_context().is_valid:
            if unsampled.get() is not None:
                return SamplingResult(Decision.DROP)
            if root_recorded.get():
                return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return "Brain2Ratio"


class Telemetry:
    """The tracing of a process, made by setup().

    Enter it as the first resource, `await life.enter(telemetry.setup(...))`, so that it also sends the drain's spans.
    """

    def __init__(self, provider: TracerProvider, ratio: float, *, records: bool) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("brain2")
        # Without an exporter no span is made; headers are still handed on.
        self.records = records
        self.ratio = ratio if records else 0.0

    async def __aenter__(self) -> "Telemetry":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.shutdown)

    def shutdown(self, timeout: float = 2.0) -> None:
        """Send the remaining spans. A collector that is away delays the process for at most `timeout` seconds."""
        worker = threading.Thread(target=self.provider.shutdown, name="telemetry-shutdown", daemon=True)
        worker.start()
        worker.join(timeout)
        if worker.is_alive():
            log.warning("the trace collector doesn't answer; the last spans are dropped")


_OFF = Telemetry(TracerProvider(shutdown_on_exit=False), 0.0, records=False)
_active = _OFF


def setup(service: str, config: TraceConfig, *, exporter: SpanExporter | None = None) -> Telemetry:
    """Start the tracing of this process; a later call replaces an earlier one.

    exporter: receives the spans. Without it they go to config.otlp_endpoint by OTLP over gRPC; without that endpoint
        nothing is recorded.
    """
    global _active
    if exporter is None and config.otlp_endpoint:
        # Imported here because the import costs 50 ms and most processes have no collector.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        insecure = not config.otlp_endpoint.startswith("https://")
        exporter = OTLPSpanExporter(endpoint=config.otlp_endpoint, insecure=insecure, timeout=5)
    provider = TracerProvider(
        sampler=_RatioSampler(config.trace_ratio),
        resource=resource(service),
        shutdown_on_exit=False,
    )
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
        if not isinstance(trace.get_tracer_provider(), TracerProvider):  # it can be set once, for other libraries
            trace.set_tracer_provider(provider)
    propagate.set_global_textmap(_W3C)  # no baggage: only recorded calls would hand it on
    _active = Telemetry(provider, config.trace_ratio, records=exporter is not None)
    return _active


async def run_command(name: str, work: Awaitable[T]) -> T:
    """Await the work of a command-line tool inside a root span, so that all calls of one run belong to one trace.

    Without a collector (CommandConfig) there is no span, and the services decide for each call whether to record it.
    """
    config = load(CommandConfig)
    if not config.otlp_endpoint:
        return await work
    async with setup(name, config):
        with span(name):
            return await work


def active() -> Telemetry:
    """The tracing that setup() made last; before that, one that records nothing."""
    return _active


def is_sampled(traceparent: str) -> bool:
    """Whether the caller records this trace. Only the length and the flags are checked."""
    # The lowest bit of the flags is in the last character.
    return len(traceparent) >= SHORTEST and traceparent[SHORTEST - 1] in "13579bdf"


@contextlib.contextmanager
def span(
    name: str,
    *,
    kind: str = "internal",
    carrier: Mapping[str, str] | None = None,
    links: Sequence[Mapping[str, str]] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
    root: bool = False,
) -> Iterator[Span]:
    """Run the block inside a span; if the trace isn't recorded, the block gets a span that does nothing.

    kind: internal, producer, consumer or client.
    carrier: the traceparent and tracestate of the call or event that caused this work; the span continues that trace.
    links: carriers of other traces that caused this work. Without a carrier the span is the root of a trace of its own,
        which is recorded if one of those is.
    root: begin a trace of its own even inside another one; for a batch of what other traces have caused.

    An exception that leaves the block sets the span's status to ERROR.
    """
    traceparent = carrier.get("traceparent", "") if carrier else ""
    if traceparent and not _TRACEPARENT.fullmatch(traceparent):
        traceparent = ""
    if not _decide(traceparent, links, root=root):
        if unsampled.get() is not None and not traceparent and not root:
            yield INVALID_SPAN
            return
        before = unsampled.set(Unsampled(traceparent))
        # A recorded span around this block must not become the parent of work that is left out.
        detached = otel_context.attach(Context()) if traceparent or root else None
        try:
            yield INVALID_SPAN
        finally:
            unsampled.reset(before)
            if detached is not None:
                otel_context.detach(detached)
        return
    remote = _parse_carrier(carrier) if carrier else None
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context()) if remote else None
    if root:
        context = Context()
    linked = [Link(found) for each in links if (found := _parse_carrier(each))]
    before = unsampled.set(None)
    decided = root_recorded.set(True)
    started = _active.tracer.start_span(name, context, _KINDS[kind], attributes, linked)
    root_recorded.reset(decided)
    token = otel_context.attach(trace.set_span_in_context(started))
    try:
        yield started
    except Exception as error:
        mark_failed(started, error)
        raise
    finally:
        otel_context.detach(token)
        unsampled.reset(before)
        started.end()


def mark_failed(span: Span, error: Exception) -> None:
    """Set a span's status to ERROR. An exception that leaves the block of span() does so by itself."""
    if "error.type" not in (getattr(span, "attributes", None) or ()):
        span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def inject() -> dict[str, str]:
    """Return the headers of the current trace, recorded or not, for a call to a peer or an event.

    Outside of any trace they say "not recorded"; work that is to be traced opens a span() first. In a process that
    never called setup() the result is {}, and the receiver decides.
    """
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        headers = {"traceparent": f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags:02x}"}
        if current.trace_state:
            headers["tracestate"] = current.trace_state.to_header()
        return headers
    left_out = unsampled.get()
    if left_out is not None:
        return {"traceparent": left_out.header}
    # Stored in an undecided context, the header would keep all later work from being traced.
    return {} if _active is _OFF else {"traceparent": _drawn()}


def current() -> str:
    """The traceparent of the current work, recorded or not; "" outside of any trace."""
    if trace.get_current_span().get_span_context().is_valid or unsampled.get() is not None:
        return inject().get("traceparent", "")
    return ""


def current_ids() -> tuple[str, str]:
    """The trace id and the span id of the current work, "" where there is none."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        return f"{current.trace_id:032x}", f"{current.span_id:016x}"
    left_out = unsampled.get()
    if left_out is None:
        return "", ""
    _, trace_id, span_id, _ = left_out.header.split("-", 3)
    return trace_id, span_id


def recorded_ids() -> tuple[str, str] | None:
    """The trace id and the span id of the current work if it is recorded, for an exemplar."""
    return current_ids() if is_recording() else None


def server_attributes(address: str) -> dict[str, AttributeValue]:
    """The attributes of a client span that name the server. address: host:port, or a URL of an endpoint."""
    found = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = found.port or {"http": 80, "https": 443}.get(found.scheme)
    except ValueError:
        port = None
    if found.hostname is None:  # a path of a socket
        return {"server.address": address}
    return {"server.address": found.hostname} | ({"server.port": port} if port is not None else {})


def is_recording() -> bool:
    """Whether the current work is inside a recorded span."""
    return unsampled.get() is None and trace.get_current_span().get_span_context().trace_flags.sampled


def _drawn() -> str:
    return f"00-{random.getrandbits(128) | 1:032x}-{random.getrandbits(64) | 1:016x}-00"


def _decide(traceparent: str, links: Sequence[Mapping[str, str]], *, root: bool) -> bool:
    if traceparent:
        return _active.records and is_sampled(traceparent)
    if not _active.records:
        return False
    if not root:
        if trace.get_current_span().get_span_context().is_valid:
            return is_recording()
        if unsampled.get() is not None:
            return False
    return any(is_sampled(each.get("traceparent", "")) for each in links) or random.random() < _active.ratio


def _parse_carrier(carrier: Mapping[str, str]) -> SpanContext | None:
    found = trace.get_current_span(_W3C.extract(carrier, Context())).get_span_context()
    return found if found.is_valid else None
