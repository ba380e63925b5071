"""GetSubgraph and FindShortestPath: breadth first, a whole level of lists per round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.graph_service.model.neighbors import Neighbor, Page
from services.graph_service.model.token import Token
from services.graph_service.model.walks import Link, Path, Reached, Subgraph, link
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.neighbors import Neighbors
from shared.errors import Violations
from shared.ids import check_id, check_user_id

# Lists that are asked for at once: enough to hide the round trip, few enough to hold in memory.
_LEVEL = 500
# Neighbours that a path follows from one note; more than that and the bound is said to be reached.
_PATH_FANOUT = 2000


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a subgraph."""

    hops: int = 2
    fanout: int = 25
    nodes: int = 250


class Walks:
    """Both walks see hidden notes as if they weren't there."""

    def __init__(self, neighbors: Neighbors, existence: Existence) -> None:
        self._neighbors = neighbors
        self._existence = existence

    async def subgraph(
        self,
        user: str,
        start: str,
        bounds: Bounds = Bounds(),
        *,
        min_weight: float = 0.0,
        titles: bool = False,
        token: Token | None = None,
    ) -> Subgraph:
        """What lies within some hops, and every edge among it that its notes' first `fanout` neighbours show."""
        _check(user, {"node_id": start}, min_weight)
        hops = {start: 0}
        degrees: dict[str, int] = {}
        links: dict[tuple[str, str, str], Link] = {}
        cut: dict[str, None] = {}
        level = [start]
        # The last level isn't followed further, but its lists tell its degrees and the edges inside it.
        for distance in range(bounds.hops + 1):
            following: list[str] = []
            for note, page in (await self._heads(user, level, bounds.fanout, min_weight, token)).items():
                degrees[note] = page.degree
                if page.more and distance < bounds.hops:
                    cut[note] = None
                for neighbor in page.neighbors:
                    if neighbor.node not in hops:
                        if distance == bounds.hops:
                            continue
                        if len(hops) >= bounds.nodes:
                            cut[note] = None
                            continue
                        hops[neighbor.node] = distance + 1
                        following.append(neighbor.node)
                    edge = link(note, neighbor)
                    links[min(edge[:2]), max(edge[:2]), edge.type] = edge
            level = following
            if not level:
                break
        names = await self._existence.titles(user, list(hops)) if titles else {}
        # A hidden start has no list: nothing is said of it.
        nodes = [Reached(n, h, degrees[n], names.get(n, "")) for n, h in hops.items() if n in degrees]
        return Subgraph(nodes, list(links.values()), list(cut), bool(cut))

    async def path(
        self,
        user: str,
        source: str,
        target: str,
        *,
        max_hops: int = 6,
        max_visited: int = 10_000,
        token: Token | None = None,
    ) -> Path:
        """A shortest path, edges taken both ways; among several, the one whose edges weigh most in all."""
        _check(user, {"source_id": source, "target_id": target}, 0.0)
        if source == target:
            return Path((source,), (), False, 1)
        sides = (_Side(source), _Side(target))
        bound = False
        for _ in range(max_hops):
            # The smaller frontier grows: a hub on one side is met from the other.
            side, other = sorted(sides, key=lambda s: len(s.frontier))
            if not side.frontier:
                break
            room = max_visited - len(sides[0].best) - len(sides[1].best)
            if room <= 0:
                return Path((), (), True, self._visited(sides))
            bound = await self._grow(user, side, room, token) or bound
            if meeting := [note for note in side.frontier if note in other.best]:
                best = max(meeting, key=lambda note: side.best[note].weight + other.best[note].weight)
                return self._joined(sides, best, bound)
        exhausted = not sides[0].frontier or not sides[1].frontier
        return Path((), (), bound or not exhausted, self._visited(sides))

    async def _grow(self, user: str, side: "_Side", room: int, token: Token | None) -> bool:
        """One level further; True when a bound kept it from seeing all of that level."""
        level, side.frontier = side.frontier, []
        reached: dict[str, _Step] = {}
        bound = False
        for start in range(0, len(level), _LEVEL):
            some = level[start : start + _LEVEL]
            fanout = max(1, min(_PATH_FANOUT, room))
            for note, page in (await self._heads(user, some, fanout, 0.0, token)).items():
                bound = bound or page.more
                for neighbor in page.neighbors:
                    if neighbor.node in side.best:
                        continue
                    if neighbor.node not in reached and len(reached) >= room:
                        return True
                    step = _Step(note, neighbor, side.best[note].weight + neighbor.weight)
                    known = reached.get(neighbor.node)
                    if known is None or step.weight > known.weight:
                        reached[neighbor.node] = step
            side.keep(reached)
        return bound

    def _joined(self, sides: "tuple[_Side, _Side]", meeting: str, bound: bool) -> Path:
        front, first = sides[0].back(meeting)
        tail, last = sides[1].back(meeting)
        nodes = [*reversed(front), meeting, *tail]
        return Path(nodes, [*reversed(first), *last], bound, self._visited(sides))

    @staticmethod
    def _visited(sides: "tuple[_Side, _Side]") -> int:
        return len(sides[0].best.keys() | sides[1].best.keys())

    async def _heads(
        self, user: str, notes: Sequence[str], limit: int, min_weight: float, token: Token | None
    ) -> dict[str, Page]:
        pages: dict[str, Page] = {}
        for start in range(0, len(notes), _LEVEL):
            pages |= await self._neighbors.heads(user, notes[start : start + _LEVEL], limit, min_weight, token)
        return pages


@dataclass(frozen=True, slots=True)
class _Step:
    """How a note was reached: from where, over which edge; weight: of the whole way."""

    origin: str
    edge: Neighbor | None
    weight: float


@dataclass(slots=True)
class _Side:
    """One of the two searches: the best step to each note it knows, and the notes of its last level."""

    start: str
    best: dict[str, _Step] = field(default_factory=dict)
    frontier: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best[self.start] = _Step("", None, 0.0)
        self.frontier = [self.start]

    def keep(self, reached: dict[str, _Step]) -> None:
        for note, step in reached.items():
            if note not in self.best:
                self.frontier.append(note)
            self.best[note] = step

    def back(self, note: str) -> tuple[list[str], list[Link]]:
        """The notes and edges from the one before `note` to the start."""
        nodes: list[str] = []
        links: list[Link] = []
        step = self.best[note]
        while step.edge is not None:
            nodes.append(step.origin)
            links.append(link(step.origin, step.edge))
            step = self.best[step.origin]
        return nodes, links


def _check(user: str, notes: dict[str, str], min_weight: float) -> None:
    violations = Violations()
    check_user_id("user_id", user, violations)
    for name, note in notes.items():
        check_id(name, note, violations)
    if not 0.0 <= min_weight <= 1.0:
        violations.add("min_weight", "must be between 0 and 1")
    violations.raise_if_any()
