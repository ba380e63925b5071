"""What the graph context needs from outside, and what each part must guarantee.

Every implementation passes the suite of its port in tests/contract/graph/.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from services.graph_service.model.edge import Edge, EdgeKey
from services.graph_service.model.neighbors import Neighbor, Position
from shared.idempotent import IdempotentRequest

# The list of a user's hidden notes goes through the same caches as the lists of neighbours, under a name that no note
# has.
HIDDEN = "!hidden"


# ---------------------------------------------------------------------------------------------- the truth (DynamoDB)
class Kind(Enum):
    """What happened; the values are those of the change feed."""

    CREATED = 1
    UPDATED = 2
    DELETED = 3
    NODE_HIDDEN = 4
    NODE_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One edge's change. before: the version it replaces (None: there must be none). cause: why, for edge.deleted."""

    kind: Kind
    edge: Edge
    before: Edge | None = None
    cause: str = ""


Once: TypeAlias = IdempotentRequest


@dataclass(frozen=True, slots=True)
class Fence:
    """Commit only if the note's marker says nothing newer than this version; None version: no fence."""

    note: str
    version: int


@dataclass(frozen=True, slots=True)
class Touched:
    """The list entries that a write changes: (note, member) pairs, and notes whose visibility it changes."""

    user: str
    members: tuple[tuple[str, str], ...]
    feed: tuple[bytes, ...] = ()

    @property
    def notes(self) -> frozenset[str]:
        return frozenset(note for note, _ in self.members)


@dataclass(frozen=True, slots=True)
class Write:
    """All that one transaction does. journal: the caches couldn't be told, so remember durably that they must be."""

    user: str
    changes: tuple[Change, ...] = ()
    suppress: tuple[EdgeKey, ...] = ()
    unsuppress: tuple[EdgeKey, ...] = ()
    unless_suppressed: tuple[EdgeKey, ...] = ()
    fence: Fence | None = None
    answered: tuple[Once, bytes] | None = None
    journal: "Journal | None" = None


@dataclass(frozen=True, slots=True)
class Journal:
    """A durable note that a write's invalidations may be missing from Redis."""

    id: str
    touched: Touched


@dataclass(frozen=True, slots=True)
class Refusal:
    """One condition that stopped a commit. what: "edge" (found is what is stored), "suppressed", "fence"."""

    what: str
    key: EdgeKey | None = None
    found: Edge | None = None


class Refused(Exception):
    """Nothing of the write was done; its conditions didn't hold."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(", ".join(refusal.what for refusal in refusals))
        self.refusals = tuple(refusals)


@dataclass(frozen=True, slots=True)
class Marker:
    """What graph knows of a note's visibility, ordered by (incarnation, version); incarnation 0 is unknown."""

    note: str
    version: int
    hidden: bool
    incarnation: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """Some neighbours of a note in the order of their keys. next: hand it to `after` for more; None at the end."""

    neighbors: Sequence[Neighbor]
    next: str | None


@dataclass(frozen=True, slots=True)
class Incidence:
    """An edge as it stands at one of its ends; each edge gives two."""

    note: str
    other: str
    auto: bool


