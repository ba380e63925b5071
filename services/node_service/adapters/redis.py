"""A cache of notes in Redis, around a NodeStore. Redis may be away or empty at any time: then the store answers.

A key holds one of three values (docs/adr/0011):
    V <version, 16 digits> <note>   an entry: the note, without its content if only the rest was asked for;
    L <random>                      a lease: a reader is reading the note from the store and will fill the key;
    W <random>                      an invalidation: a writer is changing the note.
A writer puts its invalidation before the transaction and replaces it by the new note afterwards. In between no reader
gets or fills the old note, and after a crash the invalidation keeps the key unusable until it expires. A reader that
finds no value takes a lease, reads the store, and fills the key only while its lease is still there. A creation takes
its lease before the transaction and fills the key afterwards, so the first read finds the note. A deletion or a restore
gets the entry that its invalidation replaces, and tries to write over that without a read of the store. When an
invalidation can't be put because Redis is away, it is pending: this process bypasses the key until it has removed it.
Missing notes are not cached.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from services.node_service.adapters import codec
from services.node_service.adapters.dynamo import MOVED_BYTES
from services.node_service.model import Node, Revision, Summary, Title
from services.node_service.ports import NodeStore, NodeWrite, Outcome, Position
from shared.errors import Brain2Error, DataLoss
from shared.idempotent import IdempotentRequest
from shared.ids import Clock
from shared.resilience.background import BackgroundTasks
from shared.resilience.slices import in_slices

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Title)
S = TypeVar("S", bound=Summary)
Read = Callable[[str, Sequence[str], Mapping[str, Revision]], Awaitable[Mapping[str, S]]]

# Longer than a read may take.
LEASE_MS = 5_000
# Longer than a write with its retries may take. After a crash of the writer the key is unusable for this long.
INVALIDATION_MS = 15_000
# An entry with more bytes than this has a content above MOVED_BYTES, for which likely() has no use.
_LIKELY_BYTES = 32 * 1024
# An invalidation that was put longer ago than this is put again before the write.
_BEGUN_SECONDS = 1.0
# Above this many pending invalidations all keys are bypassed.
MAX_PENDING = 10_000
# Keys that one call removes.
_REMOVED_AT_ONCE = 500
_VERSION_DIGITS = 16
_VALUE_HEAD = 1 + _VERSION_DIGITS

# The first ARGV[1] bytes of each key's value; "" for an absent key.
_HEADS = """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('GETRANGE', key, 0, ARGV[1]) end
return found
"""
# TTL of a lease in ms, a lease for each key. Of each key: all of an entry that comes before its content, another value
# whole, or "" for an absent key, which gets the lease.
_SUMMARIES = """
local found = {}
for i, key in ipairs(KEYS) do
  local start = redis.call('GETRANGE', key, 0, 23)
  local kind, form, _, _, a, b, c, d = string.byte(start, 1), string.byte(start, 18, 24)
  if start == '' then
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
    found[i] = ''
  elseif kind == 86 and form == 3 and d then
    found[i] = redis.call('GETRANGE', key, 0, 23 + ((a * 256 + b) * 256 + c) * 256 + d)
  else
    found[i] = redis.call('GET', key)
  end
