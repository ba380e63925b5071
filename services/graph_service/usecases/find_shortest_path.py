"""FindShortestPath: breadth first from both ends."""

from dataclasses import dataclass, field

from services.graph_service.model.consistency_token import Token
from services.graph_service.model.neighbors import Neighbor
from services.graph_service.model.traversal import Path, SubgraphEdge, subgraph_edge
from services.graph_service.usecases.neighbor_pages import NeighborPages
from services.graph_service.usecases.validation import check_traversal
from shared.resilience.slices import Slices

# Lists that are looked up together.
_LEVEL = 500
# Neighbours that are followed from one note; of a note with more than these, bound_reached is set.
_FANOUT = 2000


@dataclass(frozen=True, slots=True)
class FindShortestPath:
    """Hidden notes are not on any path."""

    pages: NeighborPages

    async def find_shortest_path(
        self,
        user_id: str,
        source: str,
        target: str,
        *,
        max_hops: int = 6,
        max_visited: int = 10_000,
        token: Token | None = None,
    ) -> Path:
        """A shortest path over edges of any direction; among several, the one whose edges weigh most together."""
        check_traversal(user_id, {"source_id": source, "target_id": target})
        if source == target:
            return Path((source,), (), False, 1)
        sides = (_Side(source), _Side(target))
        bound = False
        for _ in range(max_hops):
            # The smaller frontier grows, so a hub on one side is met from the other.
            side, other = sorted(sides, key=lambda s: len(s.frontier))
            if not side.frontier:
                break
            room = max_visited - len(sides[0].best) - len(sides[1].best)
            if room <= 0:
                return Path((), (), True, _visited(sides))
            bound = await self._grow(user_id, side, room, token) or bound
            if meeting := [node_id for node_id in side.frontier if node_id in other.best]:
                best = max(meeting, key=lambda node_id: side.best[node_id].weight + other.best[node_id].weight)
                return _joined(sides, best, bound)
        exhausted = not sides[0].frontier or not sides[1].frontier
        return Path((), (), bound or not exhausted, _visited(sides))

    async def _grow(self, user_id: str, side: "_Side", room: int, token: Token | None) -> bool:
        """Follow one level; True when a bound kept part of that level out of sight."""
        level, side.frontier = side.frontier, []
        reached: dict[str, _Step] = {}
        bound = False
        slices = Slices()
        for start in range(0, len(level), _LEVEL):
            fanout = max(1, min(_FANOUT, room))
            pages = await self.pages.first_pages(user_id, level[start : start + _LEVEL], fanout, token=token)
            for node_id, page in pages.items():
                await slices.pause()
                bound = bound or page.more
                for neighbor in page.neighbors:
                    if neighbor.node_id in side.best:
                        continue
                    if neighbor.node_id not in reached and len(reached) >= room:
                        side.add(reached)
                        return True
                    step = _Step(node_id, neighbor, side.best[node_id].weight + neighbor.weight)
                    known = reached.get(neighbor.node_id)
                    if known is None or step.weight > known.weight:
                        reached[neighbor.node_id] = step
        side.add(reached)
        return bound


@dataclass(frozen=True, slots=True)
class _Step:
    """How a note was reached: from which note, over which edge. weight: of all edges from the start."""

    origin: str
    edge: Neighbor | None
    weight: float


@dataclass(slots=True)
class _Side:
    """One of the two searches: the best step to each note that it has reached, and the notes of its last level."""

    start: str
    best: dict[str, _Step] = field(default_factory=dict)
    frontier: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best[self.start] = _Step("", None, 0.0)
        self.frontier = [self.start]

    def add(self, reached: dict[str, _Step]) -> None:
        for node_id, step in reached.items():
            if node_id not in self.best:
                self.frontier.append(node_id)
            self.best[node_id] = step

    def back(self, node_id: str) -> tuple[list[str], list[SubgraphEdge]]:
        """The notes and edges from the one before `node_id` to the start."""
        nodes: list[str] = []
        edges: list[SubgraphEdge] = []
        step = self.best[node_id]
        while step.edge is not None:
            nodes.append(step.origin)
            edges.append(subgraph_edge(step.origin, step.edge))
            step = self.best[step.origin]
        return nodes, edges


def _joined(sides: tuple[_Side, _Side], meeting: str, bound: bool) -> Path:
    front, first = sides[0].back(meeting)
    tail, last = sides[1].back(meeting)
    return Path([*reversed(front), meeting, *tail], [*reversed(first), *last], bound, _visited(sides))


def _visited(sides: tuple[_Side, _Side]) -> int:
    return len(sides[0].best.keys() | sides[1].best.keys())
