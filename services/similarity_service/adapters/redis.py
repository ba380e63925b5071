"""The change log as one Redis stream for each user: sim:{user}:log, with the user as hash tag.

A reader asks for the entries from its last one on, that one included: if it is still there, nothing after it can be
missing, because streams lose entries from the old end only (by trimming, expiry or a lost server). If it is not, there
is a gap. A position is an entry's id and a random number, since a log that was lost may give the same id again.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from services.similarity_service.ports import Announcement, LogEntry, LogGap
from shared.redis import Redis

_MOST = 10_000
_DAYS = 7
# The node id of an entry without a change, which gives an empty log its first position.
_ANCHOR = "-"
# The names and values of an entry that is no announcement.
_FIELDS = 4
# The time in seconds and microseconds, of the server that has the log KEYS[1] and gives its entries their ids.
_TIME = "return redis.call('TIME')"


class RedisChangeLog:
    """ports.ChangeLog. keep: entries kept at least; seconds: how long an idle user's log lives."""

    def __init__(self, redis: Redis, *, keep: int = _MOST, seconds: int = _DAYS * 86_400) -> None:
        self._redis = redis
        self._time = redis.script(_TIME)
        self._keep = keep
        self._seconds = seconds

    async def append(self, user_id: str, entries: Sequence[LogEntry]) -> None:
        if entries:
            commands = [self._add(user_id, entry) for entry in entries]
            await self._redis.pipeline([*commands, ("EXPIRE", _key(user_id), self._seconds)])

    async def tail(self, user_id: str) -> str:
        last = await self._redis.call("XREVRANGE", _key(user_id), "+", "-", "COUNT", 1)
        if last:
            return _entry(last[0]).position
        await self.append(user_id, [LogEntry(_ANCHOR, 0, 0, False)])
        # Another process may have appended too. Whatever was appended before the anchor is in the records already.
        first = await self._redis.call("XRANGE", _key(user_id), "-", "+", "COUNT", 1)
        if not first:
            raise LogGap("the log vanished while it was begun")
        return _entry(first[0]).position

    async def since(self, user_id: str, position: str) -> Sequence[LogEntry]:
        entries = await self._redis.call("XRANGE", _key(user_id), position.partition("/")[0], "+")
        if not entries or _entry(entries[0]).position != position:
            raise LogGap("the change log no longer holds the last entry that was read")
        found = [_entry(each) for each in entries[1:]]
        if any(entry.announcement is not None for entry in found):
            now = await self._now_ms(user_id)
            found = [_with_age(entry, now) for entry in found]
        return found

    async def announcements(self, user_id: str, position: str, seconds: float) -> Sequence[LogEntry]:
        last = position.partition("/")[0]
        now = await self._now_ms(user_id)
        first = max(now - round(seconds * 1000), 0)
        entries = await self._redis.call("XRANGE", _key(user_id), first, last)
        # Few entries are, and the others may be many: they are not decoded.
        return [_with_age(_entry(each), now) for each in entries if len(each[1]) > _FIELDS]

    async def _now_ms(self, user_id: str) -> int:
        seconds, microseconds = await self._time(keys=[_key(user_id)])
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _add(self, user_id: str, entry: LogEntry) -> tuple[str | int, ...]:
        state = f"{entry.incarnation}:{entry.version}:{int(entry.visible)}:{random.getrandbits(32):x}"
        # A field of its own, which a process of an earlier release ignores: it finds the change when it is stored.
        announced = () if entry.announcement is None else ("a", _packed(entry.announcement))
        return ("XADD", _key(user_id), "MAXLEN", "~", self._keep, "*", "n", entry.node_id, "s", state, *announced)


def _key(user_id: str) -> str:
    return f"sim:{{{user_id}}}:log"


def _entry(item: Any) -> LogEntry:
    position, fields = item
    values = {_text(fields[at]): _text(fields[at + 1]) for at in range(0, len(fields), 2)}
    incarnation, version, visible, nonce = values["s"].split(":")
    announcement = _announcement(values["a"]) if "a" in values else None
    place = f"{_text(position)}/{nonce}"
    return LogEntry(values["n"], int(incarnation), int(version), visible == "1", place, announcement)


def _with_age(entry: LogEntry, now_ms: int) -> LogEntry:
    # A replica that was promoted may be behind: its clock must not make an announcement younger than it can be.
    milliseconds = int(entry.position.partition("-")[0])
    return replace(entry, age=max(now_ms - milliseconds, 0) / 1000)


def _packed(announcement: Announcement) -> str:
    return f"{announcement.version}:{int(announcement.withdrawn)}:{announcement.announcement_id}"


def _announcement(packed: str) -> Announcement:
    version, withdrawn, announcement_id = packed.split(":", 2)
    return Announcement(announcement_id, int(version), withdrawn == "1")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
