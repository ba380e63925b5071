"""The one closed tree of errors that Brain2 raises, answers and rebuilds on the other side of a call.

A class is a kind, and a kind is a gRPC status code (shared/grpc/status.py holds the table). `reason` is what a program
reads, `message` what a person reads. The module is pure: the core of a context raises these without knowing gRPC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong: its path in the proto ("node.title") and what would be right."""

    field: str
    description: str


class Brain2Error(Exception):
    """The root of the tree; never raised itself.

    message: one sentence for a person. reason: UPPER_SNAKE, stable, part of the contract (docs/contracts.md).
    metadata: more facts for a program. violations: the fields at fault. retry_after: seconds until the next try.
    """

    kind: ClassVar[str] = "UNKNOWN"
    # Whether the same request may succeed later without anybody changing anything: consumers leave the message to
    # redrive, callers may try again (if the call is idempotent).
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
    """The request is wrong whatever the state of the system."""

    kind = "INVALID_ARGUMENT"


class NotFound(Brain2Error):
    """What the request names isn't there (or isn't this user's: the two look alike on purpose)."""

    kind = "NOT_FOUND"


class AlreadyExists(Brain2Error):
    """What the request would create is there already."""

    kind = "ALREADY_EXISTS"


class FailedPrecondition(Brain2Error):
    """The state of the system forbids it, and trying again without changing the state won't help."""

    kind = "FAILED_PRECONDITION"


class Aborted(Brain2Error):
    """Another writer came first: read again, decide again, then try again."""

    kind = "ABORTED"
    transient = True


class OutOfRange(Brain2Error):
    """Past the end of something that may grow."""

    kind = "OUT_OF_RANGE"


class PermissionDenied(Brain2Error):
    """The caller is known and isn't allowed to."""

    kind = "PERMISSION_DENIED"


class Unauthenticated(Brain2Error):
    """The caller isn't known."""

    kind = "UNAUTHENTICATED"


class ResourceExhausted(Brain2Error):
    """Too much at once, or a quota is used up; retry_after says when to come back."""

    kind = "RESOURCE_EXHAUSTED"
    transient = True


class Unavailable(Brain2Error):
    """Something that is needed doesn't answer just now; whether the work was done is not known."""

    kind = "UNAVAILABLE"
    transient = True


class DeadlineExceeded(Brain2Error):
    """The caller's time ran out; whether the work was done is not known."""

    kind = "DEADLINE_EXCEEDED"
    transient = True


class Cancelled(Brain2Error):
    """The caller went away."""

    kind = "CANCELLED"
    transient = True


class Unimplemented(Brain2Error):
    """The method isn't served here."""

    kind = "UNIMPLEMENTED"


class DataLoss(Brain2Error):
    """Stored data can't be read back."""

    kind = "DATA_LOSS"


class Internal(Brain2Error):
    """A defect of ours; metadata["error_id"] finds it in the log."""

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


class Violations:
    """Collects every field that is wrong, so that a caller hears of all of them at once."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, description: str) -> None:
        self._found.append(FieldViolation(field, description))

    def raise_if_any(self, message: str = "invalid request") -> None:
        """Raise InvalidArgument with all that was added; do nothing when nothing was."""
        if self._found:
            first = self._found[0]
            raise InvalidArgument(f"{message}: {first.field}: {first.description}", violations=self._found)
