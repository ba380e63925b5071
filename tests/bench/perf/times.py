"""Times of calls, in milliseconds, by themselves and beside what the machine takes for their core."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Times:
    """Of the calls of one operation, in milliseconds."""

    calls: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, taken: Iterable[float]) -> "Times":
        """taken: seconds."""
        ranked = sorted(taken)

        def at(share: float) -> float:
            return round(1000 * ranked[min(int(share * len(ranked)), len(ranked) - 1)], 2)

        return cls(len(ranked), at(0.5), at(0.99), at(1.0))


async def seconds(call: Call) -> float:
    """How long one call takes."""
    began = perf_counter()
    await call()
    return perf_counter() - began


async def one_by_one(calls: Sequence[Call], *, pause: float = 0.0) -> Times:
    """pause: seconds after each call."""
    taken = []
    for call in calls:
        taken.append(await seconds(call))
        if pause:
            await asyncio.sleep(pause)
    return Times.of(taken)


async def paired(calls: Sequence[Call], beside: Sequence[Call], *, pause: float = 0.0) -> tuple[Times, Times]:
    """The calls one by one, and the other ones spread evenly among them, so that both meet the same machine."""
    taken: list[float] = []
    taken_beside: list[float] = []
    for number, call in enumerate(calls):
        taken.append(await seconds(call))
        if pause:
            await asyncio.sleep(pause)
        if len(taken_beside) < len(beside) * (number + 1) // len(calls):
            taken_beside.append(await seconds(beside[len(taken_beside)]))
            if pause:
                await asyncio.sleep(pause)
    return Times.of(taken), Times.of(taken_beside)


async def at_once(calls: Sequence[Call], width: int) -> Times:
    """The calls, `width` of them in flight at any time."""
    taken: list[float] = []
    left = iter(calls)

    async def worker() -> None:
        for call in left:
            taken.append(await seconds(call))  # noqa: PERF401 - the workers share the list

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())
    return Times.of(taken)
