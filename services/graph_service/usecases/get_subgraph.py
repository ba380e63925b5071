"""GetSubgraph: the notes around one note, breadth first."""

from dataclasses import dataclass

from services.graph_service.model.consistency_token import Token
from services.graph_service.model.traversal import Subgraph, SubgraphEdge, SubgraphNode, subgraph_edge
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.neighbor_pages import NeighborPages
from services.graph_service.usecases.validation import check_traversal
from shared.resilience.slices import Slices

# Lists that are looked up together: enough to hide the round trip, few enough to hold in memory.
_LEVEL = 500


@dataclass(frozen=True, slots=True)
class SubgraphBounds:
    """How far a subgraph reaches. fanout: neighbours that are followed from one note."""

    hops: int = 2
    fanout: int = 25
    nodes: int = 250


@dataclass(frozen=True, slots=True)
class GetSubgraph:
    """Hidden notes are absent, and so are their edges."""

    pages: NeighborPages
    existence: Existence

    async def get_subgraph(
        self,
        user_id: str,
        start: str,
        bounds: SubgraphBounds = SubgraphBounds(),
        *,
        min_weight: float = 0.0,
        with_titles: bool = False,
        token: Token | None = None,
    ) -> Subgraph:
        """The notes within some hops, and the edges among them that the first `fanout` neighbours of each show."""
        check_traversal(user_id, {"node_id": start}, min_weight)
        hops = {start: 0}
        degrees: dict[str, int] = {}
        edges: dict[tuple[str, str, str], SubgraphEdge] = {}
        truncated: dict[str, None] = {}
        level = [start]
        slices = Slices()
        # The last level isn't followed, but its lists give its degrees and the edges inside it.
        for distance in range(bounds.hops + 1):
            next_level: list[str] = []
            for begin in range(0, len(level), _LEVEL):
                pages = await self.pages.first_pages(
                    user_id, level[begin : begin + _LEVEL], bounds.fanout, min_weight, token
                )
                for node_id, page in pages.items():
                    await slices.pause()
                    degrees[node_id] = page.degree
                    if page.more and distance < bounds.hops:
                        truncated[node_id] = None
                    for neighbor in page.neighbors:
                        if neighbor.node_id not in hops:
                            if distance == bounds.hops:
                                continue
                            if len(hops) >= bounds.nodes:
                                truncated[node_id] = None
                                continue
                            hops[neighbor.node_id] = distance + 1
                            next_level.append(neighbor.node_id)
                        edge = subgraph_edge(node_id, neighbor)
                        edges[min(edge[:2]), max(edge[:2]), edge.type] = edge
            level = next_level
            if not level:
                break
        titles = await self.existence.titles(user_id, list(hops)) if with_titles else {}
        # A hidden start has no list, so the subgraph is empty. Nor has a note that was hidden since it was reached.
        nodes = [SubgraphNode(n, h, degrees[n], titles.get(n, "")) for n, h in hops.items() if n in degrees]
        links = [edge for edge in edges.values() if edge.source in degrees and edge.target in degrees]
        return Subgraph(nodes, links, list(truncated), bool(truncated))
