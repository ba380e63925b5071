"""The verified caller of an RPC: its name, its user and its scopes."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf

ACT_AS = "act_as"
"""The scope that lets a caller read and write the data of any user: for the service account of a backend."""
SCOPES = frozenset(("read", "write", "admin", "internal", ACT_AS))
# RPCs of these scopes are about any user by their nature.
_ANY_USER = frozenset(("admin", "internal"))
_FOR_OTHERS = frozenset(("admin", "internal", ACT_AS))


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    name: what the audit log and the rate limits call it: the subject of a token, or the name of a key.
    user: the user whose data it owns; "" for a service, which has none.
    scopes: what it may do; no scope includes another one.
    expires: seconds since 1970 at which it must be verified again.
    """

    name: str
    user: str
    scopes: frozenset[str]
    expires: float = inf
    # The field user_id (number 1) with this user, as protobuf encodes it; empty without a user.
    user_field: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "user_field", _encoded(self.user.encode()))

    @property
    def calls_for_others(self) -> bool:
        """Whether it makes the calls of many users: a backend, a service, or an operator."""
        return not self.scopes.isdisjoint(_FOR_OTHERS)

    def may_act_for(self, user_id: str, scope: str) -> bool:
        """Whether a call that needs the scope may name this user. That the caller has the scope is another question."""
        return (user_id == self.user and self.user != "") or self.may_act_for_all(scope)

    def may_act_for_all(self, scope: str) -> bool:
        """Whether a call that needs the scope may name any user."""
        return scope in _ANY_USER or ACT_AS in self.scopes


caller: ContextVar[Principal | None] = ContextVar("brain2_caller", default=None)
"""The caller of the RPC that is being served. None: outside of one, or BRAIN2_AUTH=none."""


def _encoded(user: bytes) -> bytes:
    """Field 1 of type string; a length of up to 16,383 bytes."""
    if not user:
        return b""
    size = len(user)
    return b"\x0a" + (bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))) + user
