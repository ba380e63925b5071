"""Time that a test moves: a clock and a sleep that wait for advance()."""

import asyncio
import heapq
import itertools


class ManualClock:
    """shared.ids.Clock whose time is what the test says; sleep() returns when advance() has passed its end."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = now_ms
        self._seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return self._start_ms + round(self._seconds * 1000)

    def monotonic(self) -> float:
        return self._seconds

    @property
    def sleepers(self) -> int:
        """How many sleep just now."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._order), future))
        await future

    async def skip(self, seconds: float) -> None:
        """A sleep that takes no time of the test's: for code whose waits are not what is tested."""
        self.slept.append(seconds)
        self._seconds += seconds
        await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers in the order of their ends and letting each run until it waits again."""
        end = self._seconds + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._seconds = max(self._seconds, due)
            if not future.done():
                future.set_result(None)
            await settle()
        self._seconds = end


async def settle(turns: int = 20) -> None:
    """Let everything that can run do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Middle:
    """A source of "random" numbers that are always 0.5: jitter without surprises."""

    def random(self) -> float:
        return 0.5
