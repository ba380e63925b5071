"""The findings of a reconciliation, its report, and the stored facts that it compares."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class FindingType(StrEnum):
    """Types of inconsistencies (Finding.kind in cleanup.proto)."""

    EDGE_TO_MISSING_NODE = "EDGE_TO_MISSING_NODE"
    ONE_SIDED_EDGE = "ONE_SIDED_EDGE"
    POSTING_WITHOUT_NODE = "POSTING_WITHOUT_NODE"
    VECTOR_WITHOUT_NODE = "VECTOR_WITHOUT_NODE"
    NODE_NOT_INDEXED = "NODE_NOT_INDEXED"
    OUTBOX_LEFTOVER = "OUTBOX_LEFTOVER"
    CACHE_DISAGREES = "CACHE_DISAGREES"
    SAGA_WITHOUT_NODE = "SAGA_WITHOUT_NODE"
    VISIBILITY_DISAGREES = "VISIBILITY_DISAGREES"


@dataclass(frozen=True, slots=True)
class Finding:
    """One inconsistency. detail: for a person, without content of notes. repaired: the repair was verified."""

    type: FindingType
    node_id: str
    detail: str
    repaired: bool = False


@dataclass(slots=True)
class ReconcileReport:
    """Numbers of items read, and of findings by type. end_ms: when the reconciliation ended."""

    notes: int = 0
    edges: int = 0
    index_entries: int = 0
    found: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    end_ms: int = 0

    def add(self, finding: Finding) -> None:
        self.found[finding.type] += 1
        self.repaired[finding.type] += finding.repaired


@dataclass(frozen=True, slots=True)
class StoredNote:
    """A note as it is stored. live: not deleted."""

    node_id: str
    version: int
    live: bool


@dataclass(frozen=True, slots=True)
class EdgeSide:
    """One of the two items of an edge: the one that is stored at `node_id`.

    suppressed: a person doesn't want the link, and the graph shows it nowhere.
    """

    node_id: str
    other: str
    type: str
    weight: float
    suppressed: bool = False

    @property
    def mirror(self) -> "EdgeSide":
        """The item at the other end."""
        return EdgeSide(self.other, self.node_id, self.type, self.weight, self.suppressed)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """The index record of a note. version: the newest that was applied. gone: the record is only a tombstone."""

    node_id: str
    version: int
    visible: bool
    gone: bool = False
