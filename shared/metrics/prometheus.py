"""The metrics as Prometheus reads them: OpenMetrics with exemplars or the older text format, and the HTTP endpoint.

The names are OpenTelemetry's with underscores for dots, and nothing is added: the collector's exporter makes the same.
"""

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping

from opentelemetry.sdk.resources import Resource

from shared.metrics.model import Exemplar, Family, Kind, Points, Series, Snapshot

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def render(snapshot: Snapshot, resource: Resource, *, open_metrics: bool) -> str:
    """The whole answer to a scrape."""
    attributes = {_name(key): str(value) for key, value in resource.attributes.items()}
    lines = ["# TYPE target_info gauge", f"target_info{_braces(attributes)} 1"]
    for family, points in snapshot:
        lines += _lines(family, points, open_metrics=open_metrics)
    if open_metrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _lines(family: Family, points: Points, *, open_metrics: bool) -> Iterator[str]:
    name = title = _name(family.name)
    kind = str(family.kind)
    if open_metrics and family.kind is Kind.COUNTER:
        # The samples of OpenMetrics' counters end in _total, and their family is named without it.
        title, kind = name.removesuffix("_total"), kind if name.endswith("_total") else "unknown"
    if family.description:
        yield f"# HELP {title} {family.description}"
    yield f"# TYPE {title} {kind}"
    labels = [_name(each) for each in family.labels]
    for values, point in points.items():
        named = dict(zip(labels, values, strict=True))
        if isinstance(point, Series):
            yield from _buckets(name, named, point, open_metrics=open_metrics)
        else:
            yield f"{name}{_braces(named)} {_number(point)}"


def _buckets(name: str, named: Mapping[str, str], series: Series, *, open_metrics: bool) -> Iterator[str]:
    total = 0
    for at, bound in enumerate((*series.bounds, math.inf)):
        total += series.counts[at]
        # Both formats write a bound as a float: Prometheus 2 would take "100" and "100.0" for two labels.
        line = f"{name}_bucket{_braces({**named, 'le': '+Inf' if bound == math.inf else repr(float(bound))})} {total}"
        exemplar = series.exemplars.get(at)
        yield line + _exemplar(exemplar) if open_metrics and exemplar is not None else line
    yield f"{name}_sum{_braces(named)} {_number(series.sum)}"
    yield f"{name}_count{_braces(named)} {total}"


def _exemplar(exemplar: Exemplar) -> str:
    ids = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
    return f" # {_braces(ids)} {_number(exemplar.value)} {exemplar.time:.3f}"


def _name(name: str) -> str:
    return name.replace(".", "_")


def _braces(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    return repr(value)


class Endpoint:
    """Serves GET /metrics. Enter it with `await life.enter(Endpoint(...))`.

    listen: host:port; OSError when the address can't be listened on.
    scrape: renders the answer; its argument is whether OpenMetrics is wanted.
    """

    def __init__(self, listen: str, scrape: Callable[[bool], Awaitable[str]]) -> None:
        host, _, port = listen.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._scrape = scrape
        self._close: Callable[[], Awaitable[None]] | None = None

    async def start(self) -> int:
        """Listen, and return the port."""
        # Imported here because the server half of aiohttp costs time and memory, and not every process has an endpoint.
        from aiohttp import web

        async def serve(request: web.Request) -> web.Response:
            open_metrics = "application/openmetrics-text" in request.headers.get("Accept", "")
            body = (await self._scrape(open_metrics)).encode()
            return web.Response(body=body, headers={"Content-Type": OPEN_METRICS if open_metrics else TEXT})

        application = web.Application()
        application.router.add_get("/metrics", serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._close = runner.cleanup
        await web.TCPSite(runner, self._host, self._port).start()
        port: int = runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Close the endpoint; does nothing before start()."""
        if self._close is not None:
            await self._close()
            self._close = None
