"""ListCache on Redis: one key a list says what state it is in, and Lua scripts move it from one state to the next.

State of a list (its first byte): V a block, L being filled under a lease, D dirty (a write is under way), H a hub, F a
hub being filled; absent: unknown. A second key, the marks, holds the writes under way and, for a hub, the entries to
repair. Every key carries the user as its hash tag (Redis Cluster) and the name of the Redis instance: one that
restarted or was promoted may have lost invalidations, so nothing that was stored before it is ever read again
(docs/adr/0022).
"""

import hashlib
import secrets
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from services.graph_service.adapters.scripts import SOURCES
from services.graph_service.model.neighbors import Neighbor, Order, Position, rank
from services.graph_service.ports import HIDDEN, Block, Codec, HubPage, Lease, Told, Touched
from shared.errors import Unavailable

_HEADER = struct.Struct(">cQII")  # "V", stamp, count, automatic
_SIZE = _HEADER.size
_numbers = struct.Struct(">xQII").unpack_from  # the same without the letter
_WHOLE = ord("V")
_new: Callable[..., Block] = tuple.__new__
_STATES = {b"L": Told.FILLING, b"D": Told.DIRTY, b"H": Told.HUB, b"F": Told.HUB_FILLING}
_SEPARATOR = "\0"
CHANNEL = "brain2:graph"


class Commands(Protocol):
    """What is needed of shared.redis.Redis."""

    async def call(self, *args: str | bytes | int) -> Any: ...

    def script(self, source: str) -> Callable[..., Awaitable[Any]]: ...


