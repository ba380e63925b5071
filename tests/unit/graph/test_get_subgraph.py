"""A subgraph is read level by level, and what it says holds together when the graph changes meanwhile."""

from collections.abc import Sequence
from typing import Any

from services.graph_service.convert import WireCodec
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import PackedList
from services.graph_service.usecases.get_subgraph import GetSubgraph
from services.graph_service.usecases.list_filler import ResolvedList
from services.graph_service.usecases.list_lookup import LookupResult
from services.graph_service.usecases.neighbor_pages import NeighborPages

LINKED = {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}


class Lists:
    """Each of three notes is linked with the others; after the first lookup, b is hidden."""

    def __init__(self) -> None:
        self.hidden = frozenset[str]()

    async def find(self, user_id: str, node_ids: Sequence[str], token: object = None) -> LookupResult:
        result = LookupResult(hidden=self.hidden)
        for node_id in node_ids:
            neighbors = [Neighbor(each, 0.5, "related", Direction.BOTH, False, 0) for each in LINKED[node_id]]
            result.add(node_id, ResolvedList(PackedList(1, 2, 0, WireCodec().pack(neighbors))))
        self.hidden = frozenset({"b"})
        return result


async def test_a_note_that_is_hidden_between_two_levels_is_absent_with_its_edges() -> None:
    lists: Any = Lists()
    hubs: Any = None
    existence: Any = None
    found = await GetSubgraph(NeighborPages(lists, hubs, WireCodec()), existence).get_subgraph("u", "a")
    assert [node.node_id for node in found.nodes] == ["a", "c"]
    assert [(edge.source, edge.target) for edge in found.edges] == [("a", "c")]
