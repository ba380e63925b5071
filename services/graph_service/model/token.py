"""The consistency token: what a later read, on any replica, must have seen.

A write answers with the moment of its last invalidation, as the clock of the Redis server tells it, and with the notes
whose lists it changed. A cached list carries the moment, by the same clock, at which its fill was allowed to begin. So
a list satisfies a token if it isn't about the token's notes or if its moment is later. Where that can't be told (Redis
was away during the write, or is another instance now), the read asks DynamoDB. See docs/adr/0021.
"""

import base64
import binascii
import zlib
from dataclasses import dataclass

from shared.errors import FieldViolation, InvalidArgument

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
        notes = "*" if self.notes is None else ",".join(f"{n:x}" for n in sorted(self.notes))
        text = f"1~{self.space}~{self.stamp:x}~{self.wall_ms:x}~{notes}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def token_for(space: str, stamp: int, wall_ms: int, notes: "frozenset[str] | set[str]") -> Token:
    """The token of a write that changed the lists of these notes."""
    return Token(space, stamp, wall_ms, None if len(notes) > _MOST_NOTES else frozenset(map(_hash, notes)))


def decode(token: str) -> Token | None:
    """None for "". InvalidArgument when it isn't one of ours."""
    if not token:
        return None
    try:
        text = base64.b64decode(
            token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
        ).decode()
        form, space, stamp, wall, notes = text.split("~")
        if form != "1":
            raise ValueError(form)
        about = None if notes == "*" else frozenset(int(n, 16) for n in notes.split(",") if n)
        return Token(space, int(stamp, 16), int(wall, 16), about)
    except (ValueError, binascii.Error):
        violation = FieldViolation("consistency_token", "must be a token that a write answered")
        raise InvalidArgument(
            "consistency_token is not one of ours", reason="CONSISTENCY_TOKEN_INVALID", violations=[violation]
        ) from None


def _hash(note: str) -> int:
    # A collision only makes one more list be checked.
    return zlib.crc32(note.encode())
