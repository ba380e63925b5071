"""ListCache in Redis: one key holds the state of a list, and Lua scripts change it atomically (docs/list-cache.md).

The first byte of the state is V: a packed list, L: being filled under a lease, D: dirty (a write is pending), H: a hub,
F: a hub being filled. No key: missing. A second key holds the pending writes of the list and, for a hub, the entries to
repair. Every key contains the user as its hash tag (Redis Cluster). After V and H stands the space, the name of the
Redis instance: an instance that restarted or was promoted may have lost invalidations, so what was stored before is
never read again (docs/adr/0022). The keys and all other states are the same in every space, so a write ends what is
stored in whichever space (docs/adr/0092).
"""

import hashlib
import secrets
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from services.graph_service.adapters.scripts import SOURCES
from services.graph_service.model.neighbors import Neighbor, Order, Position, rank
from services.graph_service.ports import (
    HIDDEN,
    CacheState,
    Codec,
    HubPage,
    Invalidation,
    Lease,
    PackedList,
    VisibilityRecord,
)
from shared.errors import Unavailable

_HEADER = struct.Struct(">c10sQII")  # "V", space, stamp, edges, automatic edges
_SIZE = _HEADER.size
_numbers = struct.Struct(">11xQII").unpack_from  # the same without "V" and the space
_STAMP = struct.Struct(">Q")
_new: Callable[..., PackedList] = tuple.__new__
_STATES = {b"L": CacheState.FILLING, b"D": CacheState.DIRTY, b"F": CacheState.HUB_FILLING}
# In the place of a space while Redis is disabled: what a reply brings then is of no space.
_NO_SPACE = "-"
_SEPARATOR = "\0"
CHANNEL = "brain2:graph"


class Commands(Protocol):
    """The part of shared.redis.Redis that is used."""

    async def call(self, *args: str | bytes | int) -> Any: ...

    def script(self, source: str) -> Callable[..., Awaitable[Any]]: ...


