"""What the use cases need from the outside, and the guarantees they have.

Errors are those of shared.errors. Every method may raise Unavailable when a store doesn't answer; then it isn't known
whether a write was done. After any other error, ResourceExhausted among them, nothing was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from services.node_service.model import Node, NodeEvent, Revision, Summary, Title, UserSettings
from shared.errors import Brain2Error
from shared.idempotent import IdempotentRequest


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a request, stored so that the same request gets the same answer."""

    request: IdempotentRequest
    answer: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWrite:
    """One write of one note.

    before: the note as it was read; None = there must be none.
    after: the note as it shall be; None = it is removed. A Summary is enough unless the event is CREATED or UPDATED,
    because other writes change only the version, the fence and what belongs to the deletion.
    """

    before: Summary | None
    after: Summary | None
    event: NodeEvent | None
    receipt: Receipt | None = None


class Outcome(Enum):
    """How a write ended."""

    DONE = "done"
    # The stored note differs from `before`, or exists already: nothing was written.
    CONFLICT = "conflict"
    # The request had been carried out before: nothing was written.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of a user's notes by time."""

    create_ms: int
    node_id: str


class NodeStore(Protocol):
    """The notes. Reads and writes of one note are linearizable, except read(), summaries(), titles() and page()."""

    async def current(self, user_id: str, node_id: str) -> Node | None:
        """The note as the last finished write left it, also when it is deleted."""

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        """The same without its content, which may be large."""

    async def likely(self, user_id: str, node_id: str) -> Summary | None:
        """Begin a deletion or a restore; commit(), or at the end release(), follows.

        Returns what a cache held of the note, which may be old; a Node if it had the content. None: no cache had it.
        It may be the `before` of the write, which commit() refuses when it is old. Nothing else may be decided by it.
        """

    async def release(self, user_id: str, node_id: str) -> None:
        """End what likely() has begun, unless a commit() has."""

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, Node]:
        """The notes that exist, also deleted ones. They may be a little older than the last write.

        seen: the revisions, by node_id, that they are never older than.
        """

    async def summaries(
        self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]
    ) -> Mapping[str, Summary]:
        """The same as read(), with at least the Summary of each note, which costs less than the content."""

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> Mapping[str, Title]:
        """The same as read(), with at least the Title of each note."""

    async def page(
        self, user_id: str, *, since_ms: int, until_ms: int, after: Position | None, limit: int
    ) -> list[Summary]:
        """Live notes created in [since_ms, until_ms), newest first, those after a position; at most limit.

        They come from an index that follows the writes, usually within milliseconds. Notes of one time are ordered by
        node_id, descending. The place of a note in this order never changes.
        """

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Summary]:
        """All notes, also deleted ones, in the order of their ids, as the last finished writes left them.

        Those with a content that an event may carry (EVENT_CONTENT_BYTES) are whole.
        after: the id that they come after; "" = from the first.
        limit: there are fewer only at the end or when the notes are large, and none only at the end.
        """

    async def commit(self, write: NodeWrite) -> Outcome:
        """Write the note, its event and its receipt, all or nothing; durable when it returns."""

    async def commit_new(self, writes: Sequence[NodeWrite]) -> list[Outcome | Brain2Error]:
        """Create notes, each as by commit(), in fewer round trips; the outcomes are in the order of the writes."""

    async def previous_answer(self, request: IdempotentRequest) -> Summary | None:
        """The answer of a receipt. InvalidArgument (REQUEST_ID_REUSED) when its id was used for something else."""


class Idempotency(Protocol):
    """Makes sure that a request of several transactions is carried out once."""

    async def begin(self, request: IdempotentRequest) -> bytes | None:
        """The stored answer; None gives the right to carry the request out, which expires after half a minute.

        Raises InvalidArgument (REQUEST_ID_REUSED), Aborted (REQUEST_IN_PROGRESS) while another process has the right.
        """

    async def complete(self, request: IdempotentRequest, answer: bytes) -> None:
        """Store the answer. Aborted (REQUEST_LEASE_LOST) when the right had expired and another process took it."""

    async def abandon(self, request: IdempotentRequest) -> None:
        """Give the right back without an answer: the request may be carried out again. Its steps are idempotent."""


class SettingsStore(Protocol):
    """What users have set."""

    async def load(self, user_id: str) -> UserSettings | None:
        """None when the user has set nothing. Sees every finished save."""

    async def save(self, user_id: str, settings: UserSettings | None) -> None:
        """None removes the settings."""


class Retentions(Protocol):
    """The retention of each user."""

    async def seconds(self, user_id: str) -> int:
        """How long a note that is deleted now can be restored. A change of the settings may take seconds to arrive."""


class EventPublisher(Protocol):
    """Publishes events that belong to no write."""

    async def publish(self, events: Sequence[NodeEvent]) -> None:
        """All of them are on the bus when it returns. Unavailable when some may not be."""


class Announcement(Protocol):
    """A change of a note's visibility that the other services show while the transaction runs, and some seconds longer.

    Both methods return within milliseconds, and never raise. Where it is not known whether the transaction was done,
    neither is called: the announcement ends by itself, and the event, if the transaction was done, sets the change.
    """

    async def confirm(self, spent: float) -> None:
        """The transaction is done. Returns when the other services show the change; they store it afterwards.

        spent: seconds that the call of the user has taken so far.
        """

    async def withdraw(self) -> None:
        """Nothing was written."""


class Visibility(Protocol):
    """Whether the other services show a note. The event makes it certain; this makes it quick."""

    def announce(self, node: Summary) -> Announcement:
        """Begin to show a note elsewhere, or to hide it, as it is after a transaction that begins now."""

    async def set_visibility(self, node: Summary, spent: float) -> None:
        """Show the note elsewhere, or hide it if it is deleted. Returns within milliseconds and never raises.

        spent: seconds that the call of the user has taken so far.
        """
