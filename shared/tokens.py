"""One typed codec for all opaque tokens that callers send back: page tokens, resume tokens and consistency tokens.

A token is url-safe base64 of the JSON text [version, fingerprint, {field: value}], and, where a secret is set, a dot
and 16 bytes of HMAC. Whoever uses tokens declares a TokenCodec with the fields, their types and their bounds. The codec
accepts a text only if it is exactly what encode() makes of some allowed values: what it decodes is encoded again and
compared. So no caller can bring in a value of another type, NaN, a number that is out of range, or a second spelling.

Without a secret a token can be forged within these bounds. It must never prove anything: take the user from the
request, and only the position inside the user's data from the token.

Library considered: itsdangerous signs such texts, but it checks no fields, and signing is optional here.
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from shared.errors import FieldViolation, InvalidArgument
from shared.ids import ID_PATTERN

T = TypeVar("T")

MAX_TOKEN_LENGTH = 4096
"""Characters; a longer token is refused before it is decoded."""
_VERSION = 1
_SIGNATURE_BYTES = 16
_UNREADABLE = "is not readable, must be empty or what an earlier answer gave"


class Field(Protocol):
    """One value of a token."""

    def accepts(self, value: Any) -> bool:
        """Whether the decoded JSON value has the type and lies within the bounds."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from low to high, both allowed."""

    low: int
    high: int

    def accepts(self, value: Any) -> bool:
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Real:
    """A finite float from low to high, both allowed."""

    low: float = -math.inf
    high: float = math.inf

    def accepts(self, value: Any) -> bool:
        return type(value) is float and math.isfinite(value) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Text:
    """At most `longest` characters, all of them valid Unicode. pattern: what the whole text must match."""

    longest: int
    pattern: re.Pattern[str] | None = None

    def accepts(self, value: Any) -> bool:
        if type(value) is not str or len(value) > self.longest:
            return False
        return _is_unicode(value) and (self.pattern is None or self.pattern.fullmatch(value) is not None)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of at most `most` values of one kind; optional: null is allowed too."""

    of: Field
    most: int
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.optional
        return type(value) is list and len(value) <= self.most and all(map(self.of.accepts, value))


@dataclass(frozen=True, slots=True)
class TokenKind:
    """Which field of a request holds the token, and the reason of the error for a wrong one."""

    field: str
    reason: str

    def refused(self, why: str) -> InvalidArgument:
        return InvalidArgument(f"{self.field} {why}", reason=self.reason, violations=[FieldViolation(self.field, why)])


NODE_ID = Text(64, ID_PATTERN)
"""The identifier of a note."""

PAGE = TokenKind("page_token", "PAGE_TOKEN_INVALID")
RESUME = TokenKind("resume_token", "RESUME_TOKEN_INVALID")
CONSISTENCY = TokenKind("consistency_token", "CONSISTENCY_TOKEN_INVALID")


class TokenSecret:
    """The secrets that sign tokens: the first signs, all of them verify. Without any, tokens are not signed."""

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._secrets = tuple(secrets)

    def set(self, text: str) -> None:
        """Use the secrets of a comma-separated list (BRAIN2_TOKEN_SECRET); "" = tokens are not signed.

        All replicas of a service must have the same list. To change the secret, put the new one first and keep the old
        one behind it until the tokens that it has signed are out of use.
        """
        self._secrets = tuple(part.strip().encode() for part in text.split(",") if part.strip())

    def sign(self, body: bytes) -> bytes | None:
        """The signature of a body; None when tokens are not signed."""
        return _signature(self._secrets[0], body) if self._secrets else None

    def verifies(self, body: bytes, signature: bytes | None) -> bool:
        """Whether a body with this signature may be used. A signature is refused when no secret is set."""
        if signature is None or not self._secrets:
            return signature is None and not self._secrets
        return any(hmac.compare_digest(_signature(secret, body), signature) for secret in self._secrets)


TOKEN_SECRET = TokenSecret()
"""What the tokens of this process are signed with; the composition root sets it before the service starts."""


class TokenCodec(Generic[T]):
    """The tokens of one method.

    kind: PAGE, RESUME or CONSISTENCY.
    make: makes the decoded state of the values, in the order in which the fields are declared.
    fields: name in the token -> type and bounds.
    """

    def __init__(
        self,
        kind: TokenKind,
        make: Callable[..., T],
        fields: Mapping[str, Field],
        *,
        secret: TokenSecret = TOKEN_SECRET,
    ) -> None:
        self._kind = kind
        self._make = make
        self._fields = dict(fields)
        self._secret = secret

    def encode(self, fingerprint: str, *values: Any) -> str:
        """The token for these values, in the order of the fields.

        fingerprint: what the token is bound to, see fingerprint().
        ValueError for a value that decode() would refuse.
        """
        state = dict(zip(self._fields, values, strict=True))
        if not self._accepts(state):
            raise ValueError(f"a {self._kind.field} can't hold {state!r}")
        return self._encode(fingerprint, state)

    def decode(self, fingerprint: str, token: str) -> T | None:
        """The state of a token; None for "" (no token was sent).

        InvalidArgument, with the kind's reason and field, for anything that encode() did not make with the same
        fingerprint and one of the secrets.
        """
        if not token:
            return None
        found = self._read(token)
        if found is None:
            raise self._kind.refused(_UNREADABLE)
        bound_to, state = found
        if bound_to != fingerprint:
            raise self._kind.refused(
                "belongs to another request: send it with the same parameters, or start again without it"
            )
        if not self._accepts(state):
            raise self._kind.refused(_UNREADABLE)
        try:
            return self._make(*(state[name] for name in self._fields))
        except ValueError:
            raise self._kind.refused(_UNREADABLE) from None

    def _read(self, token: str) -> tuple[str, dict[str, Any]] | None:
        """The fingerprint and the state of a token that is signed as it must be and spelled as encode() spells it."""
        if len(token) > MAX_TOKEN_LENGTH:
            return None
        try:
            first, dot, second = token.encode("ascii").partition(b".")
            body, signature = _from_base64(first), _from_base64(second) if dot else None
            if not self._secret.verifies(body, signature):
                return None
            version, bound_to, state = json.loads(body)
            if version != _VERSION or type(bound_to) is not str or type(state) is not dict:
                return None
            return (bound_to, state) if _body(bound_to, state) == body else None
        except (ValueError, TypeError, binascii.Error, RecursionError):
            return None

    def _accepts(self, state: Mapping[str, Any]) -> bool:
        return list(state) == list(self._fields) and all(
            field.accepts(state[name]) for name, field in self._fields.items()
        )

    def _encode(self, fingerprint: str, state: Mapping[str, Any]) -> str:
        body = _body(fingerprint, state)
        signature = self._secret.sign(body)
        token = _to_base64(body) if signature is None else _to_base64(body) + b"." + _to_base64(signature)
        return token.decode()


def fingerprint(*parts: object) -> str:
    """16 hex digits for the parts of a request that must not change between its pages (all but size and token)."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _body(fingerprint: str, state: Mapping[str, Any]) -> bytes:
    text = json.dumps([_VERSION, fingerprint, dict(state)], separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _signature(secret: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, body, "sha256")[:_SIGNATURE_BYTES]


def _to_base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _from_base64(text: bytes) -> bytes:
    """The inverse; ValueError for any other spelling of the same bytes."""
    data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _to_base64(data) != text:
        raise ValueError("not canonical")
    return data


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