end
return found
"""
# KEYS[1], invalidation, TTL in ms, bytes: the invalidation of a writer. Returns the value that it replaces, or "" if
# there is none or it has more bytes.
_BEGIN = """
local held = redis.call('STRLEN', KEYS[1]) <= tonumber(ARGV[3]) and redis.call('GET', KEYS[1]) or ''
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return held
"""
# KEYS[1], the caller's lease, entry, TTL in ms: fills the key if it still holds the lease.
_FILL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
"""
# KEYS[1], the caller's invalidation, entry ("" = none), version, TTL in ms: the end of a write. The invalidation of
# another writer stays, because that write ends later.
_COMPLETE = """
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
    """NodeStore (port): read(), summaries() and titles() use Redis, everything else goes to the store behind it."""

    def __init__(self, store: NodeStore, redis: Redis, clock: Clock, *, keep_seconds: int) -> None:
        self._store = store
        self._redis = redis
        self._clock = clock
        self._keep_ms = keep_seconds * 1000
        self._heads = redis.script(_HEADS)
        self._summaries = redis.script(_SUMMARIES)
        self._begin = redis.script(_BEGIN)
        self._fill = redis.script(_FILL)
        self._complete = redis.script(_COMPLETE)
        # Keys that may hold overwritten notes -> when these have expired (monotonic seconds).
        self._pending: dict[str, float] = {}
        # After more pending invalidations than fit, all keys are bypassed until then (monotonic seconds).
        self._bypass_all_until = 0.0
        # Keys of deletions and restores that have begun -> when (monotonic seconds), and their invalidations.
        self._begun: dict[str, tuple[float, bytes]] = {}
        # The ends of writes that are being sent to Redis.
        self._completing = BackgroundTasks()
        # Notes and titles that reads found in Redis, and those that they did not find.
        self.hits = self.misses = 0

    # ------------------------------------------------------------------ reads

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, Node]:
        held = await self._get(user_id, node_ids)
        found = await self._usable(held, _node, seen)
        missing = [each for each in node_ids if each not in found]
        return found | await self._miss(self._store.read, user_id, missing, held)

    async def summaries(
        self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]
    ) -> dict[str, Summary]:
        held = await self._get_summaries(user_id, node_ids)
        found = await self._usable(held, _summary, seen)
        missing = [each for each in node_ids if each not in found]
        return found | await self._miss(self._store.summaries, user_id, missing, _leases(held))

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> Mapping[str, Title]:
        held = await self._get_many(user_id, node_ids, heads=True)
        found = await self._usable(held, _title, seen)
        missing = [each for each in node_ids if each not in found]
        return found | await self._miss(self._store.summaries, user_id, missing, _leases(held))

    async def _usable(
        self, held: Mapping[str, bytes], decode: Callable[[bytes], T | None], seen: Mapping[str, Revision]
    ) -> dict[str, T]:
        """The entries that have what the reader asks for and are not stale."""
        # A hundred notes may have megabytes.
        decoded = zip(held, await in_slices(decode, held.values()), strict=True)
        usable = {node_id: note for node_id, note in decoded if note is not None and not self._is_stale(note, seen)}
        self.hits += len(usable)
        return usable

    def _is_stale(self, note: Title, seen: Mapping[str, Revision]) -> bool:
        """Whether the caller has seen a newer revision. Then the entry is removed for all readers."""
        stale = note.revision < seen.get(note.node_id, (0, 0))
        if stale:
            self._add_pending(_key(note.user_id, note.node_id))
        return stale

    async def _get(self, user_id: str, node_ids: Sequence[str]) -> dict[str, bytes]:
        if len(node_ids) == 1:
            return await self._get_one(user_id, node_ids[0])
        return await self._get_many(user_id, node_ids)

    async def _get_one(self, user_id: str, node_id: str) -> dict[str, bytes]:
        """The value for one note, or a lease of this read when the key is absent. One command either way."""
        key = _key(user_id, node_id)
        if self._bypassed(key):
            return {}
        lease = _token(b"L")
        try:
            held = await self._redis.call("SET", key, lease, "NX", "GET", "PX", LEASE_MS)
        except Brain2Error:
            return {}
        return {node_id: _OWN_LEASE + lease if held is None else held}

    async def _get_many(self, user_id: str, node_ids: Sequence[str], *, heads: bool = False) -> dict[str, bytes]:
        """The same for many notes: one command for the values, one round trip for the leases of absent keys."""
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
            absent = {_key(user_id, node_id): node_id for node_id in wanted if node_id not in held}
            leases = await self._take_leases(list(absent))
        except Brain2Error:
            return {}
        return held | {absent[key]: _OWN_LEASE + lease for key, lease in leases.items()}

    async def _get_summaries(self, user_id: str, node_ids: Sequence[str]) -> dict[str, bytes]:
        """The values without the contents, and leases of this read for absent keys. One command for all."""
        wanted = {node_id: key for node_id in node_ids if not self._bypassed(key := _key(user_id, node_id))}
        if not wanted:
            return {}
        leases = [_token(b"L") for _ in wanted]
        try:
            values = await self._summaries(keys=list(wanted.values()), args=[LEASE_MS, *leases])
        except Brain2Error:
            return {}
        return {
            node_id: value or _OWN_LEASE + lease for node_id, value, lease in zip(wanted, values, leases, strict=True)
        }

    async def _take_leases(self, keys: Sequence[str]) -> dict[str, bytes]:
        """By key, the leases that were given: one for each key without a value. One round trip for all of them."""
        if not keys:
            return {}
        leases = {key: _token(b"L") for key in keys}
        answers = await self._redis.pipeline(
            [("SET", key, lease, "NX", "PX", LEASE_MS) for key, lease in leases.items()]
        )
        return {key: leases[key] for key, answer in zip(keys, answers, strict=True) if answer is not None}

    async def _miss(
        self, read: Read[S], user_id: str, node_ids: Sequence[str], held: Mapping[str, bytes]
    ) -> dict[str, S]:
        """Read from the store, and fill the keys that still hold what this read found in them.

        That is this read's own lease, or an entry without the content that this read asks for.
        """
        if not node_ids:
            return {}
        self.misses += len(node_ids)
        found = dict(await read(user_id, node_ids, {}))
        fills = []
        entries = await in_slices(_entry, found.values())
        for (node_id, note), entry in zip(found.items(), entries, strict=True):
            value = held.get(node_id, b"")
            if value.startswith(_OWN_LEASE):
                expected = value.removeprefix(_OWN_LEASE)
            elif isinstance(note, Node) and _whole(value) is not None:
                expected = value
            else:
                continue
            fills.append(self._fill(keys=[_key(user_id, node_id)], args=[expected, entry, self._keep_ms]))
        if fills:
            for result in await asyncio.gather(*fills, return_exceptions=True):
                _ignored(result)
        return found

    async def likely(self, user_id: str, node_id: str) -> Summary | None:
        key = _key(user_id, node_id)
        if self._bypassed(key):
            return None
        invalidation = _token(b"W")
        try:
            held = await self._begin(keys=[key], args=[invalidation, INVALIDATION_MS, _LIKELY_BYTES])
        except Brain2Error:
            return None
        self._begun[key] = self._clock.monotonic(), invalidation
        note = _whole(held)
        # A deletion needs to know where a larger content is stored, which an entry lacks: such a note is read.
        return None if note is None or note.content_bytes > MOVED_BYTES else note

    async def release(self, user_id: str, node_id: str) -> None:
        key = _key(user_id, node_id)
        if key in self._begun:
            _, invalidation = self._begun.pop(key)
            # Nothing was written, so the key becomes absent, unless another writer has changed it.
            self._complete_later(self._complete_invalidation(key, invalidation, None, 0))

    # ------------------------------------------------------------------ writes

    async def commit(self, write: NodeWrite) -> Outcome:
        if write.before is None:
            leases = await self._lease_new([write])
            outcome = await self._store.commit(write)
            self._fill_new(leases, [(write.after, outcome)])
            return outcome
        note = write.after or write.before
        key = _key(note.user_id, note.node_id)
        invalidation = self._take_begun(key) or await self._invalidate(key)
        try:
            outcome = await self._store.commit(write)
        finally:
            if invalidation is None:
                # Added again: the key may have been removed, and filled with the old note, before the write was done.
                self._add_pending(key)
        # After any other outcome the invalidation is left to expire, because what was written isn't known here.
        if outcome is Outcome.DONE and invalidation is not None:
            self._complete_later(self._complete_invalidation(key, invalidation, write.after, note.version))
        return outcome

    async def commit_new(self, writes: Sequence[NodeWrite]) -> list[Outcome | Brain2Error]:
        leases = await self._lease_new(writes)
        outcomes = await self._store.commit_new(writes)
        # Without the contents: an import of many notes must not push out of Redis what is being read.
        notes = [_without_content(write.after) for write in writes]
        self._fill_new(leases, list(zip(notes, outcomes, strict=True)))
        return outcomes

    async def _lease_new(self, writes: Sequence[NodeWrite]) -> dict[str, bytes]:
        """By key, the leases of notes that are about to be created; none when Redis doesn't answer.

        They are taken before the transaction, because only then every later writer of the note ends them.
        """
        keys = [_key(write.after.user_id, write.after.node_id) for write in writes if write.after is not None]
        try:
            return await self._take_leases(keys)
        except Brain2Error:
            return {}

    def _fill_new(
        self, leases: Mapping[str, bytes], notes: Sequence[tuple[Summary | None, Outcome | Brain2Error]]
    ) -> None:
        """Fill the keys of notes that were created, and give back the leases of the others."""
        if leases:
            created = [note for note, outcome in notes if note is not None and outcome is Outcome.DONE]
            self._complete_later(self._complete_creations(leases, created))

    async def _complete_creations(self, leases: Mapping[str, bytes], created: Sequence[Summary]) -> None:
        keys = [_key(note.user_id, note.node_id) for note in created]
        entries = dict(zip(keys, await in_slices(_entry, created), strict=True))
        ends = [
            self._complete(keys=[key], args=[lease, entries.get(key, b""), 0, self._keep_ms])
            for key, lease in leases.items()
        ]
        for result in await asyncio.gather(*ends, return_exceptions=True):
            _ignored(result)

    def _complete_later(self, end: Coroutine[Any, Any, None]) -> None:
        """The writer needs not wait: until this has been done, readers get the note from the store."""
        self._completing.start(end)

    async def drain(self) -> None:
        """Wait until Redis has the ends of all writes."""
        await self._completing.drain()

    def _take_begun(self, key: str) -> bytes | None:
        """The invalidation that likely() has put for the write that begins now, if it lasts long enough for it."""
        since, invalidation = self._begun.pop(key, (0.0, None))
        return invalidation if self._clock.monotonic() < since + _BEGUN_SECONDS else None

    async def _invalidate(self, key: str) -> bytes | None:
        """Make the key unusable for readers. None when Redis doesn't answer: then the invalidation is pending."""
        invalidation = _token(b"W")
        try:
            await self._redis.call("SET", key, invalidation, "PX", INVALIDATION_MS)
        except Brain2Error:
            self._add_pending(key)
            return None
        return invalidation

    async def _complete_invalidation(self, key: str, invalidation: bytes, after: Summary | None, version: int) -> None:
        entry = _entry(after) if isinstance(after, Node) else b""
        try:
            await self._complete(keys=[key], args=[invalidation, entry, version, self._keep_ms])
        except Brain2Error:
            self._add_pending(key)

    def _bypassed(self, key: str) -> bool:
        return bool(self._pending or self._bypass_all_until) and (
            key in self._pending or self._clock.monotonic() < self._bypass_all_until
        )

    def _add_pending(self, key: str) -> None:
        until = self._clock.monotonic() + max(self._keep_ms, INVALIDATION_MS) / 1000
        if len(self._pending) >= MAX_PENDING and key not in self._pending:
            self._bypass_all_until = until
            return
        self._pending[key] = until

    async def remove_pending(self) -> int:
        """Carry out pending invalidations; returns how many are left. The composition root calls it at intervals."""
        now = self._clock.monotonic()
        for key, until in list(self._pending.items()):
            if until <= now:
                del self._pending[key]
        removed = dict(list(self._pending.items())[:_REMOVED_AT_ONCE])
        if removed:
            try:
                await self._redis.pipeline([("DEL", key) for key in removed])
            except Brain2Error:
                return len(self._pending)
            for key, until in removed.items():
                # A write since then has added it again.
                if self._pending.get(key) == until:
                    del self._pending[key]
            log.info("removed from Redis the notes that were written while it was away", extra={"keys": len(removed)})
        return len(self._pending)

    # ------------------------------------------------------------------ delegated

    async def current(self, user_id: str, node_id: str) -> Node | None:
        return await self._store.current(user_id, node_id)

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        return await self._store.current_summary(user_id, node_id)

    async def page(
        self, user_id: str, *, since_ms: int, until_ms: int, after: Position | None, limit: int
    ) -> list[Summary]:
        return await self._store.page(user_id, since_ms=since_ms, until_ms=until_ms, after=after, limit=limit)

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Summary]:
        return await self._store.all_from(user_id, after, limit)

    async def previous_answer(self, request: IdempotentRequest) -> Summary | None:
        return await self._store.previous_answer(request)


