"""The lists that this process holds in memory, bounded by bytes, and the ready answers made of them.

An entry may be served only while it is alive: every invalidation that arrives kills the entry, and every read that
wants to store something takes a ticket *before* it reads; a ticket that was taken before an invalidation is void, so a
value that was read too early can't come back. Losing the channel that brings invalidations closes the whole cache
until it is there again.
"""

import logging
from collections import OrderedDict
from dataclasses import asdict, dataclass

from services.graph_service.ports import HIDDEN, Block
from shared.ids import Clock

# What an entry costs besides its bytes: the objects around it, measured with tracemalloc.
_ENTRY_BYTES = 600
_ANSWER_BYTES = 250
_Key = tuple[str, str]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Since the process began. hits: answers and lists served; evictions: entries that had to make room."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    invalidations: int = 0
    flushes: int = 0


class Entry:
    """A list in memory. block None: a hub, of which only answers are kept. hidden: the set, when it is such a list."""

    __slots__ = ("alive", "answers", "block", "cost", "expires", "hidden", "key", "stamp")

    def __init__(self, key: _Key, block: Block | None, stamp: int, expires: float) -> None:
        self.key = key
        self.block = block
        self.stamp = stamp
        self.expires = expires
        self.alive = True
        self.answers: list[bytes] = []
        self.cost = _ENTRY_BYTES + (len(block.packed) if block else 0)
        self.hidden = frozenset[str]()
        if block is not None and key[1] == HIDDEN and block.packed:
            self.hidden = frozenset(block.packed.decode().split("\n"))
            self.cost += 120 * len(self.hidden)


class Ticket:
    """Permission to store what is read from now on; void as soon as an invalidation of the list arrives."""

    __slots__ = ("key", "void")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.void = False


_VOID = Ticket(("", ""))
_VOID.void = True


class L1:
    """All methods are synchronous: between two of them nothing else runs, so no lock is needed.

    limit_bytes: 0 turns it off. ttl: seconds after which an entry is read again whatever happened, the last resort
    against what no protocol covers.
    """

    def __init__(self, limit_bytes: int, clock: Clock, *, ttl: float = 60.0) -> None:
        self._limit = limit_bytes
        # Whether it ever holds anything.
        self.used = limit_bytes > 0
        self._clock = clock
        self._now = clock.monotonic
        self._ttl = ttl
        self._entries: OrderedDict[_Key, Entry] = OrderedDict()
        self._answers: dict[bytes, tuple[bytes, Entry, Entry, float]] = {}
        self._tickets: dict[_Key, set[Ticket]] = {}
        self._bytes = 0
        self._open = False
        self.counters = Counters()

    @property
    def open(self) -> bool:
        """Whether invalidations arrive, so that it may serve."""
        return self._open

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    async def report(self) -> None:
        """Log the counters, for the end of a process."""
        log.info("lists in memory", extra={"entries": len(self), "bytes": self._bytes, **asdict(self.counters)})

    def __len__(self) -> int:
        return len(self._entries)

    # ------------------------------------------------------------------ serving
    def answer(self, request: bytes) -> bytes | None:
        """The ready answer to a request, found by its exact bytes: the hot path, nothing is decoded."""
        found = self._answers.get(request)
        if found is None:
            return None
        answer, entry, hidden, expires = found
        if entry.alive and hidden.alive and self._now() < expires:
            self._entries.move_to_end(entry.key)
            self.counters.hits += 1
            return answer
        return None

    def get(self, user: str, note: str) -> Entry | None:
        entry = self._entries.get((user, note))
        if entry is None or self._now() >= entry.expires:
            self.counters.misses += 1
            return None
        self._entries.move_to_end(entry.key)
        self.counters.hits += 1
        return entry

    # ------------------------------------------------------------------ storing
    def ticket(self, user: str, note: str) -> Ticket:
        if not self._open or not self._limit:
            return _VOID
        ticket = Ticket((user, note))
        self._tickets.setdefault(ticket.key, set()).add(ticket)
        return ticket

    def discard(self, ticket: Ticket) -> None:
        """The read is over and stored nothing."""
        if ticket.void:
            return  # whoever made it void has let go of it
        held = self._tickets.get(ticket.key)
        if held is not None:
            held.discard(ticket)
            if not held:
                del self._tickets[ticket.key]

    def put(self, ticket: Ticket, block: Block | None, stamp: int) -> Entry | None:
        """Keep a list that was read after the ticket was taken; None when the ticket is void. Uses the ticket up."""
        self.discard(ticket)
        if ticket.void:
            return None
        self._kill(ticket.key)
        entry = Entry(ticket.key, block, stamp, self._now() + self._ttl)
        if entry.cost > self._limit:
            return None
        self._entries[ticket.key] = entry
        self._bytes += entry.cost
        self._make_room()
        return entry if entry.alive else None

    def put_answer(self, request: bytes, answer: bytes, entry: Entry, hidden: Entry) -> None:
        """Keep a ready answer for as long as both lists that it was made of stand."""
        if not entry.alive or not hidden.alive:
            return
        if request not in self._answers:
            cost = _ANSWER_BYTES + len(request) + len(answer)
            entry.answers.append(request)
            entry.cost += cost
            self._bytes += cost
        self._answers[request] = (answer, entry, hidden, min(entry.expires, hidden.expires))
        self._make_room()

    # ------------------------------------------------------------------ forgetting
    def drop(self, user: str, note: str) -> None:
        """An invalidation: the list may have changed."""
        key = (user, note)
        self.counters.invalidations += 1
        self._kill(key)
        for ticket in self._tickets.pop(key, ()):
            ticket.void = True

    def close(self) -> None:
        """Invalidations no longer arrive: forget everything, serve nothing, let no read that runs store anything."""
        self._open = False
        self.counters.flushes += 1
        for entry in self._entries.values():
            entry.alive = False
        self._entries.clear()
        self._answers.clear()
        self._bytes = 0
        for held in self._tickets.values():
            for ticket in held:
                ticket.void = True
        self._tickets.clear()

    def reopen(self) -> None:
        """Invalidations arrive again, from now on."""
        self._open = True

    def _make_room(self) -> None:
        while self._bytes > self._limit and self._entries:
            key = next(iter(self._entries))
            self._kill(key)
            self.counters.evictions += 1

    def _kill(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        entry.alive = False
        self._bytes -= entry.cost
        for request in entry.answers:
            self._answers.pop(request, None)
