"""Time that a test moves: a clock and a sleep that wait for advance()."""

import asyncio
import heapq
import itertools


class ManualClock:
    """shared.ids.Clock that only the test moves; sleep() returns when advance() has passed its end.

    ms: the wall clock, seconds: the monotonic clock. A test may set either by itself, as a machine's clocks can differ.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.ms = now_ms
        self.seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        """Moves both clocks on, and wakes nobody."""
        self._move_to(self.seconds + seconds)

    def _move_to(self, seconds: float) -> None:
        self.ms += round(seconds * 1000) - round(self.seconds * 1000)
        self.seconds = seconds

    @property
    def sleepers(self) -> int:
        """How many sleep just now."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds + seconds, next(self._order), future))
        await future

    async def skip(self, seconds: float) -> None:
        """A sleep that takes no time of the test's: for code whose waits are not what is tested."""
        self.slept.append(seconds)
        self.move(seconds)
        await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers in the order of their ends and letting each run until it waits again."""
        end = self.seconds + seconds
        await run_ready()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._move_to(max(self.seconds, due))
            if not future.done():
                future.set_result(None)
            await run_ready()
        self._move_to(end)


async def run_ready(turns: int = 100) -> None:
    """Let everything that can run do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Middle:
    """A source of "random" numbers that are always 0.5: jitter without surprises."""

    def random(self) -> float:
        return 0.5
