"""What the graph context needs from outside, and what each implementation must guarantee.

Every implementation of ListCache passes the suite in tests/contract/graph/.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from services.graph_service.model.edge import Edge, EdgeKey
from services.graph_service.model.neighbors import Neighbor, NeighborsRequest, Position
from shared.idempotent import IdempotentRequest
from shared.revisions import Revision

# The name of the list of a user's hidden notes; no note can have this id.
HIDDEN = "!hidden"


# ---------------------------------------------------------------------------------------------- DynamoDB
class ChangeType(Enum):
    """What happened; the values are those of the change feed."""

    CREATED = 1
    UPDATED = 2
    DELETED = 3
    NODE_HIDDEN = 4
    NODE_SHOWN = 5


@dataclass(frozen=True, slots=True)
class EdgeChange:
    """The change of one edge.

    edge: as it is afterwards; for DELETED as it was, or a suppressed one, which is stored in its place.
    before: the version that it replaces, which may be a suppressed one; None: the edge must not exist.
    cause: the reason, for the event edge.deleted.
    """

    change_type: ChangeType
    edge: Edge
    before: Edge | None = None
    cause: str = ""

    @property
    def shown(self) -> Edge | None:
        """The edge that events and the change feed name; None when its readers never knew it: a suppressed one goes."""
        if self.change_type is not ChangeType.DELETED:
            return self.edge
        before = self.before or self.edge
        return None if before.suppressed else before


@dataclass(frozen=True, slots=True)
class Fence:
    """Commit only if the note's visibility record isn't newer than this version."""

    node_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What a write makes stale.

    members: the entries of lists, as (node_id, Neighbor.member); of the list HIDDEN, as (HIDDEN, node_id).
    feed: what the write adds to the user's change feed.
    """

    user_id: str
    members: tuple[tuple[str, str], ...]
    feed: tuple[bytes, ...] = ()

    @property
    def node_ids(self) -> frozenset[str]:
        """The names of the lists."""
        return frozenset(node_id for node_id, _ in self.members)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A durable record of an invalidation that may be missing in Redis."""

    id: str
    invalidation: Invalidation


@dataclass(frozen=True, slots=True)
class Write:
    """All that one transaction does.

    response: what to store with a request_id.
    journal: set when Redis could not be informed before the commit.
    """

    user_id: str
    changes: tuple[EdgeChange, ...] = ()
    fence: Fence | None = None
    response: tuple[IdempotentRequest, bytes] | None = None
    journal: JournalEntry | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A condition that stopped a commit: "edge" (found is what is stored), "fence", "request"."""

    condition: str
    key: EdgeKey | None = None
    found: Edge | None = None


class WriteRejected(Exception):
    """Nothing was written, because conditions of the write didn't hold."""

    def __init__(self, rejections: Sequence[Rejection]) -> None:
        super().__init__(", ".join(rejection.condition for rejection in rejections))
        self.rejections = tuple(rejections)


@dataclass(frozen=True, slots=True)
class VisibilityRecord:
    """Whether a note is hidden, as of (incarnation, version). incarnation 0 is unknown."""

    node_id: str
    version: int
    hidden: bool
    incarnation: int = 0

    @property
    def revision(self) -> Revision:
        return self.incarnation, self.version

    def replaces(self, stored: "VisibilityRecord | None") -> bool:
        """Whether EdgeStore.set_visibility() stores this record in the place of another one of the note."""
        if stored is None:
            return True
        if self.incarnation and stored.incarnation and self.incarnation != stored.incarnation:
            return self.incarnation > stored.incarnation
        return self.version > stored.version


@dataclass(frozen=True, slots=True)
class Slice:
    """Some neighbours of a note in the order of their keys. next: pass it to `after` for more; None at the end."""

    neighbors: Sequence[Neighbor]
    next: str | None


@dataclass(frozen=True, slots=True)
class Incidence:
    """An edge as stored at one of its ends; each edge has two."""

    node_id: str
    other: str
    auto: bool


