"""The first tier of the list cache: lists and ready responses in the memory of this process, bounded by bytes.

An invalidation that arrives removes the entry and voids the fill tickets of its list. A reader takes a ticket before it
reads, so a value that was read before an invalidation is never stored after it. While the channel that brings the
invalidations is down, the cache is closed: it holds nothing and accepts nothing.
"""

import logging
from collections import OrderedDict
from dataclasses import asdict, dataclass

from services.graph_service.ports import HIDDEN, PackedList
from shared.ids import Clock

# What an entry costs besides its bytes: the objects around it, measured with tracemalloc.
_ENTRY_BYTES = 600
_RESPONSE_BYTES = 250
_HIDDEN_ID_BYTES = 120
# A request of more bytes than this is no key: nobody repeats it, and its copies would fill the memory.
LONGEST_KEY = 1024
_Key = tuple[str, str]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Counts since the process started. hits: lists and responses served; evictions: entries removed to make room."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    invalidations: int = 0
    flushes: int = 0


class Entry:
    """A list in memory.

    packed_list is None for a hub, of which only responses are kept. hidden is the decoded set when the list is HIDDEN.
    """

    __slots__ = ("alive", "cost", "expires", "hidden", "key", "packed_list", "responses", "stamp")

    def __init__(self, key: _Key, packed_list: PackedList | None, stamp: int, expires: float) -> None:
        self.key = key
        self.packed_list = packed_list
        self.stamp = stamp
        self.expires = expires
        self.alive = True
        self.responses: list[bytes] = []
        self.cost = _ENTRY_BYTES + (len(packed_list.packed) if packed_list else 0)
        self.hidden = frozenset[str]()
        if packed_list is not None and key[1] == HIDDEN:
            self.hidden = packed_list.ids()
            self.cost += _HIDDEN_ID_BYTES * len(self.hidden)


class FillTicket:
    """Permission to store what is read from now on; an invalidation of the list makes it void."""

    __slots__ = ("key", "void")

    def __init__(self, key: _Key, *, void: bool = False) -> None:
        self.key = key
        self.void = void


_VOID = FillTicket(("", ""), void=True)


class MemoryCache:
    """All methods are synchronous: nothing else runs between two statements, so no lock is needed.

    limit_bytes: the most that it holds; 0 turns it off.
    ttl: seconds after which an entry expires, a bound for what no invalidation covers.
    """

    def __init__(self, limit_bytes: int, clock: Clock, *, ttl: float = 60.0) -> None:
        self._limit = limit_bytes
        self.enabled = limit_bytes > 0
        self._now = clock.monotonic
        self._ttl = ttl
        self._entries: OrderedDict[_Key, Entry] = OrderedDict()
        self._responses: dict[bytes, tuple[bytes, Entry, Entry, float]] = {}
        self._tickets: dict[_Key, set[FillTicket]] = {}
        self._bytes = 0
        self._open = False
        self.counters = Counters()

    @property
    def size(self) -> int:
        """The bytes that it holds."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    async def log_counters(self) -> None:
        """Log the counters when the process ends."""
        log.info(
            "counters of the memory cache", extra={"entries": len(self), "bytes": self.size} | asdict(self.counters)
        )

    # ------------------------------------------------------------------ serving
    def response(self, request: bytes) -> bytes | None:
        """The ready response to a request with exactly these bytes, or None."""
        found = self._responses.get(request)
        if found is None:
            return None
        response, entry, hidden, expires = found
        if entry.alive and hidden.alive and self._now() < expires:
            self._entries.move_to_end(entry.key)
            self.counters.hits += 1
            return response
        return None

    def get(self, user_id: str, node_id: str) -> Entry | None:
        """The entry of a list, or None."""
        entry = self._entries.get((user_id, node_id))
        if entry is None or self._now() >= entry.expires:
            self.counters.misses += 1
            return None
        self._entries.move_to_end(entry.key)
        self.counters.hits += 1
        return entry

    # ------------------------------------------------------------------ storing
    def ticket(self, user_id: str, node_id: str) -> FillTicket:
        """A ticket for a read that begins now; use it up with put() or discard()."""
        if not self._open or not self._limit:
            return _VOID
        ticket = FillTicket((user_id, node_id))
        self._tickets.setdefault(ticket.key, set()).add(ticket)
        return ticket

    def discard(self, ticket: FillTicket) -> None:
        """Use a ticket up without storing anything."""
        if ticket.void:
            return  # the invalidation has removed it already
        held = self._tickets.get(ticket.key)
        if held is not None:
            held.discard(ticket)
            if not held:
                del self._tickets[ticket.key]

    def put(self, ticket: FillTicket, packed_list: PackedList | None, stamp: int) -> Entry | None:
        """Store a list that was read after the ticket was taken; None when the ticket is void or the list too large."""
        self.discard(ticket)
        if ticket.void:
            return None
        self._remove(ticket.key)
        entry = Entry(ticket.key, packed_list, stamp, self._now() + self._ttl)
        if entry.cost > self._limit:
            return None
        self._entries[ticket.key] = entry
        self._bytes += entry.cost
        self._make_room()
        return entry if entry.alive else None

    def put_response(self, request: bytes, response: bytes, entry: Entry | None, hidden: Entry | None) -> None:
        """Store a ready response for as long as both lists that it was made of are alive."""
        if entry is None or hidden is None or not entry.alive or not hidden.alive or len(request) > LONGEST_KEY:
            return
        former = self._responses.get(request)
        if former is None:
            entry.responses.append(request)
            cost = _RESPONSE_BYTES + len(request) + len(response)
        else:
            cost = len(response) - len(former[0])
        entry.cost += cost
        self._bytes += cost
        self._responses[request] = (response, entry, hidden, min(entry.expires, hidden.expires))
        self._make_room()

    # ------------------------------------------------------------------ removing
    def invalidate(self, user_id: str, node_id: str) -> None:
        """Remove a list that may have changed, and void the tickets of the reads that run."""
        key = (user_id, node_id)
        self.counters.invalidations += 1
        self._remove(key)
        for ticket in self._tickets.pop(key, ()):
            ticket.void = True

    def close(self) -> None:
        """Invalidations no longer arrive: remove everything and accept nothing until reopen()."""
        self._open = False
        self.clear()

    def clear(self) -> None:
        """Remove everything, and void the tickets of the reads that run."""
        self.counters.flushes += 1
        for entry in self._entries.values():
            entry.alive = False
        self._entries.clear()
        self._responses.clear()
        self._bytes = 0
        for held in self._tickets.values():
            for ticket in held:
                ticket.void = True
        self._tickets.clear()

    def reopen(self) -> None:
        """Invalidations arrive from now on."""
        self._open = True

    def _make_room(self) -> None:
        while self._bytes > self._limit and self._entries:
            self._remove(next(iter(self._entries)))
            self.counters.evictions += 1

    def _remove(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        entry.alive = False
        self._bytes -= entry.cost
        for request in entry.responses:
            self._responses.pop(request, None)