class EdgeStore(Protocol):
    """Edges and markers. Every read here is strongly consistent: it sees each write that was acknowledged before it
    began.

    Unavailable or DeadlineExceeded from commit leaves open whether the write was done; Refused and the other errors say
    that it wasn't.
    """

    async def commit(self, write: Write) -> None:
        """All or nothing: both items of each edge, its event, journal and receipt. Refused names what stopped it.

        The events are let out in the background afterwards.
        """

    async def get(self, user: str, key: EdgeKey) -> Edge | None: ...

    async def get_many(self, user: str, keys: Iterable[EdgeKey]) -> Mapping[EdgeKey, Edge]:
        """Any number; those that are missing are absent."""

    async def suppressed(self, user: str, keys: Iterable[EdgeKey]) -> frozenset[EdgeKey]: ...

    async def members(self, user: str, note: str, members: Sequence[str]) -> Mapping[str, Neighbor]:
        """Entries of a note's list by Neighbor.member; those that are missing are absent."""

    async def neighbors(self, user: str, note: str, *, after: str | None, limit: int) -> Slice:
        """At most `limit` of a note's neighbours (fewer when DynamoDB cuts the page), in key order."""

    async def edges_at(
        self, user: str, note: str, *, after: str | None, limit: int
    ) -> tuple[Sequence[Edge], str | None]:
        """Edges of a note with all that is stored, and where to go on."""

    def edges(self, user: str) -> AsyncIterator[Sequence[Edge]]:
        """Every edge of the user once, in batches of at most a page, in key order."""

    def incidences(self, user: str) -> AsyncIterator[Sequence[Incidence]]:
        """Both ends of every edge; those of one note come together."""

    async def hidden(self, user: str) -> Sequence[str]:
        """The notes that are hidden."""

    async def marker(self, user: str, note: str) -> Marker | None: ...

    async def mark(self, user: str, marker: Marker, journal: Journal | None) -> bool:
        """Store the marker unless an equal or newer one is there: False then."""

    async def unmark(self, user: str, marker: Marker, journal: Journal | None) -> None:
        """Forget a marker, if it still is this version."""

    async def find(self, once: Once) -> bytes | None:
        """The stored answer of a request_id, None for a new one. InvalidArgument REQUEST_ID_REUSED with another
        body.
        """

    async def begin(self, once: Once) -> bytes | None:
        """As find, and claims a new one for a write of several transactions; Aborted REQUEST_IN_PROGRESS while
        claimed.
        """

    async def complete(self, once: Once, answer: bytes) -> None: ...

    async def forget(self, once: Once) -> None:
        """Give a claim back: nothing was done."""

    async def journal(self, entry: Journal) -> None:
        """Write a journal entry by itself."""

    async def journaled(self) -> Sequence[Journal]:
        """Entries that wait, of all users; a bounded number."""

    async def unjournal(self, entries: Iterable[Journal]) -> None: ...


# ---------------------------------------------------------------------------------------------- the caches (Redis)
class Block(NamedTuple):
    """A whole list, small enough to be moved at once. size: its edges, auto: the automatic ones. packed: the codec's
    bytes, heaviest first. stamp: fill began when.

    For HIDDEN, packed is the ids joined by newlines.
    """

    stamp: int
    size: int
    auto: int
    packed: bytes


