"""The metrics of a process: numbers that its components keep anyway, and histograms of its calls.

    metrics = await life.enter(Metrics("graph", config))
    metrics.gauge("brain2.consumer.lag", "s", consumer.lag)
    life.supervise("metrics", metrics.run())

One registry has two ways out: OTLP to the collector of the traces, at an interval, and a Prometheus endpoint. Numbers
are read from the components when they are wanted, on the event loop; with neither way out nothing is read, and no
histogram is kept.
"""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from opentelemetry.sdk.metrics.export import MetricExporter

from shared.metrics import loop_lag, otlp, prometheus
from shared.metrics.hit_rate import Counts, HitRate
from shared.metrics.model import Across, Family, Histogram, Kind, Points, Snapshot
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Sleep
from shared.resource import resource

log = logging.getLogger(__name__)

# One number, or one for each value of the metric's label (for each tuple of values, when it has several). None: there
# is no number now.
Reading = float | Mapping[Any, float] | None
Read = Callable[[], Reading | Awaitable[Reading]]
# A store that doesn't answer in this many seconds must not delay the other metrics.
_READ_SECONDS = 5.0
BREAKER_STATES: Mapping[str, int] = {"closed": 0, "half_open": 1, "open": 2}
CACHE_HITS = "cache_hits_total"
CACHE_MISSES = "cache_misses_total"
CACHE_HIT_RATE = "cache_hit_rate"


class MetricsConfig(Protocol):
    """The part of ServerConfig that this module reads."""

    @property
    def otlp_endpoint(self) -> str: ...
    @property
    def metrics_seconds(self) -> float: ...
    @property
    def metrics_listen(self) -> str: ...


class SnapshotReader(Protocol):
    """What reads the metrics of a worker for its supervisor: shared/workers/link.py."""

    snapshot: Callable[[], Awaitable[Snapshot]] | None


