"""Reading one's own write: a request that waits for the index does not keep the indexing waiting."""

from typing import Any

import pytest

from services.similarity_service.usecases.wait_for_index import WaitForIndex
from shared import revisions
from shared.resilience import foreground
from tests.support.clock import ManualClock
from tests.support.waiting import within


class Cache:
    """An index that has the note once it was indexed."""

    def __init__(self) -> None:
        self.stamp: tuple[int, int] | None = None

    async def query(self, user_id: str, read: Any) -> Any:
        index: Any = type("Index", (), {"stamp": lambda _, node_id: self.stamp})()
        return read(index)

    async def records(self, user_id: str, node_ids: Any) -> dict[str, Any]:
        return {}


async def test_a_waiting_request_does_not_delay_the_indexing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "_MOST_SECONDS", 1e6)  # a step waits for calls as long as they run
    cache = Cache()

    async def indexed_meanwhile(_: float) -> None:
        await foreground.turn()
        cache.stamp = (7, 1)

    index: Any = cache
    wait = WaitForIndex(index, ManualClock(), lambda: None, indexed_meanwhile)
    end = foreground.watch(lambda: 1)
    try:
        async with within(5):
            assert await wait("u", revisions.encode({"n": (7, 1)})) == {"n": (7, 1)}
    finally:
        end()