class RedisLists:
    """See ListCache and RecoverableCache. All times are in milliseconds.

    instance: asks for the name of the Redis instance that answers.
    hub_degree: a note with more edges than this is a hub.
    pending_write_ms: the life of a pending write, longer than any commit.
    lease_ms, list_ms: the lives of a lease and of a stored list.
    feed_entries, feed_ms: the size and the life of a user's change feed.
    """

    def __init__(
        self,
        redis: Commands,
        codec: Codec,
        instance: Callable[[], Awaitable[str]],
        *,
        hub_degree: int = 512,
        pending_write_ms: int = 15_000,
        lease_ms: int = 5_000,
        list_ms: int = 3_600_000,
        feed_entries: int = 10_000,
        feed_ms: int = 86_400_000,
    ) -> None:
        self._redis = redis
        self._codec = codec
        self._instance = instance
        self._min_hub_size = hub_degree // 2
        self._pending_write_ms = pending_write_ms
        self._lease_ms = lease_ms
        self._list_ms = list_ms
        self._feed = (feed_entries, feed_ms)
        self._scripts = {name: redis.script(source) for name, source in SOURCES.items()}
        # How often the connection was lost.
        self._losses = 0
        self.disable()
        # Lists that a read found whole in Redis, or as a hub, and lists that it did not find.
        self.hits = self.misses = 0

    # ------------------------------------------------------------------ instance
    @property
    def space(self) -> str:
        return self._space if self._enabled else ""

    @property
    def enabled(self) -> bool:
        return self._enabled

    def disable(self) -> None:
        """The connection was lost, and another instance may answer next."""
        self._enabled, self._space = False, ""
        self._losses += 1
        self._read_from(_NO_SPACE)

    async def identify_instance(self) -> None:
        self._space, losses = "", self._losses
        name = self._name(await self._instance())
        if losses != self._losses:
            raise Unavailable("a connection was lost: another instance may answer now", reason="REDIS_LOST")
        self._space = name

    def enable(self) -> None:
        if self._space:
            self._enabled = True
            self._read_from(self._space)

    def _read_from(self, space: str) -> None:
        """Take for lists of this process's space those that begin with it."""
        self._packed, self._hub = b"V" + space.encode(), b"H" + space.encode()

    async def check_instance(self) -> None:
        if self._enabled and self._name(await self._instance()) != self._space:
            self.disable()

    @staticmethod
    def _name(instance: str) -> str:
        return hashlib.blake2b(instance.encode(), digest_size=5).hexdigest()

    def key(self, user_id: str, kind: str, node_id: str = "") -> str:
        """kind: a state, m pending writes and repairs, v pending visibilities; w, t, r a hub by weight, by time, its
        records; f change feed."""
        if not self._space:
            raise _disabled()
        return f"g:{{{user_id}}}:{kind}:{node_id}"

    def _check_enabled(self) -> None:
        if not self._enabled:
            raise _disabled()

    # ------------------------------------------------------------------ lists
    async def read(self, user_id: str, node_ids: Sequence[str]) -> Sequence[PackedList | CacheState]:
        if not self._enabled:
            raise _disabled()
        stem = f"g:{{{user_id}}}:a:"
        values = await self._redis.call("MGET", *[stem + node_id for node_id in node_ids])
        states = [self._state(value) for value in values]
        # A packed list, or a hub, whose pages are read from Redis, answers the read.
        found = sum(1 for state in states if type(state) is PackedList or state is CacheState.HUB)
        self.hits += found
        self.misses += len(states) - found
        return states

    async def read_whole(self, user_id: str, node_id: str) -> PackedList | None:
        if not self._enabled:
            raise _disabled()
        stem = f"g:{{{user_id}}}:a:"
        hidden, value = await self._redis.call("MGET", stem + HIDDEN, stem + node_id)
        packed = self._packed
        if hidden and value and hidden.startswith(packed) and value.startswith(packed) and len(hidden) == _SIZE:
            self.hits += 1
            return _new(PackedList, (*_numbers(value), value[_SIZE:]))
        self.misses += 1
        return None

    async def lease(
        self, user_id: str, node_id: str, *, instead_of: int | None = None
    ) -> Lease | PackedList | CacheState:
        self._check_enabled()
        token, space = secrets.token_bytes(12), self._space
        keys = [self.key(user_id, "a", node_id), self.key(user_id, "m", node_id)]
        old = b"" if instead_of is None else _STAMP.pack(instead_of)
        state, stamp = await self._run("lease", keys, [token, self._lease_ms, space, old])
        return self._state(state) if state else Lease(user_id, node_id, token, int(stamp), space)

    async def store(self, lease: Lease, packed_list: PackedList) -> bool:
        self._check_enabled()
        if self._has_ended(lease):
            return False
        args = [lease.token, encode(packed_list, lease.space), self._list_ms]
        stored = await self._run("store", [self.key(lease.user_id, "a", lease.node_id)], args)
        return bool(stored) and not self._has_ended(lease)

    async def begin(self, invalidation: Invalidation, writer: str, visibility: VisibilityRecord | None = None) -> None:
        keys, args = self._invalidation_args(invalidation)
        if visibility is not None:
            keys.append(self.key(invalidation.user_id, "v", HIDDEN))
            args.append(_visibility_text(visibility))
        await self._invalidate(
            "begin", keys, [writer, self._pending_write_ms, CHANNEL, _message("L", invalidation), *args]
        )

    async def finish(self, invalidation: Invalidation, writer: str) -> int:
        keys, members = self._invalidation_args(invalidation)
        # A hub with more repairs than a quarter of hub_degree is cheaper to fill again.
        args = [writer, CHANNEL, _message("L", invalidation), *self._feed, max(self._min_hub_size // 2, 8), *members]
        if HIDDEN in invalidation.node_ids:
            keys.append(self.key(invalidation.user_id, "v", HIDDEN))
        keys.append(self.key(invalidation.user_id, "f"))
        return int(await self._invalidate("finish", keys, [*args, *invalidation.feed]))

    async def _invalidate(self, name: str, keys: list[str], args: list[Any]) -> Any:
        try:
            return await self._run(name, keys, args)
        except Unavailable:
            # Redis may hold these lists from before the write: the journal must be replayed first.
            self.disable()
            raise

    async def pending_visibilities(self, user_id: str) -> Sequence[VisibilityRecord]:
        # Also before the cache is enabled: announcements are made then, too.
        return [_visibility(text) for text in await self._run("visibilities", [self.key(user_id, "v", HIDDEN)], [])]

    async def invalidate_nodes(self, user_id: str, node_ids: Sequence[str]) -> None:
        await self._redis.call("PUBLISH", CHANNEL, _SEPARATOR.join(("G", user_id, *node_ids)))

    # ------------------------------------------------------------------ hubs
    async def hub_lease(self, user_id: str, node_id: str) -> Lease | CacheState:
        self._check_enabled()
        token, space = secrets.token_bytes(12), self._space
        keys = [self.key(user_id, "a", node_id), self.key(user_id, "m", node_id)]
        state, stamp = await self._run("hub_lease", keys, [token, self._lease_ms, self._list_ms + 600_000, space])
        if state:
            return CacheState.HUB if state == b"H" else CacheState.HUB_FILLING
        return Lease(user_id, node_id, token, int(stamp), space)

    async def hub_stage(self, lease: Lease, neighbors: Sequence[Neighbor]) -> bool:
        if self._has_ended(lease):
            return False
        keys = [self.key(lease.user_id, kind, lease.node_id) for kind in "am"] + self._staged(lease)
        types = ",".join(sorted({neighbor.type for neighbor in neighbors}))
        entries = [
            part for neighbor in neighbors for part in (*_ranks(neighbor), neighbor.member, self._record(neighbor))
        ]
        return bool(await self._run("hub_stage", keys, [lease.token, self._lease_ms, types, *entries]))

    async def hub_store(self, lease: Lease, auto: int) -> bool:
        if self._has_ended(lease):
            return False
        live = [self.key(lease.user_id, kind, lease.node_id) for kind in "amwtr"]
        keys = live[:2] + self._staged(lease) + live[2:]
        args = [lease.token, self._list_ms, self._list_ms + 600_000, auto, lease.space, self._min_hub_size]
        return bool(await self._run("hub_store", keys, args))

    async def hub_page(
        self, user_id: str, node_id: str, *, by_time: bool, after: Position | None, limit: int, ceiling: float | None
    ) -> HubPage | None:
        self._check_enabled()
        keys = [self.key(user_id, kind, node_id) for kind in ("amtwr" if by_time else "amwtr")]
        position = ("", "") if after is None else (repr(after[0]), after[1])
        highest = "+inf" if ceiling is None else repr(ceiling)
        reply = await self._run("hub_page", keys, [limit, *position, highest, self._min_hub_size, self._space])
        if not reply:
            return None
        stamp, count, auto, clean, repairs, records = reply
        if None in records:
            return None
        neighbors = self._codec.unpack(b"".join([record[1:] for record in records]))
        texts = [part.decode() for part in repairs]
        return HubPage(
            int(stamp), count, int(auto), neighbors, list(zip(texts[::2], texts[1::2], strict=True)), bool(clean)
        )

    async def hub_repair(self, user_id: str, node_id: str, repairs: Sequence[tuple[str, str, Neighbor | None]]) -> None:
        args: list[Any] = [self._space]
        for member, token, now in repairs:
            if now is None:
                args += (member, token, "", "", "", b"")
            else:
                args += (member, token, now.type, *_ranks(now), self._record(now))
        await self._run("hub_repair", [self.key(user_id, kind, node_id) for kind in "amwtr"], args)

    async def hub_count(self, user_id: str, node_id: str, others: Sequence[str]) -> int:
        keys = [self.key(user_id, kind, node_id) for kind in "mr"]
        return int(await self._run("hub_count", keys, list(others)))

    async def _run(self, name: str, keys: list[str], args: list[Any]) -> Any:
        return await self._scripts[name](keys=keys, args=args)

    def _state(self, value: bytes | None) -> PackedList | CacheState:
        """What a list's key holds, for the readers of this space."""
        if not value:
            return CacheState.MISSING
        if value.startswith(self._packed):
            return _new(PackedList, (*_numbers(value), value[_SIZE:]))
        if value == self._hub:
            return CacheState.HUB
        return _STATES.get(value[:1], CacheState.MISSING)

    def _has_ended(self, lease: Lease) -> bool:
        """Whether it was given in another space, whose last writes this instance may not know."""
        if not self._space:
            raise _disabled()
        return lease.space != self._space

    def _staged(self, lease: Lease) -> list[str]:
        suffix = f"{lease.node_id}:{lease.token.hex()}"
        return [self.key(lease.user_id, kind, suffix) for kind in ("sw", "st", "sr")]

    def _record(self, neighbor: Neighbor) -> bytes:
        return (b"1" if neighbor.auto else b"0") + self._codec.pack([neighbor])

    def _invalidation_args(self, invalidation: Invalidation) -> tuple[list[str], list[Any]]:
        """KEYS, and the part of ARGV with the members, of begin.lua and finish.lua."""
        by_node: dict[str, list[str]] = {}
        for node_id, member in invalidation.members:
            by_node.setdefault(node_id, []).append(member)
        keys: list[str] = []
        members: list[Any] = []
        for node_id, some in by_node.items():
            keys += (self.key(invalidation.user_id, "a", node_id), self.key(invalidation.user_id, "m", node_id))
            members += (len(some), *some)
        return keys, members


def parse_message(data: bytes) -> tuple[str, str, list[str]]:
    """The kind of a published message ("L": lists changed, "G": notes changed), the user and the notes."""
    kind, user_id, *node_ids = data.decode().split(_SEPARATOR)
    return kind, user_id, node_ids


def _message(kind: str, invalidation: Invalidation) -> str:
    return _SEPARATOR.join((kind, invalidation.user_id, *sorted(invalidation.node_ids)))


def _visibility_text(record: VisibilityRecord) -> str:
    return f"{record.incarnation} {record.version} {int(record.hidden)} {record.node_id}"


def _visibility(text: bytes) -> VisibilityRecord:
    """The record of what begin.lua stores: the end of its life, and the text of the record."""
    _, incarnation, version, hidden, node_id = text.decode().split(" ", 4)
    return VisibilityRecord(node_id, int(version), hidden == "1", int(incarnation))


def _ranks(neighbor: Neighbor) -> tuple[str, str]:
    return repr(rank(neighbor, Order.WEIGHT)[0]), repr(rank(neighbor, Order.TIME)[0])


def encode(packed_list: PackedList, space: str) -> bytes:
    """A packed list as it is stored."""
    header = _HEADER.pack(b"V", space.encode(), packed_list.stamp, packed_list.size, packed_list.auto)
    return header + packed_list.packed


def _disabled() -> Unavailable:
    return Unavailable("Redis is disabled until the journal is replayed", reason="CACHE_DISABLED")
