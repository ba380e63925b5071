"""Metrics of the calls that a server has served: durations by method and code, and the items of batches by code.

It stands around the whole chain of a method, so that refused calls and answers of the fast path are counted as well.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic
from types import MappingProxyType
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from shared import telemetry
from shared.grpc.middleware import Context, MethodInfo, Serve
from shared.metrics import Metrics, Series

log = logging.getLogger("brain2.rpc")

# Milliseconds. The first ones are for answers from memory.
BOUNDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
Latencies = Mapping[str, tuple[Sequence[float], Collection[str]]]
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class RpcMetrics:
    """The metrics of a server's calls.

    latencies: a metric's name -> its bounds (ms), and the methods whose successful calls it is about.
    """

    def __init__(self, metrics: Metrics, latencies: Latencies = MappingProxyType({})) -> None:
        self._durations = metrics.histogram(
            "rpc_server_duration_ms", "{ms}", BOUNDS, by=("rpc_method", "code"), what="Duration of served calls."
        )
        # Items of batches by method and code.
        self.items: Counter[tuple[str, str]] = Counter()
        metrics.counter(
            "rpc_batch_items_total",
            "",
            lambda: dict(self.items),
            by=("rpc_method", "code"),
            what="Items of batches, by the code of the item.",
        )
        self._latencies: dict[str, Series] = {}
        for name, (bounds, methods) in latencies.items():
            series = metrics.histogram(
                name, "{ms}", bounds, what=f"Duration of successful calls of {', '.join(methods)}."
            )
            self._latencies |= dict.fromkeys(methods, series.series())

    def counted(self, info: MethodInfo, method: MethodDescriptor, serve: Serve) -> Serve:
        """The method with its calls counted."""
        if _has_items(method):
            serve = self._with_items(info, method, serve)
        ok, latency = self._durations.series(info.name, "OK"), self._latencies.get(info.name)
        durations, is_unrecorded = self._durations, telemetry.unsampled.get

        async def serve_counted(request: bytes, context: Context) -> Any:
            started = monotonic()
            try:
                return await serve(request, context)
            finally:
                ms = (monotonic() - started) * 1000
                trace = telemetry.recorded_ids() if is_unrecorded() is None else None
                code: grpc.StatusCode | None = context.code()
                if code is None or code is grpc.StatusCode.OK:
                    ok.record(ms, trace)
                    if latency is not None:
                        latency.record(ms, trace)
                else:
                    durations.series(info.name, code.name).record(ms, trace)

        return serve_counted

    def _with_items(self, info: MethodInfo, method: MethodDescriptor, serve: Serve) -> Serve:
        """Counts the codes of the answer's items. The call is OK even if all of them failed, so that is logged, too."""
        parse: Callable[[bytes], Any] = GetMessageClass(method.output_type).FromString
        items = self.items

        async def serve_items(request: bytes, context: Context) -> Any:
            sent = await serve(request, context)
            codes = Counter(_NAMES.get(each.code, str(each.code)) for each in parse(sent).results)
            for code, number in codes.items():
                items[info.name, code] += number
            if failed := {code: number for code, number in codes.items() if code != "OK"}:
                log.info("items of a batch failed", extra={"rpc": info.path, "items": codes.total(), "failed": failed})
            return sent

        return serve_items


def _has_items(method: MethodDescriptor) -> bool:
    """Whether the answer lists results with a code each, as docs/contracts.md describes it for batches."""
    results = method.output_type.fields_by_name.get("results")
    if method.server_streaming or results is None or results.message_type is None:
        return False
    code = results.message_type.fields_by_name.get("code")
    return code is not None and code.type == FieldDescriptor.TYPE_INT32
