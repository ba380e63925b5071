"""The neighbours of a note: their order, filters and pages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from services.graph_service.model.consistency_token import Token
from shared.tokens import PAGE, Real, Text, TokenCodec, fingerprint


class Direction(IntEnum):
    """As seen from the note that is asked about; the numbers are those of the .proto."""

    ANY = 0
    OUT = 1
    IN = 2
    BOTH = 3


class Order(IntEnum):
    """Heaviest first, or newest first."""

    WEIGHT = 1
    TIME = 2


class Neighbor(NamedTuple):
    """One edge as seen from one end. Two edges of different types to one note are two neighbours."""

    node_id: str
    weight: float
    type: str
    direction: Direction
    auto: bool
    create_ms: int
    title: str = ""

    @property
    def member(self) -> str:
        """Identifies the edge within the list of its note; ids and types contain no '#'."""
        return f"{self.node_id}#{self.type}"


# A position in a list: the rank of a neighbour, then its member, which breaks ties.
Position = tuple[float, str]


def rank(neighbor: Neighbor, order: Order) -> Position:
    """The sort key of a list, smallest first."""
    number = neighbor.weight if order is Order.WEIGHT else float(neighbor.create_ms)
    return (-number, neighbor.member)


def by_weight(neighbor: Neighbor) -> Position:
    return (-neighbor.weight, neighbor.member)


@dataclass(frozen=True, slots=True)
class NeighborQuery:
    """Which of a note's neighbours are asked for."""

    user_id: str
    node_id: str
    limit: int
    order: Order = Order.WEIGHT
    min_weight: float = 0.0
    types: frozenset[str] = frozenset()
    direction: Direction = Direction.ANY
    after: Position | None = None

    # Whether the page is the beginning of the stored list, without filter or another order. Computed once, for the fast
    # paths.
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
        """Binds a page token to everything but the page size."""
        return fingerprint(
            "neighbors",
            self.user_id,
            self.node_id,
            int(self.order),
            self.min_weight,
            sorted(self.types),
            int(self.direction),
        )


@dataclass(frozen=True, slots=True)
class NeighborsRequest:
    """A GetNeighborsRequest."""

    query: NeighborQuery
    token: Token | None = None
    page_token: str = ""
    with_titles: bool = False

    # Whether nothing but the beginning of the list is asked for, of any freshness; the fast paths need it.
    first_page: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first_page = self.query.plain and self.token is None and not self.page_token and not self.with_titles
        object.__setattr__(self, "first_page", first_page)


@dataclass(frozen=True, slots=True)
class NeighborPage:
    """Part of a list. degree: the note's visible edges, not filtered. more: whether something follows."""

    neighbors: Sequence[Neighbor]
    degree: int
    more: bool


def select(neighbors: Iterable[Neighbor], query: NeighborQuery, hidden: frozenset[str]) -> NeighborPage:
    """The page of a whole list, in any order, that a query asks for."""
    visible = [n for n in neighbors if n.node_id not in hidden] if hidden else list(neighbors)
    wanted = [n for n in visible if query.accepts(n)]
    wanted.sort(key=lambda n: rank(n, query.order))
    if query.after is not None:
        after = query.after
        wanted = [n for n in wanted if rank(n, query.order) > after]
    return NeighborPage(wanted[: query.limit], len(visible), len(wanted) > query.limit)


_TOKENS: TokenCodec[Position] = TokenCodec(PAGE, lambda number, member: (number, member), {"r": Real(), "m": Text(256)})


def next_page_token(query: NeighborQuery, last: Neighbor) -> str:
    """The page token that continues after a neighbour."""
    number, member = rank(last, query.order)
    return _TOKENS.encode(query.fingerprint(), float(number), member)


def position_of(query: NeighborQuery, page_token: str) -> Position | None:
    """The position after which a page begins; None for the first page. InvalidArgument (PAGE_TOKEN_INVALID)."""
    return _TOKENS.decode(query.fingerprint(), page_token)
