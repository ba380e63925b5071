"""Identifiers and time, both injected and both sortable as text.

New ids are ULIDs (https://github.com/ulid/spec): 48 bits of milliseconds and 80 random bits as 26 Crockford base 32
characters, so ids of one process sort in the order in which it made them.

Library considered: python-ulid, which takes neither a clock nor random bits as parameters.
"""

import random as _random
import re
import time
from typing import Protocol

from shared.errors import Violations, shown

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
# 13 digits hold every millisecond until the year 2286.
_LAST_TIME = 9_999_999_999_999


class Clock(Protocol):
    """The time; a test gives its own clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class Bits(Protocol):
    """A source of random bits: random.Random, random.SystemRandom."""

    def getrandbits(self, k: int, /) -> int: ...


class IdFactory(Protocol):
    """Makes ids that are unique everywhere."""

    def new_id(self) -> str: ...


class UlidFactory:
    """ULIDs that rise strictly within one process, also within a millisecond and when the clock steps back."""

    def __init__(self, clock: Clock, random: Bits | None = None) -> None:
        self._clock = clock
        self._random = random or _random.SystemRandom()
        self._time = -1
        self._tail = 0

    def new_id(self) -> str:
        now = self._clock.now_ms()
        if now > self._time:
            self._time, self._tail = now, self._random.getrandbits(80)
        else:
            self._tail += 1
            if self._tail >> 80:  # 2**80 ids in a millisecond: only when the random start was near the end
                self._time, self._tail = self._time + 1, self._random.getrandbits(80)
        value = (self._time << 80) | self._tail
        return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def check_id(field: str, value: str, violations: Violations) -> None:
    """Add a violation unless the value is a valid id. Ids become parts of keys, so they have no '#'."""
    if not ID_PATTERN.fullmatch(value):
        why = "must be 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        violations.add(field, f"is {shown(value)}, {why}")


def check_user_id(field: str, value: str, violations: Violations) -> None:
    """Add a violation unless the value is a valid id of a user; those are chosen by callers, often e-mail addresses."""
    if not _USER_ID.fullmatch(value):
        why = "must be 1 to 128 of A-Z a-z 0-9 . _ @ -, the first a letter or digit"
        violations.add(field, f"is {shown(value)}, {why}")


def time_key(ms: int) -> str:
    """Milliseconds as 13 digits, so that text order is time order. ValueError outside 1970..2286."""
    if not 0 <= ms <= _LAST_TIME:
        raise ValueError(f"{ms} ms is not a time between the years 1970 and 2286")
    return f"{ms:013d}"
