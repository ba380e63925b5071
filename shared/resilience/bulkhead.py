"""A bounded share of the process for one dependency: so many at once, so many waiting, the rest are refused at once."""

import asyncio
from collections import deque
from types import TracebackType

from shared.errors import ResourceExhausted


class Bulkhead:
    """`async with bulkhead:` admits `limit` at once and lets `queue` more wait in order of arrival.

    Anybody beyond that gets ResourceExhausted (reason OVERLOADED) with retry_after seconds, without waiting.
    """

    def __init__(self, limit: int, queue: int = 0, *, name: str = "bulkhead", retry_after: float = 0.1) -> None:
        if limit < 1 or queue < 0:
            raise ValueError("a bulkhead admits at least one and can't queue fewer than none")
        self.name = name
        self._limit = limit
        self._queue = queue
        self._retry_after = retry_after
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def inside(self) -> int:
        """How many are admitted just now."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def __aenter__(self) -> "Bulkhead":
        if self._inside < self._limit:
            self._inside += 1
            return self
        if len(self._waiting) >= self._queue:
            raise ResourceExhausted(
                f"{self.name} is full: {self._inside} at work, {len(self._waiting)} waiting",
                reason="OVERLOADED",
                retry_after=self._retry_after,
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()  # the place was handed over in the same instant: pass it on
            elif place in self._waiting:  # else _leave() has already thrown the cancelled place away
                self._waiting.remove(place)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        # A place goes straight to the next in line, so a newcomer can't slip in between.
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._inside -= 1
