"""The change log as one Redis stream a user: sim:{user}:log, the user as hash tag.

A reader asks from its last entry on, that entry included: if it is still there, nothing after it can be missing
(streams lose entries from the old end only, by trimming, expiry or a lost server). If it isn't, that is a gap. A
position is an entry's id and a random mark of the entry, since a log that was lost may give out the same id again.
"""

import random
from collections.abc import Sequence
from typing import Any

from services.similarity_service.ports import Change, LogGap
from shared.redis import Redis

_MOST = 10_000
_DAYS = 7
# An entry that says nothing: something to hold on to in an empty log.
_ANCHOR = "-"


class RedisChangeLog:
    """ports.ChangeLog. keep: entries kept at least; seconds: how long an idle user's log lives."""

    def __init__(self, redis: Redis, *, keep: int = _MOST, seconds: int = _DAYS * 86_400) -> None:
        self._redis = redis
        self._keep = keep
        self._seconds = seconds

    async def append(self, user_id: str, changes: Sequence[Change]) -> None:
        if changes:
            commands = [self._add(user_id, change) for change in changes]
            await self._redis.pipeline([*commands, ("EXPIRE", _key(user_id), self._seconds)])

    async def tail(self, user_id: str) -> str:
        last = await self._redis.call("XREVRANGE", _key(user_id), "+", "-", "COUNT", 1)
        if last:
            return _change(last[0]).position
        await self.append(user_id, [Change(_ANCHOR, 0, 0, False)])
        # Somebody may have appended as well: what came before the anchor is in the records already.
        first = await self._redis.call("XRANGE", _key(user_id), "-", "+", "COUNT", 1)
        if not first:
            raise LogGap("the log vanished while it was begun")
        return _change(first[0]).position

    async def since(self, user_id: str, position: str) -> Sequence[Change]:
        entries = await self._redis.call("XRANGE", _key(user_id), position.partition("/")[0], "+")
        if not entries or _change(entries[0]).position != position:
            raise LogGap("the change log no longer holds the last entry that was read")
        return [_change(entry) for entry in entries[1:]]

    def _add(self, user_id: str, change: Change) -> tuple[str | int, ...]:
        state = f"{change.incarnation}:{change.version}:{int(change.visible)}:{random.getrandbits(32):x}"
        return ("XADD", _key(user_id), "MAXLEN", "~", self._keep, "*", "n", change.node_id, "s", state)


def _key(user_id: str) -> str:
    return f"sim:{{{user_id}}}:log"


def _change(entry: Any) -> Change:
    position, fields = entry
    values = {_text(fields[at]): _text(fields[at + 1]) for at in range(0, len(fields), 2)}
    incarnation, version, visible, mark = values["s"].split(":")
    return Change(values["n"], int(incarnation), int(version), visible == "1", f"{_text(position)}/{mark}")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
