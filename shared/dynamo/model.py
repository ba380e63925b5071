"""The operations on a table and their results, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from shared.errors import Aborted

Key = tuple[str, str]
"""(PK, SK)"""
Item = dict[str, Any]
"""str, int, float, bytes, bool, None, list, dict (text keys), set of str; whole floats come back as int."""

INDEXES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "KeywordIndex": ("GSI1PK", "GSI1SK"),
        "DeletionQueue": ("GSI2PK", "GSI2SK"),
        "UserTimeIndex": ("GSI3PK", "GSI3SK"),
    }
)
"""The key attributes of each index of the table (deploy/aws/brain2.yaml)."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition expression with its own names (#x -> attribute) and values (:x -> plain value)."""

    expression: str
    names: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


ABSENT = Condition("attribute_not_exists(PK)")
PRESENT = Condition("attribute_exists(PK)")


@dataclass(frozen=True, slots=True)
class Put:
    """Write the whole item, PK and SK included."""

    item: Item
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an item; that it isn't there is no error unless the condition says so."""

    key: Key
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Change nothing; cancel the transaction unless the condition holds."""

    key: Key
    condition: Condition


@dataclass(frozen=True, slots=True)
class Update:
    """An update expression (SET #a = :b ...); makes the item when it isn't there, unless the condition says
    otherwise."""

    key: Key
    expression: str
    names: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    condition: Condition | None = None


Op = Put | Delete | Check | Update


@dataclass(frozen=True, slots=True)
class QueryPage:
    """One page of a query. next_start: hand it to `start` for the next page, None at the end.

    count: how many items matched on this page; with count=True items is empty and only this is filled.
    """

    items: Sequence[Item]
    next_start: Item | None
    count: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one operation of a cancelled transaction failed; code is "None" for those that didn't.

    code: ConditionalCheckFailed, TransactionConflict, ThrottlingError ... as DynamoDB names them. item: what is stored
    there, when the condition of this operation failed and something is.
    """

    code: str
    item: Item | None = None

    @property
    def failed(self) -> bool:
        """Whether this operation's own condition is what cancelled the transaction."""
        return self.code == "ConditionalCheckFailed"


class ConditionFailed(Aborted):
    """The condition of a single write did not hold. item: what is stored, None when nothing is."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("another writer came first, or the item isn't as expected", reason="CONDITION_FAILED")
        self.item = item


class TransactionCancelled(Aborted):
    """Nothing of the transaction was written. reasons: one for each operation, in their order."""

    def __init__(self, reasons: Sequence[Reason], *, reason: str = "TRANSACTION_CANCELLED") -> None:
        failed = ", ".join(f"{i}: {r.code}" for i, r in enumerate(reasons) if r.code != "None")
        super().__init__(f"the transaction was cancelled ({failed})", reason=reason)
        self.reasons = list(reasons)
