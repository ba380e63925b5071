"""A note's neighbours: how they are ordered, filtered and paged."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from services.graph_service.model.edge import Edge
from shared.tokens import PAGE, Real, Text, TokenCodec, fingerprint


class Direction(IntEnum):
    """Seen from the note that is asked; the numbers are those of the .proto."""

    ANY = 0
    OUT = 1
    IN = 2
    BOTH = 3


class Order(IntEnum):
    """Heaviest first, or newest first."""

    WEIGHT = 1
    TIME = 2


class Neighbor(NamedTuple):
    """One edge as its note sees it. Two edges of different types to one note are two neighbours."""

    node: str
    weight: float
    type: str
    direction: Direction
    auto: bool
    create_ms: int
    title: str = ""

    @property
    def member(self) -> str:
        """Names the edge within the list of its note: ids and types hold no '#'."""
        return f"{self.node}#{self.type}"


# Where a list goes on: the rank of the last neighbour that was given, then what breaks ties.
Position = tuple[float, str]


def rank(neighbor: Neighbor, order: Order) -> Position:
    """Sorts a list: smaller comes first."""
    number = neighbor.weight if order is Order.WEIGHT else float(neighbor.create_ms)
    return (-number, neighbor.member)


def by_weight(neighbor: Neighbor) -> Position:
    return (-neighbor.weight, neighbor.member)


def seen_from(note: str, edge: Edge) -> Neighbor:
    """The neighbour that an edge means for one of its two ends."""
    direction = Direction.BOTH
    if edge.directed:
        direction = Direction.OUT if edge.source == note else Direction.IN
    return Neighbor(edge.key.other(note), edge.weight, edge.type, direction, edge.metadata.auto, edge.create_ms)


@dataclass(frozen=True, slots=True)
class Query:
    """Which of a note's neighbours are asked for."""

    user: str
    note: str
    limit: int
    order: Order = Order.WEIGHT
    min_weight: float = 0.0
    types: frozenset[str] = frozenset()
    direction: Direction = Direction.ANY
    after: Position | None = None

    # The head of the stored list as it is: nothing to sort, filter or skip. Asked on the hot path, so worked out once.
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        filtered = self.min_weight > 0.0 or self.types or self.direction is not Direction.ANY
        plain = self.order is Order.WEIGHT and self.after is None and not filtered
        object.__setattr__(self, "plain", plain)

    def accepts(self, neighbor: Neighbor) -> bool:
        """An undirected edge points both ways."""
        return (
            neighbor.weight >= self.min_weight
            and (not self.types or neighbor.type in self.types)
            and (self.direction is Direction.ANY or neighbor.direction in (self.direction, Direction.BOTH))
        )

    def fingerprint(self) -> str:
        """Binds a page token to everything but the size of the page."""
        return fingerprint(
            "neighbors", self.user, self.note, int(self.order), self.min_weight, sorted(self.types), int(self.direction)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list. degree: the note's visible edges, before the query's filters; more: something follows."""

    neighbors: Sequence[Neighbor]
    degree: int
    more: bool


def select(neighbors: Iterable[Neighbor], query: Query, hidden: frozenset[str]) -> Page:
    """The page that a query asks of a whole list (of any order)."""
    visible = [n for n in neighbors if n.node not in hidden] if hidden else list(neighbors)
    wanted = [n for n in visible if query.accepts(n)]
    wanted.sort(key=lambda n: rank(n, query.order))
    if query.after is not None:
        after = query.after
        wanted = [n for n in wanted if rank(n, query.order) > after]
    return Page(wanted[: query.limit], len(visible), len(wanted) > query.limit)


_TOKENS: TokenCodec[Position] = TokenCodec(PAGE, lambda number, member: (number, member), {"r": Real(), "m": Text(256)})


def next_page_token(query: Query, last: Neighbor) -> str:
    """The page token that continues after a neighbour."""
    number, member = rank(last, query.order)
    return _TOKENS.encode(query.fingerprint(), float(number), member)


def position_of(query: Query, page_token: str) -> Position | None:
    """Where a page begins; None for the first. InvalidArgument (PAGE_TOKEN_INVALID)."""
    return _TOKENS.decode(query.fingerprint(), page_token)


Accepts = Callable[[Neighbor], bool]