class EdgeStore(Protocol):
    """Edges and visibility records. Every read of edges is strongly consistent: it sees all writes that were
    acknowledged before it began. get() and get_many() return suppressed edges, edges_at() and edges() if they are asked
    to.

    Unavailable or DeadlineExceeded from a write leaves open whether it was done; WriteRejected and the other errors
    mean that it was not.
    """

    async def commit(self, write: Write) -> None:
        """All or nothing: both items of each edge, the events, the journal entry and the response.

        All edges that the write creates share one event, and so do all that it deletes.

        WriteRejected names the conditions that didn't hold. The events are published in the background afterwards.
        """

    async def get(self, user_id: str, key: EdgeKey) -> Edge | None: ...

    async def get_many(self, user_id: str, keys: Iterable[EdgeKey]) -> Mapping[EdgeKey, Edge]:
        """Any number; edges that don't exist are absent."""

    async def between(self, user_id: str, a: str, b: str) -> Sequence[Edge]:
        """The edges of all types between two notes, without suppressed ones."""

    async def members(self, user_id: str, node_id: str, members: Sequence[str]) -> Mapping[str, Neighbor]:
        """Entries of a note's list by Neighbor.member; those that don't exist are absent."""

    async def neighbors(self, user_id: str, node_id: str, *, after: str | None, limit: int) -> Slice:
        """At most `limit` of a note's neighbours (fewer when DynamoDB cuts the page), in key order."""

    async def count_between(self, user_id: str, node_ids: Sequence[str], limit: int) -> int:
        """How many edges are stored at these notes and at all others whose ids lie between theirs; at most `limit`.

        An eventually consistent read.
        """

    async def neighbors_between(
        self, user_id: str, node_ids: Sequence[str], limit: int
    ) -> Mapping[str, Sequence[Neighbor]]:
        """All neighbours of each of these notes in key order, by one read of what count_between() counts.

        Empty when that is more than `limit`, or more than DynamoDB reads at once.
        """

    async def edges_at(
        self, user_id: str, node_id: str, *, after: str | None, limit: int, with_suppressed: bool = False
    ) -> tuple[Sequence[Edge], str | None]:
        """Whole edges of a note, perhaps fewer than there are up to the limit, and the position to go on after."""

    def edges(self, user_id: str, *, with_suppressed: bool = False) -> AsyncIterator[Sequence[Edge]]:
        """Every edge of the user once, in batches of at most a page, in key order."""

    def incidences(self, user_id: str) -> AsyncIterator[Sequence[Incidence]]:
        """Both ends of every edge; those of one note follow each other."""

    async def visibilities(self, user_id: str) -> Sequence[VisibilityRecord]:
        """The records of all notes that are hidden, and of some that were. Strongly consistent."""

    async def visibility(self, user_id: str, node_id: str) -> VisibilityRecord | None: ...

    async def set_visibility(self, user_id: str, record: VisibilityRecord, journal: JournalEntry | None) -> bool:
        """Store the record; False, and no change, if an equal or newer one is stored."""

    async def delete_visibility(self, user_id: str, record: VisibilityRecord, journal: JournalEntry | None) -> None:
        """Delete a record, if it still has this version."""

    async def find_response(self, request: IdempotentRequest) -> bytes | None:
        """The stored response of a request, None for a new one. InvalidArgument REQUEST_ID_REUSED."""

    async def begin_request(self, request: IdempotentRequest) -> bytes | None:
        """As find_response, and leases a new request for a write of several transactions.

        Aborted REQUEST_IN_PROGRESS: another call holds the lease.
        """

    async def complete_request(self, request: IdempotentRequest, response: bytes) -> None:
        """Store the response and end the lease."""

    async def release_request(self, request: IdempotentRequest) -> None:
        """End the lease without a response: the request failed."""

    async def add_journal_entry(self, entry: JournalEntry) -> None:
        """Write an entry outside of a transaction."""

    async def journal_entries(self, *, consistent: bool = True) -> Sequence[JournalEntry]:
        """Entries of all users, a bounded number. Without `consistent` those of the last moment may be missing."""

    async def delete_journal_entries(self, entries: Iterable[JournalEntry]) -> None: ...


# ---------------------------------------------------------------------------------------------- Redis
class PackedList(NamedTuple):
    """A whole list, small enough to be moved at once.

    stamp: when its fill began, Redis clock, us; 0: unknown.
    size: its edges. auto: its automatic edges.
    packed: the codec's bytes, heaviest first; for HIDDEN the ids, joined by newlines.
    """

    stamp: int
    size: int
    auto: int
    packed: bytes

    def ids(self) -> frozenset[str]:
        """The ids of the list HIDDEN."""
        return frozenset(self.packed.decode().split("\n")) if self.packed else frozenset()


