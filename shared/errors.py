"""The errors of Brain2: a closed tree that is raised, answered over gRPC, and rebuilt by the client of the call.

Each class stands for one gRPC status code (shared/grpc/status.py). `reason` is for programs, `message` for people. The
module imports no gRPC, so that the core of a context can raise these errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

_NOTHING: Mapping[str, str] = MappingProxyType({})
# The characters of a wrong text that an error shows: enough to find it, and no more of what should not be there.
_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A wrong field of a request: its path in the proto ("node.title"), and what was given and what is allowed."""

    field: str
    description: str


class Brain2Error(Exception):
    """The root of the tree; only its subclasses are raised.

    message: one sentence for a person.
    reason: UPPER_SNAKE text for programs, stable, part of the contract (docs/contracts.md); by default the code's name.
    metadata: more facts for a program.
    violations: the wrong fields.
    retry_after: seconds until the caller may try again.
    """

    kind: ClassVar[str] = "UNKNOWN"
    # Whether the same request may succeed later although nothing was changed: a consumer leaves the message in the
    # queue, and a caller may repeat an idempotent call.
    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] = _NOTHING,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.kind
        self.metadata = metadata
        self.violations = tuple(violations)
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r})"


class InvalidArgument(Brain2Error):
    """The request is wrong, whatever the state of the system is."""

    kind = "INVALID_ARGUMENT"


class NotFound(Brain2Error):
    """The object doesn't exist, or belongs to another user: a caller can't tell the two apart, on purpose."""

    kind = "NOT_FOUND"


class AlreadyExists(Brain2Error):
    """The object to create exists already."""

    kind = "ALREADY_EXISTS"


class FailedPrecondition(Brain2Error):
    """The state of the system forbids the request, and a repetition fails until the state is changed."""

    kind = "FAILED_PRECONDITION"


class Aborted(Brain2Error):
    """Another writer was first: the caller must read again before it tries again."""

    kind = "ABORTED"
    transient = True


class OutOfRange(Brain2Error):
    """The position is behind the end of a list or log that may grow."""

    kind = "OUT_OF_RANGE"


class PermissionDenied(Brain2Error):
    """The caller is known but has no permission."""

    kind = "PERMISSION_DENIED"


class Unauthenticated(Brain2Error):
    """The caller isn't authenticated."""

    kind = "UNAUTHENTICATED"


class ResourceExhausted(Brain2Error):
    """A limit or quota is reached; retry_after is when the caller may try again."""

    kind = "RESOURCE_EXHAUSTED"
    transient = True


Amounts = Mapping[str, int]
"""How much of each kind ("notes", "bytes"): what a user has stored, or what a write adds to it."""


class QuotaExceeded(ResourceExhausted):
    """A write would exceed a quota of its user (shared/quotas.py). It may succeed once the user has removed something.

    used: what is stored. limits: the quotas that are set. wanted: what the write would add.
    """

    def __init__(self, used: Amounts, limits: Amounts, wanted: Amounts) -> None:
        broken = [kind for kind in limits if not _has_room(kind, used, limits, wanted)]
        violations = [
            FieldViolation(kind, f"{used[kind]} of {limits[kind]} {kind} are used, and this needs {wanted[kind]} more")
            for kind in broken
        ]
        first = broken[0] if broken else ""
        numbers = {"limit": limits, "used": used, "wanted": wanted}
        super().__init__(
            f"the user's quota is exceeded: {'; '.join(each.description for each in violations)}",
            reason="QUOTA_EXCEEDED",
            metadata={"quota": first} | {name: str(amounts.get(first, 0)) for name, amounts in numbers.items()},
            violations=violations,
        )
        self.used = used
        self.limits = limits

    def has_room(self, wanted: Amounts) -> bool:
        """Whether a write that adds this much would have been allowed."""
        return all(_has_room(kind, self.used, self.limits, wanted) for kind in self.limits)


def _has_room(kind: str, used: Amounts, limits: Amounts, wanted: Amounts) -> bool:
    # A write that takes away, or adds nothing, is allowed also when the limit was lowered below what is stored.
    return wanted.get(kind, 0) <= 0 or used[kind] + wanted[kind] <= limits[kind]


class Unavailable(Brain2Error):
    """A dependency doesn't answer now. It is unknown whether the work was done."""

    kind = "UNAVAILABLE"
    transient = True


class DeadlineExceeded(Brain2Error):
    """The deadline of the call has passed. It is unknown whether the work was done."""

    kind = "DEADLINE_EXCEEDED"
    transient = True


class Cancelled(Brain2Error):
    """The caller cancelled the call."""

    kind = "CANCELLED"
    transient = True


class Unimplemented(Brain2Error):
    """The method isn't served here."""

    kind = "UNIMPLEMENTED"


class DataLoss(Brain2Error):
    """Stored data is lost or can't be decoded."""

    kind = "DATA_LOSS"


class Internal(Brain2Error):
    """A defect of the server; metadata["error_id"] is the id of its log line."""

    kind = "INTERNAL"


KINDS: Mapping[str, type[Brain2Error]] = MappingProxyType(
    {
        error.kind: error
        for error in (
            InvalidArgument,
            NotFound,
            AlreadyExists,
            FailedPrecondition,
            Aborted,
            OutOfRange,
            PermissionDenied,
            Unauthenticated,
            ResourceExhausted,
            Unavailable,
            DeadlineExceeded,
            Cancelled,
            Unimplemented,
            DataLoss,
            Internal,
        )
    }
)


def shown(value: str | float) -> str:
    """A wrong id, name or number as the description of an error shows it. Not for titles and contents of notes."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]!r}… ({len(value):,} characters)"
    return f"{value:,}" if isinstance(value, int) else repr(value)


def invalid_request(
    violations: Sequence[FieldViolation], *, message: str = "invalid request", reason: str = ""
) -> InvalidArgument:
    """The error that reports these wrong fields, at least one; its message says what is wrong with the first."""
    first = violations[0]
    return InvalidArgument(f"{message}: {first.field}: {first.description}", reason=reason, violations=violations)


class Violations:
    """Collects the wrong fields of a request, so that one error reports them all."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, description: str) -> None:
        self._found.append(FieldViolation(field, description))

    def raise_if_any(self, message: str = "invalid request") -> None:
        """Raise InvalidArgument with the collected fields; do nothing when there are none."""
        if self._found:
            raise invalid_request(self._found, message=message)
