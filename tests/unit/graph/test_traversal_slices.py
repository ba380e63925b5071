"""Reading many long lists does not hold the event loop: other tasks run between them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from services.graph_service.convert import WireCodec
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import PackedList
from services.graph_service.usecases.batch_get_neighbors import BatchGetNeighbors
from services.graph_service.usecases.find_shortest_path import FindShortestPath
from services.graph_service.usecases.get_subgraph import GetSubgraph, SubgraphBounds
from services.graph_service.usecases.list_filler import ResolvedList
from services.graph_service.usecases.list_lookup import LookupResult
from services.graph_service.usecases.memory_cache import MemoryCache
from services.graph_service.usecases.neighbor_pages import NeighborPages
from tests.support.clock import ManualClock
from tests.support.turns import turns_during

NOTES = 60
STEPS = 3


class Lists:
    """A ring in which each note is linked with the next ones; every list is found at once."""

    async def find(self, user_id: str, node_ids: Sequence[str], token: object = None) -> LookupResult:
        result = LookupResult()
        for node_id in node_ids:
            number = int(node_id[1:])
            around = [f"n{(number + step) % NOTES}" for step in range(-STEPS, STEPS + 1) if step]
            neighbors = [Neighbor(each, 0.5, "related", Direction.BOTH, False, 0) for each in around]
            packed = PackedList(1, len(neighbors), 0, WireCodec().pack(neighbors))
            result.add(node_id, ResolvedList(packed))
        return result


LISTS: Any = Lists()
PAGES = NeighborPages(LISTS, None, WireCodec())  # type: ignore[arg-type]
IDS = [f"n{number}" for number in range(NOTES)]
BATCH = BatchGetNeighbors(LISTS, PAGES, MemoryCache(0, ManualClock()), WireCodec())


@pytest.mark.parametrize(
    "work",
    [
        lambda: GetSubgraph(PAGES, None).get_subgraph("u", "n0", SubgraphBounds(3, 200, 2000)),  # type: ignore[arg-type]
        lambda: FindShortestPath(PAGES).find_shortest_path("u", "n0", f"n{NOTES // 2}", max_hops=10),
        lambda: BATCH.batch_get_neighbors("u", IDS, 5),
        lambda: PAGES.linked_by_person("u", [(a, "n0") for a in IDS[1:]]),
    ],
    ids=["subgraph", "path", "batch", "linked by a person"],
)
async def test_other_tasks_run_between_two_lists(
    work: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.0)
    assert await turns_during(work()) >= 20
