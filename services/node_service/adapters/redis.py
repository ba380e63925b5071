"""A cache of notes in Redis, around a NodeStore. It can be away or empty at any time: then the store answers.

What keeps it from serving what was overwritten (docs/adr/0011). A key holds one of three things:
    V <version, 16 digits> <note>   a note;
    L <random>                      a lease: somebody reads the note from the store and will put it here;
    W <random>                      a mark: somebody is writing the note.
A writer puts its mark before the transaction and replaces it by the new note after it: nobody gets or fills the old one
in between, and after a crash in between the mark keeps the key useless until it expires. A reader that finds nothing
takes a lease first, reads then, and may fill only while its lease is still there. A mark that could not be put (Redis
is cut off) is owed: this process bypasses the key, and removes what is there as soon as it can. That a note is missing
isn't cached.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from services.node_service.adapters import codec
from services.node_service.model import Node, Summary, Title
from services.node_service.ports import Change, NodeStore, Outcome, Position, Request
from shared.errors import Brain2Error, DataLoss
from shared.ids import Clock

log = logging.getLogger(__name__)

# Longer than a read, or a write with its retries, may take; a crashed writer costs this long a cache miss.
LEASE_MS = 5_000
MARK_MS = 15_000
# A larger note isn't worth its memory: reading it from the store costs little more than moving it.
MAX_VALUE_BYTES = 64 * 1024
MAX_OWED = 10_000
_VERSION_DIGITS = 16
_VALUE_HEAD = 1 + _VERSION_DIGITS

# What each key holds, cut to the first ARGV[1] bytes; "" for an absent key.
_HEADS = """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('GETRANGE', key, 0, ARGV[1]) end
return found
"""
# KEYS[1], my lease, value, TTL in ms: only while the lease is mine.
_FILL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
"""
# KEYS[1], my mark, value ("" = none), version, TTL in ms: the end of a write. Another's mark stays: that write decides.
_SETTLE = """
local held = redis.call('GET', KEYS[1])
if not held then return end
local kind = string.sub(held, 1, 1)
if held == ARGV[1] and ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
elseif held == ARGV[1] or kind == 'L' or (kind == 'V' and tonumber(string.sub(held, 2, 17)) < tonumber(ARGV[3])) then
  redis.call('DEL', KEYS[1])
end
"""


