"""Filling a hub's list: a late answer of Redis costs a pause, not the fill; a Redis that stays away ends it."""

from collections.abc import Sequence

from services.graph_service.model.edge import Edge, EdgeKey, Metadata, NewEdge, first_version
from services.graph_service.model.neighbors import Neighbor, NeighborQuery, Position, by_weight
from services.graph_service.ports import CacheState, HubPage, Lease
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.hubs import Hubs
from services.graph_service.usecases.limits import Limits
from services.graph_service.usecases.memory_cache import MemoryCache
from shared.errors import Unavailable
from tests.support.clock import ManualClock
from tests.support.graph_fakes import FakeLists, FakeStore

DEGREE = 450


class HubLists(FakeLists):
    """One hub; late: how many answers to hub_stage are lost, each after it was carried out."""

    def __init__(self, late: int) -> None:
        super().__init__()
        self.late = late
        self.staged: dict[str, Neighbor] = {}
        self.whole: list[Neighbor] | None = None

    async def hub_lease(self, user: str, note: str) -> Lease | CacheState:
        return Lease(user, note, b"token", 1, "space")

    async def hub_stage(self, lease: Lease, neighbors: Sequence[Neighbor]) -> bool:
        self.staged |= {neighbor.member: neighbor for neighbor in neighbors}
        if self.late:
            self.late -= 1
            raise Unavailable("late")
        return True

    async def hub_store(self, lease: Lease, auto: int) -> bool:
        self.whole = sorted(self.staged.values(), key=by_weight)
        return True

    async def hub_page(
        self, user: str, note: str, *, by_time: bool, after: Position | None, limit: int, ceiling: float | None
    ) -> HubPage | None:
        return None if self.whole is None else HubPage(1, len(self.whole), 0, self.whole[:limit], [], True)


def world(late: int) -> tuple[HubLists, Hubs, list[float]]:
    clock, lists, pauses = ManualClock(), HubLists(late), list[float]()
    edges: dict[EdgeKey, Edge] = {}
    for number in range(DEGREE):
        metadata = Metadata(auto=number % 3 == 0)
        new = NewEdge("hub", f"n{number:03}", weight=number / 1000, metadata=metadata)
        edge = first_version("u", new, clock.now_ms())
        edges[edge.key] = edge
    store, memory = FakeStore(edges), MemoryCache(0, clock)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    limits = Limits(hub_degree=8, page=100)
    hubs = Hubs(store, lists, memory, Freshness(lists, clock, limits), clock, limits, sleep=sleep)
    return lists, hubs, pauses


async def test_a_late_answer_costs_a_pause_and_not_the_fill() -> None:
    lists, hubs, pauses = world(late=3)
    answer = await hubs.page(NeighborQuery("u", "hub", 5), frozenset())
    assert lists.whole is not None
    assert len(lists.whole) == DEGREE
    assert answer.page.degree == DEGREE
    assert next(n.node_id for n in answer.page.neighbors) == "n449"
    assert len(pauses) == 3
    assert sum(pauses) < 1


async def test_a_redis_that_stays_away_ends_the_fill_and_the_truth_answers() -> None:
    lists, hubs, _ = world(late=1000)
    answer = await hubs.page(NeighborQuery("u", "hub", 5), frozenset())
    assert lists.whole is None
    assert answer.page.degree == DEGREE
    assert answer.auto == DEGREE // 3, "their number is limited without Redis, too"
    assert answer.page.more
