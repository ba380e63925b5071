"""From DynamoDB through Redis into memory: how a note's list is found, and why it is never a wrong one (docs/adr/0020).

- What memory holds was stored there after a ticket, what Redis holds was stored there under a lease; a writer voids
both.
- A read that can't be sure (a write is under way, Redis is away, the caller's token can't be verified) asks DynamoDB
  with a consistent read and stores nothing.
- Concurrent misses of one list are one read; an invalidation lets later readers begin a new one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from services.graph_service.model.neighbors import Neighbor, by_weight
from services.graph_service.model.token import Token
from services.graph_service.ports import HIDDEN, Block, Codec, EdgeStore, Lease, ListCache, Told
from services.graph_service.usecases.l1 import L1, Entry
from shared.errors import Unavailable
from shared.ids import Clock
from shared.resilience.singleflight import SingleFlight

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """hub_degree: a list with more edges is a hub. page: edges of one DynamoDB read. reads: at once, of all users.

    filling_wait: seconds to wait for another process's fill before asking DynamoDB ourselves. list_ttl: seconds that
    Redis keeps a list; a token older than that needs no check. hub_wait: seconds that a reader waits for a hub's list
    to be filled before it goes through the hub's edges itself.
    """

    hub_degree: int = 512
    page: int = 1000
    reads: int = 32
    filling_wait: float = 0.05
    list_ttl: float = 3600.0
    hub_wait: float = 3.0


DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class Found:
    """A list. block None: a hub; then truth says that only DynamoDB may be asked. entry: it is in memory as well."""

    block: Block | None
    entry: Entry | None = None
    truth: bool = False

    @property
    def stamp(self) -> int:
        return self.block.stamp if self.block is not None else 0


@dataclass(slots=True)
class Look:
    """What one look at some lists of a user found. hidden_entry: the set is in memory, so answers may be kept."""

    hidden: frozenset[str] = frozenset()
    hidden_entry: Entry | None = None
    found: dict[str, Found] = field(default_factory=dict)


class Adjacency:
    """Finds lists of neighbours, and the set of hidden notes, which is kept in the same way."""

    def __init__(
        self,
        store: EdgeStore,
        cache: ListCache,
        l1: L1,
        codec: Codec,
        clock: Clock,
        limits: Limits = DEFAULTS,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._cache = cache
        self._l1 = l1
        self._codec = codec
        self._clock = clock
        self._limits = limits
        self._sleep = sleep
        self._flights: SingleFlight[Found] = SingleFlight()
        self._reads = asyncio.Semaphore(limits.reads)

    def invalidate(self, user: str, notes: Sequence[str] | frozenset[str]) -> None:
        """These lists may have changed: forget them, and let nobody who asks from now on share a read that runs."""
        for note in notes:
            self._l1.drop(user, note)
            self._flights.forget((user, note))

    async def look(self, user: str, notes: Sequence[str], token: Token | None = None) -> Look:
        """The lists of these notes and the user's hidden set; one round trip to Redis for all that memory lacks."""
        look = Look()
        wanted: list[str] = []
        entry = self._l1.get(user, HIDDEN)
        if entry is None:
            wanted.append(HIDDEN)
        else:
            look.hidden, look.hidden_entry = entry.hidden, entry
        for note in notes:
            entry = self._l1.get(user, note)
            # A hub's entry only carries answers; whoever needs another page of it asks Redis.
            if entry is not None and entry.block is not None and self.satisfied(note, entry.stamp, token):
                look.found[note] = Found(entry.block, entry)
            else:
                wanted.append(note)
        if wanted:
            await self._find(look, user, wanted, token)
        return look

    async def head(self, user: str, note: str) -> tuple[Block, Entry | None, Entry | None] | None:
        """The usual case of look(), made short: a list that memory or Redis holds whole, of a user who hides nothing.

        With its entry and that of the hidden set, when they are in memory. None: anything else, use look().
        """
        l1 = self._l1
        hidden, entry = l1.get(user, HIDDEN), l1.get(user, note)
        if hidden is not None and entry is not None:
            return None if hidden.hidden or entry.block is None else (entry.block, entry, hidden)
        for_hidden, for_list = l1.ticket(user, HIDDEN), l1.ticket(user, note)
        try:
            nobody, block = await self._cache.read(user, (HIDDEN, note))
            if type(block) is not Block or type(nobody) is not Block or nobody.size:
                return None
            if for_list.void:
                return block, None, None
            return block, l1.put(for_list, block, block.stamp), l1.put(for_hidden, nobody, nobody.stamp)
        except Unavailable:
            return None
        finally:
            if not for_list.void:
                l1.discard(for_list)
            if not for_hidden.void:
                l1.discard(for_hidden)

    def shared_head(self, user: str, note: str) -> Awaitable[Block | None]:
        """The same where memory holds nothing; Unavailable when Redis is away."""
        return self._cache.head(user, note)

    async def hidden(self, user: str) -> frozenset[str]:
        """The user's hidden notes."""
        return (await self.look(user, ())).hidden

    def satisfied(self, note: str, stamp: int, token: Token | None) -> bool:
        """Whether a list whose fill began at `stamp` must have what the token stands for."""
        if token is None or not token.concerns(note):
            return True
        if self._verifiable(token):
            return stamp > token.stamp
        return self._clock.now_ms() - token.wall_ms > (self._limits.list_ttl + 60) * 1000

    def truth_only(self, note: str, token: Token | None) -> bool:
        """Whether only DynamoDB can tell what this token asks for."""
        return not self.satisfied(note, 0, token) and token is not None and not self._verifiable(token)

    def _verifiable(self, token: Token) -> bool:
        return token.stamp > 0 and token.space == self._cache.space

    # ------------------------------------------------------------------ looking
    async def _find(self, look: Look, user: str, wanted: list[str], token: Token | None) -> None:
        tickets = [self._l1.ticket(user, note) for note in wanted]
        slow: list[tuple[str, Told | Block]] = []
        try:
            told = await self._read_cache(user, wanted)
            for note, ticket, said in zip(wanted, tickets, told, strict=True):
                if type(said) is Block and self.satisfied(note, said.stamp, token):
                    self._keep(look, note, Found(said, self._l1.put(ticket, said, said.stamp)))
                elif said is Told.HUB and not self.truth_only(note, token):
                    self._keep(look, note, Found(None))
                else:
                    slow.append((note, said))
        finally:
            for ticket in tickets:
                self._l1.discard(ticket)
        if len(slow) == 1:
            self._keep(look, slow[0][0], await self._settle(user, *slow[0], token))
        elif slow:
            settled = await asyncio.gather(*(self._settle(user, note, said, token) for note, said in slow))
            for (note, _), found in zip(slow, settled, strict=True):
                self._keep(look, note, found)

    def _keep(self, look: Look, note: str, found: Found) -> None:
        if note != HIDDEN:
            look.found[note] = found
            return
        look.hidden_entry = found.entry
        if found.entry is not None:
            look.hidden = found.entry.hidden
        elif found.block is not None and found.block.packed:
            look.hidden = frozenset(found.block.packed.decode().split("\n"))

    async def _read_cache(self, user: str, notes: Sequence[str]) -> Sequence[Block | Told]:
        try:
            return await self._cache.read(user, notes)
        except Unavailable:
            return [Told.DIRTY] * len(notes)  # nothing may be served from there, nothing may be stored

    async def _settle(self, user: str, note: str, said: Block | Told, token: Token | None) -> Found:
        """What Redis couldn't answer by itself."""
        if self.truth_only(note, token):
            return await self._direct(user, note)
        if said is Told.HUB_FILLING:
            return Found(None)
        key = (user, note)
        if said is Told.DIRTY:
            found = await self._flights.do(key, lambda: self._direct(user, note))
        else:
            stale = said.stamp if type(said) is Block else None
            found = await self._flights.do(key, lambda: self._fill(user, note, stale))
        if found.block is None or self.satisfied(note, found.stamp, token):
            return found
        # Shared with one who asked before the token's write, or not verifiable: our own read begins now.
        return await self._direct(user, note)

    async def _fill(self, user: str, note: str, stale: int | None) -> Found:
        """Read the truth and store it, if a lease can be had."""
        ticket = self._l1.ticket(user, note)
        try:
            try:
                got = await self._lease(user, note, stale)
                if isinstance(got, Block):
                    return Found(got, self._l1.put(ticket, got, got.stamp))
                if isinstance(got, Told):
                    return Found(None) if got in (Told.HUB, Told.HUB_FILLING) else await self._direct(user, note)
            except Unavailable:
                return await self._direct(user, note)
            found = await self._direct(user, note, got.stamp)
            if found.block is None:
                return found
            if await self._stored(got, found.block):
                return Found(found.block, self._l1.put(ticket, found.block, got.stamp))
            return Found(Block(0, found.block.size, found.block.auto, found.block.packed))
        finally:
            self._l1.discard(ticket)

    async def _lease(self, user: str, note: str, stale: int | None) -> Lease | Block | Told:
        """A lease, or what is there; waits a little for another process's fill."""
        ends = self._clock.monotonic() + self._limits.filling_wait
        pause = 0.002
        while True:
            got = await self._cache.lease(user, note, instead_of=stale)
            if got is not Told.FILLING or self._clock.monotonic() >= ends:
                return got
            await self._sleep(pause)
            pause = min(2 * pause, 0.016)

    async def _stored(self, lease: Lease, block: Block) -> bool:
        try:
            return await self._cache.store(lease, block)
        except Unavailable:
            return False

    # ------------------------------------------------------------------ the truth
    async def _direct(self, user: str, note: str, stamp: int = 0) -> Found:
        """Straight from DynamoDB, consistent; a list longer than a hub's limit isn't collected here."""
        async with self._reads:
            if note == HIDDEN:
                ids = await self._store.hidden(user)
                return Found(Block(stamp, len(ids), 0, "\n".join(ids).encode()))
            collected: list[Neighbor] = []
            after: str | None = None
            while True:
                # One page tells a hub from a list; a list's own pages are cut by DynamoDB at 1 MB only.
                limit = min(self._limits.page, self._limits.hub_degree + 1 - len(collected))
                part = await self._store.neighbors(user, note, after=after, limit=limit)
                collected.extend(part.neighbors)
                after = part.next
                if len(collected) > self._limits.hub_degree:
                    return Found(None, truth=not self._cache.space)
                if after is None:
                    break
        collected.sort(key=by_weight)
        auto = sum(neighbor.auto for neighbor in collected)
        return Found(Block(stamp, len(collected), auto, self._codec.pack(collected)))
