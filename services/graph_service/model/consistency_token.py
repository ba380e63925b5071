"""The consistency token: it identifies a write that a later read, on any replica, must see (docs/adr/0021).

A token holds the time of the write's invalidation by the clock of the Redis server (its stamp), and hashes of the notes
whose lists the write changed. A cached list holds the time, by the same clock, at which the lease of its fill was
given. A list satisfies a token if the token doesn't concern its note, or if the list's stamp is later. If the stamps
can't be compared (Redis was away during the write, or another instance answers now), the read asks DynamoDB.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared.tokens import CONSISTENCY, Integer, ListOf, Text, TokenCodec

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
        hashes = None if self.node_hashes is None else sorted(self.node_hashes)
        return _TOKENS.encode(_BOUND, self.space, self.stamp, self.wall_ms, hashes)


def _token(space: str, stamp: int, wall_ms: int, hashes: Sequence[int] | None) -> Token:
    if hashes is not None and list(hashes) != sorted(set(hashes)):
        raise ValueError("not sorted")
    return Token(space, stamp, wall_ms, None if hashes is None else frozenset(hashes))


_BOUND = "graph"
_TOKENS = TokenCodec(
    CONSISTENCY,
    _token,
    {
        "s": Text(128),
        "t": Integer(0, 2**63 - 1),
        "w": Integer(0, 2**63 - 1),
        "n": ListOf(Integer(0, 2**32 - 1), _MAX_NODES, optional=True),
    },
)


def token_for(space: str, stamp: int, wall_ms: int, node_ids: "frozenset[str] | set[str]") -> Token:
    """The token of a write that changed the lists of these notes."""
    return Token(space, stamp, wall_ms, None if len(node_ids) > _MAX_NODES else frozenset(map(_hash, node_ids)))


def decode(token: str) -> Token | None:
    """The token of a text; None for "". InvalidArgument (CONSISTENCY_TOKEN_INVALID) for any other text."""
    return _TOKENS.decode(_BOUND, token)


def _hash(node_id: str) -> int:
    return zlib.crc32(node_id.encode())