class Metrics:
    """The metrics of a process.

    link: of a worker, to the supervisor, whose Prometheus endpoint has the numbers of all workers.
    exporter: replaces OTLP over gRPC to config.otlp_endpoint.

    Entering it opens the Prometheus endpoint, if the config has one; OSError when its address is taken.
    """

    def __init__(
        self,
        service: str,
        config: MetricsConfig,
        *,
        link: SnapshotReader | None = None,
        exporter: MetricExporter | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if exporter is None and config.otlp_endpoint:
            # Imported here because the import costs 50 ms and most processes have no collector.
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

            insecure = not config.otlp_endpoint.startswith("https://")
            exporter = OTLPMetricExporter(endpoint=config.otlp_endpoint, insecure=insecure, timeout=5)
        self._exporter = exporter
        # The supervisor has the endpoint of a worker.
        alone = link is None and bool(config.metrics_listen)
        self._endpoint = prometheus.Endpoint(config.metrics_listen, self.scrape) if alone else None
        self._merged = link is not None and bool(config.metrics_listen)
        if link is not None and self._merged:
            link.snapshot = self.snapshot
        self._seconds = config.metrics_seconds
        self._sleep = sleep
        self._resource = resource(service)
        self._start_ns = time.time_ns()
        self._families: dict[str, Family] = {}
        self._reads: dict[str, Read] = {}
        # The histograms by their names.
        self.histograms: dict[str, Histogram] = {}
        # What was read last of metrics whose reading awaits a store, and when (monotonic seconds).
        self._kept: dict[str, tuple[float, Points]] = {}
        self._fresh_for: dict[str, float] = {}
        self.port = 0

    @property
    def enabled(self) -> bool:
        """Whether anything reads the metrics."""
        return self._exporter is not None or self._endpoint is not None or self._merged

    async def __aenter__(self) -> "Metrics":
        if self._endpoint is not None:
            self.port = await self._endpoint.start()
            log.info("metrics are served", extra={"path": "/metrics", "port": self.port})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._endpoint is not None:
            await self._endpoint.stop()
        exporter = self._exporter
        if exporter is None:
            return
        # The stores are closed by now. The numbers that are in memory are sent a last time.
        in_memory = [name for name in self._families if not self._awaits(name)]
        data = otlp.metrics_data(await self._collect(in_memory), self._resource, self._start_ns, time.time_ns())

        def end() -> None:
            exporter.export(data, timeout_millis=1500)
            exporter.shutdown(timeout_millis=500)

        # A thread of the executor would hold up the end of the process.
        worker = threading.Thread(target=end, name="metrics-shutdown", daemon=True)
        worker.start()
        await asyncio.to_thread(worker.join, 2.0)
        if worker.is_alive():
            log.warning("the metrics collector doesn't answer; the last metrics are dropped")

    def counter(self, name: str, unit: str, read: Read, *, by: str | Sequence[str] = (), what: str = "") -> None:
        """Register a number that only grows while the process lives.

        read: returns the number, or a number for each value of the label `by` (tuples of values for several labels).
        what: one sentence for those who see the name only.
        """
        self._register(Family(name, Kind.COUNTER, unit, _names(by), what), read)

    def gauge(
        self,
        name: str,
        unit: str,
        read: Read,
        *,
        by: str | Sequence[str] = (),
        what: str = "",
        fresh_for: float = 0.0,
        across: Across = Across.SUM,
    ) -> None:
        """Register a number that may grow and shrink. The other parameters are those of counter().

        fresh_for: seconds for which a reading that awaits a store is used again; at least the interval of OTLP.
        across: how the numbers of several workers become one; MAX for what all of them see alike.
        """
        self._register(Family(name, Kind.GAUGE, unit, _names(by), what, across), read)
        self._fresh_for[name] = fresh_for

    def histogram(
        self, name: str, unit: str, bounds: Sequence[float], *, by: str | Sequence[str] = (), what: str = ""
    ) -> Histogram:
        """Register a histogram; record into its series. bounds: the upper ends of the buckets, inclusive."""
        histogram = Histogram(bounds)
        self._families[name] = Family(name, Kind.HISTOGRAM, unit, _names(by), what)
        self.histograms[name] = histogram
        return histogram

    def breakers(self, breakers: Callable[[], Sequence[Breaker]]) -> None:
        """Register the state of each breaker of the process, by its dependency: of several, the worst."""

        def states() -> dict[str, float]:
            found: dict[str, float] = {}
            for breaker in breakers():
                found[breaker.name] = max(found.get(breaker.name, 0), BREAKER_STATES[breaker.state])
            return found

        self.gauge(
            "brain2.breaker.state",
            "{state}",
            states,
            by="brain2.dependency",
            what="State of a circuit breaker: 0 closed, 1 half open, 2 open.",
            across=Across.MAX,
        )

    def caches(self, caches: Mapping[str, Callable[[], Counts]]) -> None:
        """Register hits, misses and the hit rate of caches. caches: a name -> reads (hits, misses) since the start."""
        rates = {name: HitRate(read, time.monotonic) for name, read in caches.items()}

        def hit_rates() -> dict[str, float]:
            return {name: found for name, rate in rates.items() if (found := rate()) is not None}

        self.counter(
            CACHE_HITS,
            "",
            lambda: {name: read()[0] for name, read in caches.items()},
            by="cache",
            what="Lookups that the cache answered.",
        )
        self.counter(
            CACHE_MISSES,
            "",
            lambda: {name: read()[1] for name, read in caches.items()},
            by="cache",
            what="Lookups that the cache couldn't answer.",
        )
        self.gauge(
            CACHE_HIT_RATE,
            "",
            hit_rates,
            by="cache",
            what="Share of the lookups of the last five minutes that the cache answered; absent without lookups.",
        )

    async def run(self) -> None:
        """Measure the event loop, and send all metrics at the interval, forever.

        Returns at once when nothing reads the metrics.
        """
        if not self.enabled:
            return
        lag = self.histogram(
            "event_loop_lag_ms",
            "{ms}",
            loop_lag.BOUNDS,
            what="How late a timer of the event loop came, ten times a second.",
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(loop_lag.measure(lag.series()))
            while self._exporter is not None:
                await self._sleep(self._seconds)
                await self.send()

    async def send(self) -> None:
        """Read all metrics now and send them. Failures of a store or of the collector are logged, not raised."""
        exporter = self._exporter
        if exporter is None:
            return
        snapshot = await self.snapshot()
        data = otlp.metrics_data(snapshot, self._resource, self._start_ns, time.time_ns())
        await asyncio.to_thread(exporter.export, data)

    async def scrape(self, open_metrics: bool) -> str:
        """The answer to a scrape of the Prometheus endpoint."""
        return prometheus.render(await self.snapshot(), self._resource, open_metrics=open_metrics)

    async def snapshot(self) -> Snapshot:
        """All metrics as they are now."""
        return await self._collect(list(self._families))

    def _register(self, family: Family, read: Read) -> None:
        self._families[family.name] = family
        self._reads[family.name] = read

    def _awaits(self, name: str) -> bool:
        return inspect.iscoroutinefunction(self._reads.get(name))

    async def _collect(self, names: Sequence[str]) -> Snapshot:
        points = await asyncio.gather(*map(self._points, names))
        return [(self._families[name], found) for name, found in zip(names, points, strict=True)]

    async def _points(self, name: str) -> Points:
        histogram = self.histograms.get(name)
        if histogram is not None:
            # A copy: the exporter reads it while calls go on.
            return {labels: series.copy() for labels, series in histogram.all.items()}
        kept = self._kept.get(name)
        now = time.monotonic()
        if kept is not None and now - kept[0] < max(self._seconds * 0.9, self._fresh_for.get(name, 0.0)):
            return kept[1]
        try:
            found = self._reads[name]()
            if isinstance(found, Awaitable):
                async with asyncio.timeout(_READ_SECONDS):
                    points = _points(await found)
                self._kept[name] = now, points
                return points
            return _points(found)
        except Exception as error:
            # Without a number the metric has a gap; the old number would be wrong.
            self._kept.pop(name, None)
            log.warning("a metric can't be read now", extra={"metric": name, "error": repr(error)})
            return {}


def _points(reading: Reading) -> Points:
    if reading is None:
        return {}
    if isinstance(reading, Mapping):
        return {key if isinstance(key, tuple) else (key,): value for key, value in reading.items()}
    return {(): reading}


def _names(by: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(by, str):
        return (by,) if by else ()
    return tuple(by)