# Stands before a lease that this read has taken. No value in Redis begins with it.
_OWN_LEASE = b"!"


def _key(user_id: str, node_id: str) -> str:
    # The braces put all keys of a user on one shard of a cluster, so that one command reads many.
    return f"b2:n:{{{user_id}}}:{node_id}"


def _token(kind: bytes) -> bytes:
    return kind + secrets.token_bytes(8)


def _entry(note: Summary) -> bytes:
    return b"V%0*d" % (_VERSION_DIGITS, note.version) + codec.encode(note)


def _without_content(note: Summary | None) -> Summary | None:
    return note.summary() if isinstance(note, Node) else note


def _leases(held: Mapping[str, bytes]) -> dict[str, bytes]:
    return {node_id: value for node_id, value in held.items() if value.startswith(_OWN_LEASE)}


def _decoded(value: bytes, decode: Callable[[bytes], T]) -> T | None:
    if not value.startswith(b"V"):
        return None
    try:
        return decode(value[_VALUE_HEAD:])
    except DataLoss:  # written by another release: a miss
        return None


def _whole(value: bytes) -> Summary | None:
    """All that the entry has: a Node, or a Summary."""
    return _decoded(value, codec.decode)


def _node(value: bytes) -> Node | None:
    note = _whole(value)
    return note if isinstance(note, Node) else None


def _summary(value: bytes) -> Summary | None:
    return _decoded(value, codec.decode_summary)


def _title(value: bytes) -> Title | None:
    return _decoded(value, codec.decode_title)


def _ignored(result: object) -> None:
    if isinstance(result, BaseException) and not isinstance(result, Brain2Error):
        raise result