class Told(Enum):
    """What the shared cache says of a list when it doesn't have it whole."""

    UNKNOWN = "unknown"  # nobody has it, nobody fills it
    FILLING = "filling"  # another process fills it
    DIRTY = "dirty"  # a write is under way: read the truth, store nothing
    HUB = "hub"  # too long to be one block; ask hub_page
    HUB_FILLING = "hub filling"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to store one list, until a writer or time takes it away. stamp: when it was given, Redis clock, us."""

    user: str
    note: str
    token: bytes
    stamp: int


@dataclass(frozen=True, slots=True)
class HubPage:
    """Part of a hub's list: its neighbours in order, how many edges it has, and what must be repaired first.

    repairs: (member, token) of entries whose writes were acknowledged since they were cached. clean: neither repairs
    nor writes under way.
    """

    stamp: int
    count: int
    auto: int
    neighbors: Sequence[Neighbor]
    repairs: Sequence[tuple[str, str]]
    clean: bool


class ListCache(Protocol):
    """Lists of neighbours in Redis. All methods raise Unavailable when Redis doesn't answer, is slow or isn't trusted.

    The protocol (docs/adr/0020): a lease is given only while the list is neither stored nor dirty; begin() takes it
    away, so store() after a begin() is refused; nothing is stored between a begin() and its finish(), or until the
    dirty mark of a crashed writer expires; whatever a process stores can be read only under the same Redis instance
    (space).
    """

    @property
    def space(self) -> str:
        """Names the Redis instance that answers; "" while none is trusted."""

    async def read(self, user: str, notes: Sequence[str]) -> Sequence[Block | Told]:
        """One round trip for any number of lists."""

    async def head(self, user: str, note: str) -> Block | None:
        """read() of a list and of HIDDEN, made short: the list, if it is there whole and the user hides nothing."""

    async def lease(self, user: str, note: str, *, instead_of: int | None = None) -> Lease | Block | Told:
        """A lease, or what is there. instead_of: also replace a stored block that has this stamp (it is too old)."""

    async def store(self, lease: Lease, block: Block) -> bool:
        """False when the lease is gone: then the block may be stale and must not be kept anywhere."""

    async def begin(self, touched: Touched, writer: str) -> None:
        """Before a commit: make the lists unusable until finish(), or until the mark expires."""

    async def finish(self, touched: Touched, writer: str) -> int:
        """After a commit (or when it was refused for certain): lists can be filled again; tells every process, and adds
        `feed` to the change feed. Returns the moment, Redis clock, us."""

    async def announce_gone(self, user: str, notes: Sequence[str]) -> None:
        """Tell every process to forget what it knows of notes: titles, existence and lists."""

    async def hub_lease(self, user: str, note: str) -> Lease | Told:
        """The right to fill a hub's list; writers don't take it away, their changes are remembered as repairs."""

    async def hub_stage(self, lease: Lease, neighbors: Sequence[Neighbor]) -> bool:
        """Add some neighbours to the list being filled; False when the lease is gone."""

    async def hub_store(self, lease: Lease, auto: int) -> bool:
        """Make what was staged the hub's list."""

    async def hub_page(
        self, user: str, note: str, *, by_time: bool, after: Position | None, limit: int, ceiling: float | None
    ) -> HubPage | None:
        """At most `limit` entries after a position, ranks at most `ceiling`. None when the hub isn't there any more."""

    async def hub_repair(self, user: str, note: str, repairs: Sequence[tuple[str, str, Neighbor | None]]) -> None:
        """(member, token, what the truth says now): applied only where the token is still the same."""

    async def hub_count(self, user: str, note: str, others: Sequence[str]) -> int:
        """How many of the hub's edges lead to these notes."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry of a user's change feed; id sorts by time."""

    id: str
    data: bytes


class ChangeFeed(Protocol):
    """The last changes of each user, bounded. Unavailable when Redis is away."""

    async def last(self, user: str) -> str:
        """The id of the newest entry, or of the beginning."""

    async def after(self, user: str, id: str, limit: int) -> Sequence[FeedEntry]:
        """Entries after an id, oldest first. OutOfRange RESUME_TOKEN_EXPIRED when some that followed it are gone."""


# ---------------------------------------------------------------------------------------------- others
class NodeDirectory(Protocol):
    """The node service, as far as edges need it."""

    async def live(self, user: str, notes: Collection[str]) -> Mapping[str, str]:
        """id -> title of those that exist and aren't deleted. Any number."""

    async def count(self, user: str, most: int) -> tuple[int, bool]:
        """How many live notes the user has, and whether that is all of them; it stops after `most`."""


class Codec(Protocol):
    """Packs neighbours so that an answer can be made of a stored list without decoding it."""

    def pack(self, neighbors: Sequence[Neighbor]) -> bytes: ...

    def unpack(self, packed: bytes) -> list[Neighbor]: ...

    def answer(self, packed: bytes, next_page_token: str, degree: int) -> bytes:
        """A GetNeighborsResponse on the wire."""

    def note_answer(self, note: str, packed: bytes, degree: int) -> bytes:
        """One NodeNeighbors of a BatchGetNeighborsResponse on the wire, with its tag."""

    def feed(self, kind: Kind, edge: Edge) -> bytes:
        """A change as it is kept in the feed."""
