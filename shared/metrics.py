"""Metrics: numbers that the parts of a process keep anyway, sent to the OTLP collector of the traces if there is one.

    metrics = await life.enter(Metrics("graph", settings))
    metrics.gauge("brain2.consumer.lag", "s", consumer.lag)
    life.supervise("metrics", metrics.run())

Nothing is counted here: at an interval the numbers are read where they are, on the event loop, and the exporter's
thread only sees what was read. So no hot path pays, and without an endpoint nothing is read at all. Attributes are few
and fixed: never a user, a note or a key.
"""

import asyncio
import inspect
import logging
import math
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from shared.resilience.breaker import Breaker
from shared.resilience.retry import Sleep

log = logging.getLogger(__name__)

# One number, or one for each value of the metric's attribute.
Reading = float | Mapping[str, float]
Read = Callable[[], Reading | Awaitable[Reading]]
# A store that is asked for a number and doesn't answer must not hold up the others.
_READ_SECONDS = 5.0
BREAKER_STATES: Mapping[str, int] = {"closed": 0, "half_open": 1, "open": 2}


class MetricsConfig(Protocol):
    """The part of ServerConfig that this module reads."""

    @property
    def otlp_endpoint(self) -> str: ...
    @property
    def metrics_seconds(self) -> float: ...


class Metrics:
    """What a process tells of itself. exporter: takes the place of OTLP over gRPC to settings.otlp_endpoint (tests)."""

    def __init__(
        self,
        service: str,
        settings: MetricsConfig,
        *,
        exporter: MetricExporter | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if exporter is None and settings.otlp_endpoint:
            # Imported late, as in telemetry.py: most processes have no collector.
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

            insecure = not settings.otlp_endpoint.startswith("https://")
            exporter = OTLPMetricExporter(endpoint=settings.otlp_endpoint, insecure=insecure, timeout=5)
        self._seconds = settings.metrics_seconds
        self._sleep = sleep
        self._reads: dict[str, Read] = {}
        self._seen: dict[str, Reading] = {}
        self._provider: MeterProvider | None = None
        if exporter is not None:
            self._provider = MeterProvider(
                # Infinite: run() says when, after it has read.
                [PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)],
                resource=Resource.create(
                    {
                        "service.name": service,
                        "service.namespace": "brain2",
                        # Counters of two replicas must not be taken for one that jumps.
                        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
                    }
                ),
                shutdown_on_exit=False,
            )
            self._meter = self._provider.get_meter("brain2")

    async def __aenter__(self) -> "Metrics":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        provider = self._provider
        if provider is None:
            return
        # The stores are closed by now; the counters still say how it ended.
        for name, read in self._reads.items():
            if not inspect.iscoroutinefunction(read):
                await self._look(name, read)

        def end() -> None:
            provider.force_flush()
            provider.shutdown()

        worker = threading.Thread(target=end, name="metrics-shutdown", daemon=True)
        worker.start()
        await asyncio.to_thread(worker.join, 2.0)
        if worker.is_alive():
            log.warning("the metrics collector doesn't answer, the last numbers are dropped")

    def counter(self, name: str, unit: str, read: Read, *, by: str = "") -> None:
        """A number that only grows while the process lives. by: the attribute whose values the reading's keys are."""
        if self._provider is not None:
            self._reads[name] = read
            self._meter.create_observable_counter(name, [self._observer(name, by)], unit)

    def gauge(self, name: str, unit: str, read: Read, *, by: str = "") -> None:
        """A number as it is now; see counter()."""
        if self._provider is not None:
            self._reads[name] = read
            self._meter.create_observable_gauge(name, [self._observer(name, by)], unit)

    def breakers(self, breakers: Callable[[], Sequence[Breaker]]) -> None:
        """The state of the process's breakers, by the name of what is behind each."""
        self.gauge(
            "brain2.breaker.state",
            "1",
            lambda: {breaker.name: BREAKER_STATES[breaker.state] for breaker in breakers()},
            by="brain2.dependency",
        )

    async def run(self) -> None:
        """Read and send at the interval, for ever; returns at once when nobody is to get anything."""
        while self._provider is not None:
            await self._sleep(self._seconds)
            await self.send()

    async def send(self) -> None:
        """Read everything now and send it. Raises nothing of what may be wrong with a store or with the collector."""
        if self._provider is None:
            return
        await asyncio.gather(*(self._look(name, read) for name, read in self._reads.items()))
        await asyncio.to_thread(self._provider.force_flush)

    async def _look(self, name: str, read: Read) -> None:
        try:
            found = read()
            if isinstance(found, Awaitable):
                async with asyncio.timeout(_READ_SECONDS):
                    found = await found
            self._seen[name] = found
        except Exception as error:
            # Better no number than an old one.
            self._seen.pop(name, None)
            log.warning("can't read a metric now", extra={"metric": name, "error": repr(error)})

    def _observer(self, name: str, by: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: Any) -> Iterable[Observation]:
            seen = self._seen.get(name)
            if seen is None:
                return []
            if isinstance(seen, Mapping):
                return [Observation(value, {by: key}) for key, value in list(seen.items())]
            return [Observation(seen)]

        return observe