class Script(Protocol):
    """A Lua script (shared.redis)."""

    def __call__(self, *, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Awaitable[Any]: ...


class Redis(Protocol):
    """The part of shared.redis.Redis that is used here."""

    async def call(self, *args: str | bytes | int) -> Any: ...
    async def pipeline(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]: ...
    def script(self, source: str) -> Script: ...


class CachedNodeStore:
    """NodeStore (port): read() and titles() from Redis where it can, everything else from the store behind it."""

    def __init__(self, store: NodeStore, redis: Redis, clock: Clock, *, keep_seconds: int) -> None:
        self._store = store
        self._redis = redis
        self._clock = clock
        self._keep_ms = keep_seconds * 1000
        self._heads = redis.script(_HEADS)
        self._fill = redis.script(_FILL)
        self._settle = redis.script(_SETTLE)
        # Keys that may hold what was overwritten, until when (seconds, monotonic): after that they have expired.
        self._owed: dict[str, float] = {}
        # More keys than fit are owed: none is believed until then.
        self._distrust_until = 0.0

    # ------------------------------------------------------------------ reads

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> dict[str, Node]:
        held = await self._get_one(user_id, node_ids[0]) if len(node_ids) == 1 else await self._get(user_id, node_ids)
        found: dict[str, Node] = {}
        for node_id, value in held.items():
            node = _node(user_id, node_id, value)
            if node is not None and not self._behind(node, seen):
                found[node_id] = node
        return found | await self._miss(user_id, [each for each in node_ids if each not in found], held)

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> Mapping[str, Title]:
        held = await self._get(user_id, node_ids, heads=True)
        found: dict[str, Title] = {}
        for node_id, value in held.items():
            title = _title(user_id, node_id, value)
            if title is not None and not self._behind(title, seen):
                found[node_id] = title
        return found | await self._miss(user_id, [each for each in node_ids if each not in found], held)

    def _behind(self, note: Title, seen: Mapping[str, int]) -> bool:
        """Whether the caller knows better. Then what is cached is wrong for everybody, and goes."""
        behind = note.version < seen.get(note.node_id, 0)
        if behind:
            self._owe(_key(note.user_id, note.node_id))
        return behind

    async def _get_one(self, user_id: str, node_id: str) -> dict[str, bytes]:
        """What is held for one note; when nothing is, a lease of ours. One command either way."""
        key = _key(user_id, node_id)
        if self._bypassed(key):
            return {}
        lease = _token(b"L")
        try:
            held = await self._redis.call("SET", key, lease, "NX", "GET", "PX", LEASE_MS)
        except Brain2Error:
            return {}
        return {node_id: _OURS + lease if held is None else held}

    async def _get(self, user_id: str, node_ids: Sequence[str], *, heads: bool = False) -> dict[str, bytes]:
        """The same for many: one command for what is held, one round trip for the leases of the others."""
        wanted = [node_id for node_id in node_ids if not self._bypassed(_key(user_id, node_id))]
        if not wanted:
            return {}
        keys = [_key(user_id, node_id) for node_id in wanted]
        try:
            if heads:
                values = await self._heads(keys=keys, args=[_VALUE_HEAD + codec.HEAD_BYTES - 1])
            else:
                values = await self._redis.call("MGET", *keys)
            held = {node_id: value for node_id, value in zip(wanted, values, strict=True) if value}
            absent = [node_id for node_id in wanted if node_id not in held]
            leases = [_token(b"L") for _ in absent]
            answers = (
                await self._redis.pipeline(
                    [
                        ("SET", _key(user_id, node_id), lease, "NX", "PX", LEASE_MS)
                        for node_id, lease in zip(absent, leases, strict=True)
                    ]
                )
                if absent
                else []
            )
        except Brain2Error:
            return {}
        for node_id, lease, answer in zip(absent, leases, answers, strict=True):
            if answer is not None:
                held[node_id] = _OURS + lease
        return held

    async def _miss(self, user_id: str, node_ids: Sequence[str], held: Mapping[str, bytes]) -> dict[str, Node]:
        """Read from the store, and fill the keys whose leases are ours."""
        if not node_ids:
            return {}
        found = await self._store.read(user_id, node_ids, {})
        fills = [
            self._fill(keys=[_key(user_id, node_id)], args=[value[1:], encoded, self._keep_ms])
            for node_id in node_ids
            if (value := held.get(node_id, b"")).startswith(_OURS)
            and (node := found.get(node_id)) is not None
            and len(encoded := _value(node)) <= MAX_VALUE_BYTES
        ]
        if fills:
            for result in await asyncio.gather(*fills, return_exceptions=True):
                _ignored(result)
        return found

    # ------------------------------------------------------------------ writes

    async def commit(self, change: Change) -> Outcome:
        note = change.after or change.before
        if change.before is None or note is None:
            # A note that wasn't there isn't cached, and the first reader fills it.
            return await self._store.commit(change)
        key = _key(note.user_id, note.node_id)
        mark = await self._mark(key)
        try:
            outcome = await self._store.commit(change)
        finally:
            if mark is None:
                # Once more: the key may have been removed, and filled with the old note, before the write was done.
                self._owe(key)
        # Anything but a success leaves the mark to expire: whether and what was written isn't known here.
        if outcome is Outcome.DONE and mark is not None:
            await self._unmark(key, mark, change.after, note.version)
        return outcome

    async def _unmark(self, key: str, mark: bytes, after: Summary | None, version: int) -> None:
        value = _value(after) if isinstance(after, Node) else b""
        if len(value) > MAX_VALUE_BYTES:
            value = b""
        try:
            await self._settle(keys=[key], args=[mark, value, version, self._keep_ms])
        except Brain2Error:
            self._owe(key)

    async def _mark(self, key: str) -> bytes | None:
        """Make the key useless to readers; None when Redis doesn't answer, and then the key is owed."""
        mark = _token(b"W")
        try:
            await self._redis.call("SET", key, mark, "PX", MARK_MS)
        except Brain2Error:
            self._owe(key)
            return None
        return mark

    def _bypassed(self, key: str) -> bool:
        return bool(self._owed or self._distrust_until) and (
            key in self._owed or self._clock.monotonic() < self._distrust_until
        )

    def _owe(self, key: str) -> None:
        until = self._clock.monotonic() + max(self._keep_ms, MARK_MS) / 1000
        if len(self._owed) >= MAX_OWED and key not in self._owed:
            self._distrust_until = until
            return
        self._owed[key] = until

    async def repay(self) -> int:
        """Remove what is owed; how many keys are still owed. Called again and again by the composition root's loop."""
        now = self._clock.monotonic()
        for key, until in list(self._owed.items()):
            if until <= now:
                self._owed.pop(key, None)
        owed = dict(list(self._owed.items())[:500])
        if owed:
            try:
                await self._redis.pipeline([("DEL", key) for key in owed])
            except Brain2Error:
                return len(self._owed)
            for key, until in owed.items():
                # A write since then owes it again.
                if self._owed.get(key) == until:
                    del self._owed[key]
            log.info("removed from the cache what was written while it was away", extra={"keys": len(owed)})
        return len(self._owed)

    # ------------------------------------------------------------------ handed on

    async def current(self, user_id: str, node_id: str) -> Node | None:
        return await self._store.current(user_id, node_id)

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        return await self._store.current_summary(user_id, node_id)

    async def page(
        self, user_id: str, *, since_ms: int, until_ms: int, after: Position | None, limit: int
    ) -> list[Summary]:
        return await self._store.page(user_id, since_ms=since_ms, until_ms=until_ms, after=after, limit=limit)

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Node]:
        return await self._store.all_from(user_id, after, limit)

    async def commit_new(self, changes: Sequence[Change]) -> list[Outcome | Brain2Error]:
        return await self._store.commit_new(changes)

    async def answer(self, user_id: str, request: Request) -> Summary | None:
        return await self._store.answer(user_id, request)


# Before a lease that was taken by this very read; what Redis holds never begins so.
_OURS = b"!"


def _key(user_id: str, node_id: str) -> str:
    # The braces keep a user's keys on one shard, so that many are read by one command.
    return f"b2:n:{{{user_id}}}:{node_id}"


def _token(kind: bytes) -> bytes:
    return kind + secrets.token_bytes(8)


def _value(node: Node) -> bytes:
    return b"V%0*d" % (_VERSION_DIGITS, node.version) + codec.encode(node)


def _node(user_id: str, node_id: str, value: bytes) -> Node | None:
    if not value.startswith(b"V"):
        return None
    try:
        note = codec.decode(user_id, node_id, value[_VALUE_HEAD:])
    except DataLoss:  # of another release: the store knows
        return None
    return note if isinstance(note, Node) else None


def _title(user_id: str, node_id: str, value: bytes) -> Title | None:
    if not value.startswith(b"V"):
        return None
    try:
        return codec.decode_title(user_id, node_id, value[_VALUE_HEAD:])
    except DataLoss:
        return None


def _ignored(result: object) -> None:
    if isinstance(result, BaseException) and not isinstance(result, Brain2Error):
        raise result
