"""What the use cases need from stores and other services, and which guarantees they get."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from services.similarity_service.model.engine.codec import Packed
from services.similarity_service.model.links import Link
from services.similarity_service.model.stored import Stored
from services.similarity_service.model.user_settings import SavedUserSettings
from shared.errors import Brain2Error
from shared.revisions import Revision


class Records(Protocol):
    """What is known of each note, and the postings of its keywords; indexes are always built from these records."""

    async def get(self, user_id: str, node_id: str) -> Stored:
        """The record as it is now (a consistent read); Stored() when nothing is known."""

    async def get_many(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Stored]:
        """The records of any number of notes, as get() gives them; unknown notes are absent."""

    async def put(self, user_id: str, node_id: str, old: Stored, new: Stored) -> bool:
        """Replace what get() returned, and then the postings that differ.

        False when another writer changed the record after get(). An error leaves open what was done: repair_postings()
        completes it.
        """

    async def put_many(self, user_id: str, changes: Mapping[str, tuple[Stored, Stored]]) -> Collection[str]:
        """put() for several notes, each by itself: (old, new) by node id. Returns the notes whose record was replaced.

        After an error, it is open for each of them what was done.
        """

    async def repair_postings(self, user_id: str, node_id: str, stored: Stored) -> None:
        """Make a note's postings those of its record. stored: what get() returned."""

    async def set_visibility(
        self, user_id: str, node_id: str, version: int, *, visible: bool, incarnation: int | None
    ) -> Stored | None:
        """Apply Stored.with_visibility() in one conditional write, and return the new record.

        incarnation: None means the one that is known.

        None when the condition failed: nothing was written, and get() and put() decide.
        """

    def all(self, user_id: str) -> AsyncIterator[Sequence[Packed]]:
        """The visible notes of a user in pages, in the form from which an index is loaded (consistent reads)."""

    def stamps(self, user_id: str) -> AsyncIterator[Sequence[tuple[str, Stored]]]:
        """(node id, record without its note) of all of a user's notes, in pages (consistent reads)."""

    async def written_since(self, user_id: str, ms: int) -> Sequence[str]:
        """Visible notes whose record was written at `ms` or later, in milliseconds since 1970 (consistent reads)."""

    async def with_keyword(
        self, user_id: str, term: str, limit: int, after: str
    ) -> tuple[Sequence[tuple[str, float]], bool]:
        """(node id, weight) of notes with the term among their keywords, after the id `after`; and whether more follow.

        Eventually consistent; deleted notes are still included.
        """


@dataclass(frozen=True, slots=True)
class Announcement:
    """A change of a note's visibility that the node service still writes.

    version: that the note has after the write. withdrawn: the announcement with this id has ended, nothing was written.
    """

    announcement_id: str
    version: int
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of the change log: the state that a note has now.

    position: where in the log the entry is.
    announcement: of a change that is not stored; None when the record has the state.
    age: of an announcement that was read: the seconds since it was appended, by the clock of the log.
    """

    node_id: str
    incarnation: int
    version: int
    visible: bool
    position: str = ""
    announcement: Announcement | None = None
    age: float = field(default=0.0, compare=False)


class LogGap(Brain2Error):
    """The log no longer has all entries after a position: the reader must load the records again."""

    kind = "OUT_OF_RANGE"


class ChangeLog(Protocol):
    """Which of a user's notes changed, in order, for every process to read. Entries are kept for some days only."""

    async def append(self, user_id: str, entries: Sequence[LogEntry]) -> None:
        """Append entries. Unavailable when the log can't be reached."""

    async def tail(self, user_id: str) -> str:
        """The position after all entries that were appended so far."""

    async def since(self, user_id: str, position: str) -> Sequence[LogEntry]:
        """The entries after a position. LogGap when some may be missing; Unavailable when the log can't be reached."""

    async def announcements(self, user_id: str, position: str, seconds: float) -> Sequence[LogEntry]:
        """The entries up to a position that are announcements, and at most so many seconds old."""


@dataclass(frozen=True, slots=True)
class NodeText:
    """A note as its owner wrote it.

    path: of the file that it was imported from, or "".
    properties: the other values of its metadata.
    etag: "" in an event.
    label_first: its wiki links are those of Dendron, [[label|name]].
    """

    node_id: str
    incarnation: int
    version: int
    title: str
    text: str
    tags: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    path: str = ""
    properties: tuple[str, ...] = ()
    etag: str = ""
    label_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A note as the node service itself knows it."""

    incarnation: int
    version: int
    visible: bool


@dataclass(frozen=True, slots=True)
class NodeUpdate:
    """New values of a note's fields; None leaves a field as it is."""

    title: str | None = None
    content: str | None = None
    aliases: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class WrittenNode:
    """A note after a write. token: the consistency token of the write, or ""."""

    version: int
    etag: str
    token: str


class Nodes(Protocol):
    """The node service."""

    async def texts(
        self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision] | None = None
    ) -> Mapping[str, NodeText]:
        """Live notes by id; missing and deleted notes are absent.

        They may be a little older than the last write. seen: the revisions, by node id, that they are never older than.
        """

    async def state(self, user_id: str, node_id: str, seen: Revision) -> NodeState | None:
        """The state of a note, also of a deleted one; None if it doesn't exist or is purged.

        It may be a little older than the last write. seen: a revision that it is not older than, if the note had it.
        """

    def ids(self, user_id: str) -> AsyncIterator[Sequence[str]]:
        """The ids of all live notes in pages."""

    async def update(self, user_id: str, node_id: str, etag: str, change: NodeUpdate) -> WrittenNode:
        """Change a note that still has this etag. Aborted (ETAG_MISMATCH); NotFound; InvalidArgument."""


