"""Load at a fixed rate, whatever the server does: each call begins at its time or, if we are late, as soon as possible,
and its latency counts from its time. So a server that stalls is charged for every call that should have run meanwhile
(no coordinated omission)."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import grpc

Call = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Summary:
    """Latencies in ms from the intended start. refused: answers that the mix itself causes (an edge that is gone
    already). late_ms: how late the load itself began calls at most.
    """

    count: int
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    errors: int = 0
    refused: int = 0
    late_ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summary(latencies: Sequence[float], took: float, errors: int = 0, refused: int = 0, late: float = 0.0) -> Summary:
    ranked = sorted(latencies)

    def at(share: float) -> float:
        return round(1000 * ranked[min(int(share * len(ranked)), len(ranked) - 1)], 3) if ranked else 0.0

    times = (at(0.5), at(0.95), at(0.99), at(1.0))
    return Summary(len(ranked), round(len(ranked) / took, 1), *times, errors, refused, round(1000 * late, 3))


async def run(call: Call, rate: float, seconds: float) -> Summary:
    """One kind of call, to which a refusal is no answer: it is an error."""
    found = await mix(lambda: ("all", call()), rate, seconds, answers=())
    return found["all"]


ANSWERS = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.ALREADY_EXISTS,
)


async def mix(
    pick: Callable[[], tuple[str, Awaitable[Any]]],
    rate: float,
    seconds: float,
    answers: Collection[grpc.StatusCode] = ANSWERS,
) -> dict[str, Summary]:
    """pick() says what the next call is and begins it; answers a summary for each name.

    answers: the codes that count as refused, and not as errors.
    """
    latencies: dict[str, list[float]] = {}
    errors: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    running: set[asyncio.Task[None]] = set()
    late = 0.0

    async def one(name: str, work: Awaitable[Any], due: float) -> None:
        try:
            await work
        except grpc.aio.AioRpcError as error:
            if error.code() in answers:
                refused[name] += 1
            else:
                errors[name] += 1
                print(f"{name}: {error.code().name} {error.details()}", file=sys.stderr, flush=True)
        latencies.setdefault(name, []).append(time.perf_counter() - due)

    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        late = max(late, time.perf_counter() - due)
        name, work = pick()
        task = asyncio.ensure_future(one(name, work, due))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)
    took = time.perf_counter() - began
    return {
        name: summary(values, took, errors[name], refused[name], late) for name, values in sorted(latencies.items())
    }


async def closed(calls: Sequence[Call]) -> Summary:
    """One after the other."""
    latencies: list[float] = []
    began = time.perf_counter()
    for call in calls:
        start = time.perf_counter()
        await call()
        latencies.append(time.perf_counter() - start)
    return summary(latencies, time.perf_counter() - began)
