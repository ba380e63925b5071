"""What a reconciliation finds, and the report at its end."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What doesn't fit together (Finding.kind in cleanup.proto)."""

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
    """detail: for a person; names no content."""

    kind: Kind
    node_id: str
    detail: str
    repaired: bool = False


@dataclass(slots=True)
class Report:
    """What was looked at, found and repaired."""

    notes: int = 0
    edges: int = 0
    index_entries: int = 0
    found: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    end_ms: int = 0

    def add(self, finding: Finding) -> None:
        self.found[finding.kind] += 1
        self.repaired[finding.kind] += finding.repaired


@dataclass(frozen=True, slots=True)
class StoredNote:
    """A note as it lies in the table. changed_ms: when its text was written last."""

    node_id: str
    version: int
    live: bool
    changed_ms: int


@dataclass(frozen=True, slots=True)
class EdgeSide:
    """One of the two items of an edge: how it stands at `node_id`."""

    node_id: str
    other: str
    type: str
    weight: float

    @property
    def mirror(self) -> tuple[str, str, str]:
        """What names the item at the other end."""
        return self.other, self.node_id, self.type


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What the index keeps of a note. version: the newest that it heard of; gone: a tombstone against late news."""

    node_id: str
    version: int
    visible: bool
    gone: bool = False
