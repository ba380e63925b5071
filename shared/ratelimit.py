"""Limits of calls a second, for each user and for each caller, shared by all replicas through Redis.

GCRA (the generic cell rate algorithm): one number for each user or caller, the time at which its next call is due. The
clock is that of Redis. While Redis is away each process limits by itself, so that n replicas allow n times as much.
The library `limits` was considered: it needs a redis-py older than ours, and a connection of its own.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.auth.principal import Principal
from shared.errors import Brain2Error, FieldViolation, ResourceExhausted
from shared.ids import Clock

# ARGV: microseconds between two calls; how far ahead of the present the next one may be due. Replies the microseconds
# to wait: 0 when the call is allowed.
GCRA = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local due = tonumber(redis.call('GET', KEYS[1]) or 0)
-- Past the tolerance: a server whose clock was ahead wrote it, before this one took its place. Without this the user
-- would be refused until the clock of this server is there, too.
if due < now or due > now + tonumber(ARGV[2]) then due = now end
due = due + tonumber(ARGV[1])
local wait = due - now - tonumber(ARGV[2])
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return 0
"""
# Users and callers that a process counts by itself; above this many the least recent is dropped.
_MOST_LOCAL = 10_000


class Script(Protocol):
    def __call__(self, *, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Awaitable[Any]: ...


class HasScripts(Protocol):
    """The part of shared.redis.Redis that is used here."""

    def script(self, source: str) -> Script: ...


@dataclass(frozen=True, slots=True)
class Rate:
    """per_second: calls a second in the long run. burst: calls that may come at one time."""

    per_second: float
    burst: int

    @property
    def interval_us(self) -> int:
        return max(round(1_000_000 / self.per_second), 1)

    @property
    def tolerance_us(self) -> int:
        return self.interval_us * self.burst


class RateLimiter:
    """Counts calls. user, caller: None = not limited. redis: None = each process limits by itself."""

    def __init__(self, user: Rate | None, caller: Rate | None, clock: Clock, redis: HasScripts | None = None) -> None:
        self._user = user
        self._caller = caller
        self._script = redis.script(GCRA) if redis is not None else None
        self._local = _Local(clock)

    async def check(self, principal: Principal, user_id: str) -> None:
        """Count a call. ResourceExhausted (RATE_LIMITED, with retry_after) when it is one too many.

        The services call each other on behalf of users (scope internal); they are not limited.
        """
        if "internal" in principal.scopes:
            return
        wanted: list[tuple[str, str, Rate]] = []
        if self._user is not None and user_id:
            wanted.append(("user", user_id, self._user))
        if self._caller is not None:
            wanted.append(("caller", principal.name, self._caller))
        waits = await asyncio.gather(*(self._wait(what, name, rate) for what, name, rate in wanted))
        violations = [
            FieldViolation(what, f"at most {rate.per_second:g} calls a second, {rate.burst} at one time")
            for (what, _, rate), wait in zip(wanted, waits, strict=True)
            if wait > 0
        ]
        if violations:
            raise ResourceExhausted(
                f"too many calls of this {violations[0].field}",
                reason="RATE_LIMITED",
                violations=violations,
                retry_after=max(waits) / 1_000_000,
            )

    async def _wait(self, what: str, name: str, rate: Rate) -> int:
        """Microseconds to wait; 0 = the call is counted and allowed."""
        # A digest, so that keys have one length and Redis holds no names.
        key = f"b2:rate:{what}:{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"
        if self._script is not None:
            try:
                return int(await self._script(keys=[key], args=[rate.interval_us, rate.tolerance_us]))
            except Brain2Error:
                pass  # Redis is away
        return self._local.wait(key, rate)


class _Local:
    """The same in memory."""

    def __init__(self, clock: Clock) -> None:
        self._now: Callable[[], float] = clock.monotonic
        self._due: OrderedDict[str, int] = OrderedDict()

    def wait(self, key: str, rate: Rate) -> int:
        now = round(self._now() * 1_000_000)
        due = max(self._due.get(key, 0), now) + rate.interval_us
        wait = due - now - rate.tolerance_us
        if wait > 0:
            return wait
        self._due[key] = due
        self._due.move_to_end(key)
        if len(self._due) > _MOST_LOCAL:
            self._due.popitem(last=False)
        return 0
