"""A request_id with what is needed to answer it again. Pure: the core of a context may import it."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from shared.errors import Violations
from shared.ids import check_id, check_user_id


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request that is carried out once, however often it is sent.

    fingerprint: a digest of the method and of everything that was asked for.
    encode, decode: the result of the use case to the bytes that are stored, and back.
    owner: who carries it out; each arrival of the request has another, so that a lease has one holder.
    """

    user_id: str
    request_id: str
    fingerprint: str
    encode: Callable[[Any], bytes] = field(default=bytes, compare=False)
    decode: Callable[[bytes], Any] = field(default=bytes, compare=False)
    owner: str = field(default_factory=lambda: secrets.token_hex(8), compare=False)

    @classmethod
    def of(cls, method: str, message: Any) -> Self | None:
        """The request in a protobuf message that has user_id and request_id; None without a request_id.

        InvalidArgument for a malformed user_id or request_id.
        """
        if not message.request_id:
            return None
        violations = Violations()
        check_user_id("user_id", message.user_id, violations)
        check_id("request_id", message.request_id, violations)
        violations.raise_if_any()
        body = method.encode() + b"\0" + message.SerializeToString(deterministic=True)
        return cls(message.user_id, message.request_id, hashlib.sha256(body).hexdigest()[:32])