class RedisLists:
    """See ListCache and Trust. mark_ms: life of a dirty mark, longer than any commit; lease_ms: of a fill; list_ms: of
    a list. instance: names the Redis that answers. check_leases=False is the planted bug of the state machine's own
    test: never set it elsewhere."""

    def __init__(
        self,
        redis: Commands,
        codec: Codec,
        instance: Callable[[], Awaitable[str]],
        *,
        hub_degree: int = 512,
        mark_ms: int = 15_000,
        lease_ms: int = 5_000,
        list_ms: int = 3_600_000,
        feed_entries: int = 10_000,
        feed_ms: int = 86_400_000,
        channel: str = CHANNEL,
        check_leases: bool = True,
    ) -> None:
        self._redis = redis
        self._codec = codec
        self._instance = instance
        self._fewest = hub_degree // 2
        self._mark_ms = mark_ms
        self._lease_ms = lease_ms
        self._list_ms = list_ms
        self._feed = (feed_entries, feed_ms)
        self._channel = channel
        self._check_leases = check_leases
        self._scripts = {name: redis.script(source) for name, source in SOURCES.items()}
        self._space = ""
        self._trusted = False

    # ------------------------------------------------------------------ trust
    @property
    def space(self) -> str:
        return self._space if self._trusted else ""

    @property
    def trusted(self) -> bool:
        return self._trusted

    def distrust(self) -> None:
        """The connection was lost: another instance may answer next."""
        self._trusted, self._space = False, ""

    async def probe(self) -> None:
        self._space = ""
        self._space = self._name(await self._instance())

    def trust(self) -> None:
        self._trusted = bool(self._space)

    async def verify(self) -> None:
        if self._trusted and self._name(await self._instance()) != self._space:
            self.distrust()

    @staticmethod
    def _name(instance: str) -> str:
        return hashlib.blake2b(instance.encode(), digest_size=5).hexdigest()

    def key(self, user: str, kind: str, note: str = "") -> str:
        """Keys of lists: a state, m marks, w t r a hub by weight, by time, its records; f the user's change feed."""
        if not self._space:
            raise _distrusted()
        return f"g:{self._space}:{{{user}}}:{kind}:{note}"

    def _checked(self) -> None:
        if not self._trusted:
            raise _distrusted()

    # ------------------------------------------------------------------ lists
    async def read(self, user: str, notes: Sequence[str]) -> Sequence[Block | Told]:
        if not self._trusted:
            raise _distrusted()
        stem = f"g:{self._space}:{{{user}}}:a:"
        return [_state(value) for value in await self._redis.call("MGET", *[stem + note for note in notes])]

    async def head(self, user: str, note: str) -> Block | None:
        if not self._trusted:
            raise _distrusted()
        stem = f"g:{self._space}:{{{user}}}:a:"
        nobody, value = await self._redis.call("MGET", stem + HIDDEN, stem + note)
        if nobody and value and nobody[0] == value[0] == _WHOLE and len(nobody) == _SIZE:
            return _new(Block, (*_numbers(value), value[_SIZE:]))
        return None

    async def lease(self, user: str, note: str, *, instead_of: int | None = None) -> Lease | Block | Told:
        self._checked()
        token = secrets.token_bytes(12)
        old = b"" if instead_of is None else struct.pack(">cQ", b"V", instead_of)
        state, stamp = await self._run("lease", [self.key(user, "a", note)], [token, self._lease_ms, old])
        return _state(state) if state else Lease(user, note, token, int(stamp))

    async def store(self, lease: Lease, block: Block) -> bool:
        self._checked()
        value = _HEADER.pack(b"V", block.stamp, block.size, block.auto) + block.packed
        key = self.key(lease.user, "a", lease.note)
        if not self._check_leases:
            await self._redis.call("SET", key, value, "PX", self._list_ms)
            return True
        return bool(await self._run("store", [key], [lease.token, value, self._list_ms]))

    async def begin(self, touched: Touched, writer: str) -> None:
        keys, members = self._touched(touched)
        await self._tell("begin", keys, [writer, self._mark_ms, self._channel, _message("L", touched), *members])

    async def finish(self, touched: Touched, writer: str) -> int:
        keys, members = self._touched(touched)
        # A hub with more repairs than a quarter of its least size is cheaper to fill again.
        args = [writer, self._channel, _message("L", touched), *self._feed, max(self._fewest // 2, 8), *members]
        return int(await self._tell("finish", [*keys, self.key(touched.user, "f")], [*args, *touched.feed]))

    async def _tell(self, name: str, keys: list[str], args: list[Any]) -> Any:
        try:
            return await self._run(name, keys, args)
        except Unavailable:
            # What it holds of these lists is no longer known to be right: the journal must be replayed first.
            self.distrust()
            raise

    async def announce_gone(self, user: str, notes: Sequence[str]) -> None:
        await self._redis.call("PUBLISH", self._channel, _SEPARATOR.join(("G", user, *notes)))

    # ------------------------------------------------------------------ hubs
    async def hub_lease(self, user: str, note: str) -> Lease | Told:
        self._checked()
        token = secrets.token_bytes(12)
        keys = [self.key(user, "a", note), self.key(user, "m", note)]
        state, stamp = await self._run("hub_lease", keys, [token, self._lease_ms, self._list_ms + 600_000])
        if state:
            return Told.HUB if state == b"H" else Told.HUB_FILLING
        return Lease(user, note, token, int(stamp))

    async def hub_stage(self, lease: Lease, neighbors: Sequence[Neighbor]) -> bool:
        keys = [self.key(lease.user, kind, lease.note) for kind in "am"] + self._staged(lease)
        types = ",".join(sorted({neighbor.type for neighbor in neighbors}))
        entries = [
            part for neighbor in neighbors for part in (*_ranks(neighbor), neighbor.member, self._record(neighbor))
        ]
        return bool(await self._run("hub_stage", keys, [lease.token, self._lease_ms, types, *entries]))

    async def hub_store(self, lease: Lease, auto: int) -> bool:
        live = [self.key(lease.user, kind, lease.note) for kind in "amwtr"]
        keys = live[:2] + self._staged(lease) + live[2:]
        return bool(await self._run("hub_store", keys, [lease.token, self._list_ms, self._list_ms + 600_000, auto]))

    async def hub_page(
        self, user: str, note: str, *, by_time: bool, after: Position | None, limit: int, ceiling: float | None
    ) -> HubPage | None:
        self._checked()
        keys = [self.key(user, kind, note) for kind in ("amtwr" if by_time else "amwtr")]
        position = ("", "") if after is None else (repr(after[0]), after[1])
        highest = "+inf" if ceiling is None else repr(ceiling)
        said = await self._run("hub_page", keys, [limit, *position, highest, self._fewest])
        if not said:
            return None
        stamp, count, auto, clean, repairs, records = said
        if None in records:
            return None
        neighbors = self._codec.unpack(b"".join([record[1:] for record in records]))
        texts = [part.decode() for part in repairs]
        return HubPage(
            int(stamp), count, int(auto), neighbors, list(zip(texts[::2], texts[1::2], strict=True)), bool(clean)
        )

    async def hub_repair(self, user: str, note: str, repairs: Sequence[tuple[str, str, Neighbor | None]]) -> None:
        args: list[Any] = []
        for member, token, now in repairs:
            if now is None:
                args += (member, token, "", "", "", b"")
            else:
                args += (member, token, now.type, *_ranks(now), self._record(now))
        await self._run("hub_repair", [self.key(user, kind, note) for kind in "amwtr"], args)

    async def hub_count(self, user: str, note: str, others: Sequence[str]) -> int:
        return int(await self._run("hub_count", [self.key(user, "m", note), self.key(user, "r", note)], list(others)))

    # ------------------------------------------------------------------ inside
    async def _run(self, name: str, keys: list[str], args: list[Any]) -> Any:
        return await self._scripts[name](keys=keys, args=args)

    def _staged(self, lease: Lease) -> list[str]:
        suffix = f"{lease.note}:{lease.token.hex()}"
        return [self.key(lease.user, kind, suffix) for kind in ("sw", "st", "sr")]

    def _record(self, neighbor: Neighbor) -> bytes:
        return (b"1" if neighbor.auto else b"0") + self._codec.pack([neighbor])

    def _touched(self, touched: Touched) -> tuple[list[str], list[Any]]:
        """KEYS and the members part of ARGV, as begin.lua and finish.lua want them."""
        by_note: dict[str, list[str]] = {}
        for note, member in touched.members:
            by_note.setdefault(note, []).append(member)
        keys: list[str] = []
        members: list[Any] = []
        for note, some in by_note.items():
            keys += (self.key(touched.user, "a", note), self.key(touched.user, "m", note))
            members += (len(some), *some)
        return keys, members


def parse_message(data: bytes) -> tuple[str, str, list[str]]:
    """What came through the channel: "L" lists changed or "G" notes are gone; the user; the notes."""
    kind, user, *notes = data.decode().split(_SEPARATOR)
    return kind, user, notes


def _message(kind: str, touched: Touched) -> str:
    return _SEPARATOR.join((kind, touched.user, *sorted(touched.notes)))


def _ranks(neighbor: Neighbor) -> tuple[str, str]:
    return repr(rank(neighbor, Order.WEIGHT)[0]), repr(rank(neighbor, Order.TIME)[0])


def _state(value: bytes | None) -> Block | Told:
    if not value:
        return Told.UNKNOWN
    if value[0] == _WHOLE:
        return _new(Block, (*_numbers(value), value[_SIZE:]))
    return _STATES[value[:1]]


def _distrusted() -> Unavailable:
    return Unavailable("Redis isn't trusted at the moment", reason="CACHE_DISTRUSTED")