class CacheState(Enum):
    """The state of a list of which Redis doesn't hold a PackedList."""

    MISSING = "missing"  # not stored, and no process fills it
    FILLING = "filling"  # a process fills it under a lease
    DIRTY = "dirty"  # a write is pending: read DynamoDB and store nothing
    HUB = "hub"  # too long for a PackedList: use hub_page
    HUB_FILLING = "hub filling"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to store one list, until a write or its expiry ends it. stamp: when it was given, Redis clock, us.

    space: the Redis instance that gave it, the only one in which it is valid.
    """

    user_id: str
    node_id: str
    token: bytes
    stamp: int
    space: str


@dataclass(frozen=True, slots=True)
class HubPage:
    """Part of a hub's list.

    stamp: when it was read, Redis clock, us.
    count, auto: all edges of the hub, and the automatic ones.
    repairs: (member, token) of the entries whose writes were acknowledged since they were cached.
    clean: there are neither repairs nor pending writes.
    """

    stamp: int
    count: int
    auto: int
    neighbors: Sequence[Neighbor]
    repairs: Sequence[tuple[str, str]]
    clean: bool


class ListCache(Protocol):
    """Lists of neighbours in Redis. All methods raise Unavailable when Redis doesn't answer in time or is disabled.

    The protocol (docs/list-cache.md): a lease is given only while the list is neither stored nor dirty. begin() ends
    the lease, so a store() after a begin() is refused. Nothing is stored between a begin() and its finish(), or until
    the pending write of a crashed process expires. What a process stores can be read only while the same Redis
    instance (space) answers, but begin() and finish() act on it whichever instance a process knows.
    """

    @property
    def space(self) -> str:
        """Names the Redis instance that answers; "" while Redis is disabled."""

    async def read(self, user_id: str, node_ids: Sequence[str]) -> Sequence[PackedList | CacheState]:
        """Any number of lists in one round trip."""

    async def read_whole(self, user_id: str, node_id: str) -> PackedList | None:
        """The list, if it is a PackedList and the user hides nothing; one round trip."""

    async def lease(
        self, user_id: str, node_id: str, *, instead_of: int | None = None
    ) -> Lease | PackedList | CacheState:
        """A lease, or what is there. instead_of: the stamp of a PackedList that is too old and may be replaced."""

    async def store(self, lease: Lease, packed_list: PackedList) -> bool:
        """False when the lease has ended: the list may be stale and must not be stored anywhere."""

    async def begin(self, invalidation: Invalidation, writer: str, visibility: VisibilityRecord | None = None) -> None:
        """Before a commit: make the lists unusable until finish(), or until the pending write expires.

        visibility: what the commit stores; for as long as the hidden set is unusable because of this write,
        pending_visibilities() returns it.
        """

    async def finish(self, invalidation: Invalidation, writer: str) -> int:
        """After a commit, or after its rejection: the lists can be filled again.

        It publishes the invalidation to every process and extends the change feed. Returns the time, Redis clock, us.
        """

    async def pending_visibilities(self, user_id: str) -> Sequence[VisibilityRecord]:
        """The visibilities between begin() and finish(), and those that nobody has finished, until they expire."""

    async def invalidate_nodes(self, user_id: str, node_ids: Sequence[str]) -> None:
        """Every process removes titles, existence and lists of these notes from its memory."""

    async def hub_lease(self, user_id: str, node_id: str) -> Lease | CacheState:
        """The right to fill a hub's list. Writes don't end it; they leave repairs."""

    async def hub_stage(self, lease: Lease, neighbors: Sequence[Neighbor]) -> bool:
        """Add neighbours to the list that is being filled; False when the lease has ended."""

    async def hub_store(self, lease: Lease, auto: int) -> bool:
        """Make the staged list the hub's list. auto: its automatic edges. Whether the hub is stored now: the lease may
        have ended, or the hub may have shrunk so far that it is a list again."""

    async def hub_page(
        self, user_id: str, node_id: str, *, by_time: bool, after: Position | None, limit: int, ceiling: float | None
    ) -> HubPage | None:
        """At most `limit` entries after a position, with ranks up to `ceiling`. None: Redis doesn't hold the hub."""

    async def hub_repair(self, user_id: str, node_id: str, repairs: Sequence[tuple[str, str, Neighbor | None]]) -> None:
        """(member, token, what DynamoDB holds): applied only where the token is still the same."""

    async def hub_count(self, user_id: str, node_id: str, others: Sequence[str]) -> int:
        """The number of the hub's edges that lead to these notes."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry of a user's change feed; ids sort by time."""

    id: str
    data: bytes


class ChangeFeed(Protocol):
    """The last changes of each user, a bounded number. Unavailable when Redis is away."""

    async def last(self, user_id: str) -> str:
        """The id of the newest entry, or of the beginning."""

    async def after(self, user_id: str, id: str, limit: int) -> Sequence[FeedEntry]:
        """Entries after an id, oldest first. OutOfRange RESUME_TOKEN_EXPIRED: some of them are no longer kept."""


# ---------------------------------------------------------------------------------------------- others
class NodeDirectory(Protocol):
    """The node service, as far as edges need it."""

    async def live_titles(self, user_id: str, node_ids: Collection[str]) -> Mapping[str, str]:
        """node_id -> title of the notes that exist and aren't deleted. Any number."""

    async def visibility(self, user_id: str, node_id: str, seen: Revision) -> VisibilityRecord | None:
        """What the node service itself states about a note; None if it doesn't exist or is purged.

        It may be a little older than the last write. seen: a revision that it is not older than, if the note had it.
        """

    async def count(self, user_id: str, maximum: int) -> tuple[int, bool]:
        """The number of the user's notes that aren't deleted, and whether it is complete; stops at `maximum`."""


class Codec(Protocol):
    """The wire form of requests, lists and feed entries. A stored list is part of a response without decoding."""

    def request(self, data: bytes) -> NeighborsRequest:
        """A checked GetNeighborsRequest. InvalidArgument for every error that shows without a lookup."""

    def pack(self, neighbors: Sequence[Neighbor]) -> bytes: ...

    def unpack(self, packed: bytes) -> list[Neighbor]: ...

    def response(self, packed: bytes, next_page_token: str, degree: int) -> bytes:
        """A GetNeighborsResponse."""

    def batch_part(self, node_id: str, packed: bytes, degree: int) -> bytes:
        """One NodeNeighbors of a BatchGetNeighborsResponse, with its tag."""

    def feed_entry(self, change_type: ChangeType, edge: Edge) -> bytes:
        """A change as it is stored in the feed."""
