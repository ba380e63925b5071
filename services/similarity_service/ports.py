"""What the use cases need from outside, and what they may rely on."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.similarity_service.model.engine.codec import Packed
from services.similarity_service.model.links import Link
from services.similarity_service.model.stored import Stored
from services.similarity_service.model.user_settings import Settings
from shared.errors import Brain2Error


class Records(Protocol):
    """The truth: what is known of each note, and the postings of its keywords."""

    async def get(self, user_id: str, node_id: str) -> Stored:
        """As it is now (consistent); Stored() when nothing is known."""

    async def get_many(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Stored]:
        """As get(), for any number; what is unknown is absent."""

    async def put(self, user_id: str, node_id: str, old: Stored, new: Stored) -> bool:
        """Replace what get() answered, and the postings that differ, as one; False when somebody else wrote first."""

    async def turn(
        self, user_id: str, node_id: str, visible: bool, version: int, incarnation: int | None
    ) -> Stored | None:
        """Stored.turned() in one step, where the record is there and nothing speaks against it: what it is then.

        None: nothing was done; get() and put() find out why. incarnation None: whichever is known.
        """

    def all(self, user_id: str) -> AsyncIterator[Sequence[Packed]]:
        """The visible notes of a user in pages, consistent; as an index is loaded from them."""

    def stamps(self, user_id: str) -> AsyncIterator[Sequence[tuple[str, Stored]]]:
        """Everything that is known of a user's notes, but the notes themselves, in pages, consistent."""

    async def written_since(self, user_id: str, ms: int) -> Sequence[str]:
        """Visible notes whose record was written at that time (milliseconds since 1970) or later; consistent."""

    async def with_keyword(
        self, user_id: str, term: str, limit: int, after: str
    ) -> tuple[Sequence[tuple[str, float]], bool]:
        """(node id, weight) of notes that have the term among their keywords, by node id after `after`; and if more
        come.

        Eventually consistent; deleted notes are still in it.
        """


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the change log: a note is now in this state; position: where in the log."""

    node_id: str
    incarnation: int
    version: int
    visible: bool
    position: str = ""


class LogGap(Brain2Error):
    """The log no longer holds everything since a position: the reader must start again from the records."""

    kind = "OUT_OF_RANGE"


class ChangeLog(Protocol):
    """Which of a user's notes changed, in order, heard by every process. Kept for a while only."""

    async def append(self, user_id: str, changes: Sequence[Change]) -> None:
        """Tell the others. Unavailable when the log can't be reached."""

    async def tail(self, user_id: str) -> str:
        """The position after everything that was appended so far."""

    async def since(self, user_id: str, position: str) -> Sequence[Change]:
        """What was appended after a position. LogGap when some of it may be missing; Unavailable."""


@dataclass(frozen=True, slots=True)
class NodeText:
    """A note as its owner wrote it."""

    node_id: str
    incarnation: int
    version: int
    title: str
    text: str
    tags: tuple[str, ...]


class Nodes(Protocol):
    """The node service."""

    async def texts(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, NodeText]:
        """Live notes by id; what is missing or deleted is absent."""

    def ids(self, user_id: str) -> AsyncIterator[Sequence[str]]:
        """The ids of all live notes in pages."""


class Graph(Protocol):
    """The graph service, as far as automatic links go."""

    async def automatic(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
        """For each note the notes to which it has an automatic link, and what that weighs."""

    async def linked(self, user_id: str, node_id: str) -> frozenset[str]:
        """The notes that a note has any link to."""

    async def link(self, user_id: str, node_id: str, links: Sequence[Link], method: str) -> None:
        """Make automatic links. Those that are there get a new score and reasons if the score differs by RENEWED; those
        that a person rejected aren't made.
        """

    async def unlink(self, user_id: str, node_id: str, others: Sequence[str]) -> None:
        """Remove links that are automatic and not confirmed by a person."""


@dataclass(frozen=True, slots=True)
class UserChoices:
    """settings: as the user chose. language: the one that the user's index is in; changes with a reindex."""

    settings: Settings
    language: str
    updated_ms: int = 0


class SettingsStore(Protocol):
    """The users' settings."""

    async def get(self, user_id: str) -> UserChoices | None:
        """None for a user who never chose."""

    async def put(self, user_id: str, choices: UserChoices) -> None: ...


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A process (owner) still has links of a user to settle, of notes written from since_ms on.

    until_ms: when others may take it that the owner is gone. Milliseconds since 1970.
    """

    user_id: str
    owner: str
    since_ms: int
    until_ms: int


class UnsettledStore(Protocol):
    """Who has links to settle; one entry a user and owner. Outlives the processes."""

    async def put(self, mine: Unsettled) -> None:
        """Write the entry, over an earlier one."""

    async def renew(self, mine: Unsettled) -> bool:
        """As put(), unless it is gone (taken over, or the user was erased): False."""

    async def remove(self, user_id: str, owner: str) -> None: ...

    async def expired(self, now_ms: int) -> Sequence[Unsettled]:
        """Entries whose time is over, some at least; eventually all."""

    async def take(self, theirs: Unsettled, mine: Unsettled) -> bool:
        """Replace an entry of another owner by one's own, as one; False when theirs has changed."""
