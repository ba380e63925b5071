"""What the use cases need from the outside, and what they may rely on.

Errors are those of shared.errors; every method may raise Unavailable or ResourceExhausted when a store doesn't answer,
and then it isn't known whether a write was done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from services.node_service.model import Node, NodeEvent, Summary, Title, UserSettings
from shared.errors import Brain2Error


@dataclass(frozen=True, slots=True)
class Request:
    """What makes a repeated call recognisable: the caller's request_id and a digest of everything it asked for."""

    request_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a request, kept so that a repeat gets the same one."""

    request: Request
    answer: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write. before: the note as it was read (None: there must be none); after: as it shall be (None: removed).

    A change whose event isn't CREATED or UPDATED touches only version, fence and what belongs to the deletion: for it
    a Summary is enough.
    """

    before: Summary | None
    after: Summary | None
    event: NodeEvent | None
    receipt: Receipt | None = None


class Outcome(Enum):
    """How a write ended."""

    DONE = "done"
    # The note isn't `before` any more (or there is one already): nothing was written.
    CONFLICT = "conflict"
    # The request had been carried out before: nothing was written.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of a user's notes by time."""

    create_ms: int
    node_id: str


class NodeStore(Protocol):
    """The notes. Reads and writes of one note are linearizable, but for read(), titles() and page()."""

    async def current(self, user_id: str, node_id: str) -> Node | None:
        """The note as the last finished write left it, deleted ones too."""

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        """The same without its content, which may be large."""

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> dict[str, Node]:
        """The notes that exist, deleted ones too; may lag behind writes a little, but not behind `seen`."""

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> Mapping[str, Title]:
        """As read, with less of each note."""

    async def page(
        self, user_id: str, *, since_ms: int, until_ms: int, after: Position | None, limit: int
    ) -> list[Summary]:
        """Live notes created in [since_ms, until_ms), newest first, those after a position; at most limit.

        From an index that follows the writes, usually within milliseconds. Ties in time are ordered by id, descending.
        A note that lives all the while is at one place of this order for ever.
        """

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Node]:
        """Whole notes, deleted ones too, in the order of their ids, those after an id ("" = from the first); at most
        limit, and fewer only at the end or when they are large; none only at the end. As the last finished writes left
        them."""

    async def commit(self, change: Change) -> Outcome:
        """Write the note, its event and the answer to its request, all or nothing; durable when it returns."""

    async def commit_new(self, changes: Sequence[Change]) -> list[Outcome | Brain2Error]:
        """Create notes, each as by commit(), in fewer round trips; in the order of the changes."""

    async def answer(self, user_id: str, request: Request) -> Summary | None:
        """What a request was answered with. InvalidArgument (REQUEST_ID_REUSED) when its id was for something else."""


class Held(Protocol):
    """The right to carry out a request of several transactions; it ends by itself after half a minute."""

    async def complete(self, answer: bytes) -> None:
        """Keep the answer. Aborted (REQUEST_LEASE_LOST) when the right had ended and another took it."""

    async def forget(self) -> None:
        """Let a repeat try at once; what was done must bear being done again."""


class Batches(Protocol):
    """Requests of several transactions, that are carried out once."""

    async def begin(self, user_id: str, request: Request) -> bytes | Held:
        """The answer if there is one, else the right to find it. Aborted (REQUEST_IN_PROGRESS) while another has it."""


class SettingsStore(Protocol):
    """What users have set."""

    async def load(self, user_id: str) -> UserSettings | None:
        """None when the user has set nothing. Sees every finished save."""

    async def save(self, user_id: str, settings: UserSettings | None) -> None:
        """None: forget what was set."""


class Retentions(Protocol):
    """Where deletions learn the retention from."""

    async def seconds(self, user_id: str) -> int:
        """How long a note that is deleted now can be restored; may lag behind a change of the settings for seconds."""


class Teller(Protocol):
    """Tells events again, without a write that they belong to."""

    async def tell(self, events: Sequence[NodeEvent]) -> None:
        """All of them are on the bus when it returns. Unavailable when some may not be."""


class Visibility(Protocol):
    """The other services' view of a note. The event is what makes it certain; this only makes it quick."""

    async def announce(self, node: Summary) -> None:
        """Hide or show the note elsewhere, as its version has it. Returns in milliseconds and never raises."""
