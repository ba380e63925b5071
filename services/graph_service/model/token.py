"""The consistency token: what a later read, on any replica, must have seen.

A write answers with the moment of its last invalidation, as the clock of the Redis server tells it, and with the notes
whose lists it changed. A cached list carries the moment, by the same clock, at which its fill was allowed to begin. So
a list satisfies a token if it isn't about the token's notes or if its moment is later. Where that can't be told (Redis
was away during the write, or is another instance now), the read asks DynamoDB. See docs/adr/0021.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared.tokens import CONSISTENCY, Integer, ListOf, Text, TokenCodec

# Beyond that many notes a token is about all notes of the user: tokens stay short.
_MOST_NOTES = 16


@dataclass(frozen=True, slots=True)
class Token:
    """stamp: microseconds by the clock of the Redis instance `space`; 0 = cannot be verified. wall_ms: made when."""

    space: str
    stamp: int
    wall_ms: int
    notes: frozenset[int] | None

    def concerns(self, note: str) -> bool:
        return self.notes is None or _hash(note) in self.notes

    def encode(self) -> str:
        notes = None if self.notes is None else sorted(self.notes)
        return _TOKENS.encode(_BOUND, self.space, self.stamp, self.wall_ms, notes)


def _token(space: str, stamp: int, wall_ms: int, notes: Sequence[int] | None) -> Token:
    if notes is not None and list(notes) != sorted(set(notes)):
        raise ValueError("not sorted")
    return Token(space, stamp, wall_ms, None if notes is None else frozenset(notes))


_BOUND = "graph"
_TOKENS = TokenCodec(
    CONSISTENCY,
    _token,
    {
        "s": Text(128),
        "t": Integer(0, 2**63 - 1),
        "w": Integer(0, 2**63 - 1),
        "n": ListOf(Integer(0, 2**32 - 1), _MOST_NOTES, optional=True),
    },
)


def token_for(space: str, stamp: int, wall_ms: int, notes: "frozenset[str] | set[str]") -> Token:
    """The token of a write that changed the lists of these notes."""
    return Token(space, stamp, wall_ms, None if len(notes) > _MOST_NOTES else frozenset(map(_hash, notes)))


def decode(token: str) -> Token | None:
    """The token of a text; None for "". InvalidArgument (CONSISTENCY_TOKEN_INVALID) for any other text."""
    return _TOKENS.decode(_BOUND, token)


def _hash(note: str) -> int:
    # A collision only makes one more list be checked.
    return zlib.crc32(note.encode())
