"""Page tokens and page sizes, alike in every list method.

A token is opaque to the caller: url-safe base64 of the fingerprint of the request that it continues and of where to go
on. It is not a secret and not signed, so it must never be the proof of anything: take the partition (the user) from the
request, and only the position inside it from the token.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shared.errors import FieldViolation, InvalidArgument

_VERSION = 1
_LONGEST = 4096


def fingerprint(*parts: object) -> str:
    """16 hex digits for the parts of a request that must not change between its pages (all but size and token)."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def encode_token(fingerprint: str, state: Mapping[str, Any]) -> str:
    """The token for the next page; state is JSON."""
    text = json.dumps([_VERSION, fingerprint, dict(state)], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(fingerprint: str, token: str) -> Mapping[str, Any] | None:
    """The state of a token; None for "" (the first page). InvalidArgument when it is garbled or of another request."""
    if not token:
        return None
    if len(token) > _LONGEST:
        raise _refused("is not one of ours")
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        version, bound_to, state = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise _refused("is not one of ours") from None
    if version != _VERSION or not isinstance(state, dict):
        raise _refused("is not one of ours")
    if bound_to != fingerprint:
        raise _refused("belongs to another request: send it with the same parameters, or start again without it")
    return state


def page_size(field: str, requested: int, *, default: int, maximum: int) -> int:
    """How many entries to answer: the default for 0, at most the maximum.

    field: the name of the field in the request, for the error.
    InvalidArgument when the number is negative.
    """
    if requested < 0:
        why = "must not be negative"
        raise InvalidArgument(f"{field} {why}", violations=[FieldViolation(field, why)])
    return min(requested or default, maximum)


def _refused(why: str) -> InvalidArgument:
    violations = [FieldViolation("page_token", why)]
    return InvalidArgument(f"page_token {why}", reason="PAGE_TOKEN_INVALID", violations=violations)