class Direction(Enum):
    """Of an edge, as seen from one note."""

    OUT = "out"
    IN = "in"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class TextLink:
    """A wiki link as an edge. directed: False where the two notes link each other."""

    source: str
    target: str
    directed: bool

    def direction(self, node_id: str) -> Direction:
        """The direction as one of the two notes sees it."""
        if not self.directed:
            return Direction.BOTH
        return Direction.OUT if self.source == node_id else Direction.IN


@dataclass(frozen=True, slots=True)
class Related:
    """The edges of a note. automatic: what the automatic link to each other note weighs.

    linked: the notes to which it has an edge that is not automatic, of any type.
    """

    automatic: Mapping[str, float]
    linked: frozenset[str]


class Graph(Protocol):
    """The graph service, for automatic links and for those that texts have."""

    async def related(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Related]:
        """The notes to which each note has edges."""

    async def linked(self, user_id: str, node_id: str) -> frozenset[str]:
        """The notes that a note has any link to."""

    async def rejected(self, user_id: str, node_id: str) -> frozenset[str]:
        """The notes to which a person has rejected a link of a note (a consistent read)."""

    async def link(self, user_id: str, links: Mapping[str, Sequence[Link]], method: str) -> Collection[str]:
        """Make the automatic links of notes, by node id. An existing one gets a new score and new reasons if its score
        differs by RENEWED or more; a link that a person rejected is not made.

        Returns the notes of which a link could not be made now.
        """

    async def unlink(self, user_id: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Remove the links between these notes that are automatic and not confirmed by a person."""

    async def show(self, user_id: str, notes: Mapping[str, Revision]) -> None:
        """Have graph show restored notes, of which it may not have heard yet: edges can be made at them and read.

        notes: the incarnation and the version at which each was restored. A newer state of a note stays.
        """

    async def text_links(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Mapping[str, Direction]]:
        """For each note, the notes to which it has an edge of the type of wiki links, whoever made it."""

    async def link_texts(self, user_id: str, links: Sequence[TextLink]) -> Sequence[tuple[str, str]]:
        """Make edges for wiki links, or give them another direction. An edge that a person made stays as it is.

        Returns the pairs whose edge was refused: graph does not know one of the notes.

        Aborted: graph could not make one of them now, for a reason that concerns this user alone.
        """

    async def unlink_texts(self, user_id: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Remove the edges that stood for wiki links between these notes. An edge that a person made stays."""


class UserSettingsStore(Protocol):
    """The users' settings."""

    async def get(self, user_id: str) -> SavedUserSettings | None:
        """The saved settings; None for a user who never changed them."""

    async def put(self, user_id: str, saved: SavedUserSettings) -> None: ...


@dataclass(frozen=True, slots=True)
class PendingRelink:
    """A process (owner) still has to relink notes of a user: those that were written from since_ms on.

    until_ms: after this time other processes may take the entry over. Times are in milliseconds since 1970.
    added: ids of notes that other processes have added to the entry, for its owner to relink; CHANGED stands for a
        change that is not of one note.
    open: other processes may add notes. An entry of an earlier release is not open: its owner would overwrite them.
    """

    user_id: str
    owner: str
    since_ms: int
    until_ms: int
    added: frozenset[str] = frozenset()
    open: bool = True


CHANGED = "*"
"""Among the added notes of a PendingRelink: the user's notes have changed (no id has an asterisk)."""


class PendingRelinkStore(Protocol):
    """The durable queue of relinking, with one entry for each user and owner."""

    async def put(self, mine: PendingRelink) -> bool:
        """Write the entry in place of an earlier one.

        False, and nothing is written, when that one has added notes: remove_added() first.
        """

    async def renew(self, mine: PendingRelink) -> bool:
        """Replace the times of the entry.

        False, and nothing is written, when it is gone (taken over, or the user was erased), or when it has added notes:
        remove_added() first.
        """

    async def remove(self, user_id: str, owner: str) -> bool:
        """Remove the entry. False, and nothing is removed, when it has added notes. True when there is none."""

    async def get(self, user_id: str, owner: str) -> PendingRelink | None:
        """The entry, None when it is gone: a consistent read."""

    async def remove_added(self, mine: PendingRelink) -> bool:
        """Remove the added notes from the entry, mine.added, which its owner has read.

        False, and nothing is removed, when it is gone, or when others have changed it since.
        """

    async def of_user(self, user_id: str) -> Sequence[PendingRelink]:
        """The entries of a user, of all owners: a consistent read."""

    async def add(self, theirs: PendingRelink, since_ms: int, node_ids: Collection[str], now_ms: int) -> bool:
        """Add notes (at least one) to an open entry of another owner, and have it cover what was written from since_ms.

        False, and nothing is written, when that entry is gone, has expired, or covers another time than theirs.
        """

    async def hand_over(self, mine: PendingRelink, theirs: PendingRelink, now_ms: int) -> bool:
        """Remove an entry, and add its notes (mine.added, at least one) and its time to theirs, in one transaction.

        False, and nothing is written, under the conditions of add() and remove().
        """

    async def expired(self, now_ms: int) -> Sequence[PendingRelink]:
        """Some of the entries whose time is over; repeated calls return all of them in the end."""

    async def take(self, theirs: PendingRelink, mine: PendingRelink) -> bool:
        """Replace an entry of another owner in one transaction.

        False, and nothing is written, when that entry or its added notes have changed, or when the owner's own one has
        added notes.
        """
