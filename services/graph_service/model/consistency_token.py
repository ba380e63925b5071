"""The consistency token: it identifies a write that a later read, on any replica, must see (docs/adr/0021).

A token holds the time of the write's invalidation by the clock of the Redis server (its stamp), and hashes of the notes
whose lists the write changed. A cached list holds the time, by the same clock, at which the lease of its fill was
given. A list satisfies a token if the token doesn't concern its note, or if the list's stamp is later. If the stamps
can't be compared (Redis was away during the write, or another instance answers now), the read asks DynamoDB.
"""

import base64
import binascii
import zlib
from dataclasses import dataclass

from shared.errors import FieldViolation, InvalidArgument

# A token of more notes than this concerns all notes of the user, so that tokens stay short.
_MAX_NODES = 16


@dataclass(frozen=True, slots=True)
class Token:
    """A consistency token.

    space: the Redis instance of the stamp.
    stamp: microseconds by the clock of that instance; 0: the token can't be verified.
    wall_ms: when it was made.
    node_hashes: the notes that it concerns; None: all.
    """

    space: str
    stamp: int
    wall_ms: int
    node_hashes: frozenset[int] | None

    def concerns(self, node_id: str) -> bool:
        """Whether the write changed the list of this note; also true by chance (a collision), which costs one read."""
        return self.node_hashes is None or _hash(node_id) in self.node_hashes

    def encode(self) -> str:
        hashes = "*" if self.node_hashes is None else ",".join(f"{n:x}" for n in sorted(self.node_hashes))
        text = f"1~{self.space}~{self.stamp:x}~{self.wall_ms:x}~{hashes}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def token_for(space: str, stamp: int, wall_ms: int, node_ids: "frozenset[str] | set[str]") -> Token:
    """The token of a write that changed the lists of these notes."""
    return Token(space, stamp, wall_ms, None if len(node_ids) > _MAX_NODES else frozenset(map(_hash, node_ids)))


def decode(token: str) -> Token | None:
    """The token of a text; None for "". InvalidArgument CONSISTENCY_TOKEN_INVALID for any other text."""
    if not token:
        return None
    try:
        text = base64.b64decode(
            token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
        ).decode()
        form, space, stamp, wall, hashes = text.split("~")
        if form != "1":
            raise ValueError(form)
        concerned = None if hashes == "*" else frozenset(int(n, 16) for n in hashes.split(",") if n)
        return Token(space, int(stamp, 16), int(wall, 16), concerned)
    except (ValueError, binascii.Error):
        violation = FieldViolation("consistency_token", "must be a token that a write answered")
        raise InvalidArgument(
            "consistency_token is not one of ours", reason="CONSISTENCY_TOKEN_INVALID", violations=[violation]
        ) from None


def _hash(node_id: str) -> int:
    return zlib.crc32(node_id.encode())
