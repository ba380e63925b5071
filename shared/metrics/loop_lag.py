"""How late the event loop is: a call that takes the loop for itself delays all the others by as much."""

import asyncio
from collections.abc import Callable

from shared.metrics.model import Series

BOUNDS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
_SECONDS = 0.1


async def measure(series: Series) -> None:
    """Ten times a second, record by how many milliseconds a timer came too late; without end."""
    loop = asyncio.get_running_loop()
    now: Callable[[], float] = loop.time
    while True:
        due = now() + _SECONDS
        await asyncio.sleep(_SECONDS)
        series.record(max(0.0, (now() - due) * 1000))
