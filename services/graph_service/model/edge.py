"""An edge: its two ends and its type, what it weighs and why it is there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from shared.errors import Violations
from shared.ids import check_id, check_user_id

RELATED = "related"
MAX_LABELS = 16
MAX_LABEL_BYTES = 2048
MAX_METADATA_BYTES = 4096
MAX_KEYWORDS = 64
# An automatic edge that is found again is written again when its score differs by so much.
LEAST_CHANGE = 0.02
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class EdgeKey(NamedTuple):
    """What identifies an edge: a < b as text, whichever way it points, and its type."""

    a: str
    b: str
    type: str = RELATED

    def other(self, note: str) -> str:
        return self.b if note == self.a else self.a


def edge_key(source: str, target: str, type: str = "") -> EdgeKey:
    """The key of the edge between two notes; the order of the ends doesn't matter."""
    a, b = (source, target) if source <= target else (target, source)
    return EdgeKey(a, b, type or RELATED)


class Keyword(NamedTuple):
    """A shared keyword of an automatic edge and its part of the score, in [0, 1]."""

    keyword: str
    contribution: float


@dataclass(frozen=True, slots=True)
class Metadata:
    """Why an edge is there. score in [0, 1]; labels are the caller's own data."""

    auto: bool = False
    score: float = 0.0
    keywords: tuple[Keyword, ...] = ()
    method: str = ""
    confirmed: bool = False
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)

    def bytes(self) -> int:
        """Its size in UTF-8, numbers counted as eight bytes."""
        words = sum(len(k.keyword.encode()) + 8 for k in self.keywords)
        return words + len(self.method.encode()) + 8 + label_bytes(self.labels)


def label_bytes(labels: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in labels.items())


@dataclass(frozen=True, slots=True)
class NewEdge:
    """What a caller asks to be linked; weight 0 means 1."""

    source: str
    target: str
    type: str = RELATED
    directed: bool = False
    weight: float = 1.0
    metadata: Metadata = Metadata()

    @property
    def key(self) -> EdgeKey:
        return edge_key(self.source, self.target, self.type)


@dataclass(frozen=True, slots=True)
class Edge:
    """A stored edge. Times in milliseconds UTC; version is 1 at creation, +1 at each change."""

    user: str
    source: str
    target: str
    type: str
    directed: bool
    weight: float
    metadata: Metadata
    version: int
    create_ms: int
    update_ms: int

    @property
    def key(self) -> EdgeKey:
        return edge_key(self.source, self.target, self.type)

    @property
    def etag(self) -> str:
        """Differs also between an edge and one made anew in its place, whose version starts at 1 again."""
        return f'"{self.version}-{self.create_ms:x}"'

    def changed(self, now_ms: int, *, weight: float | None = None, metadata: Metadata | None = None) -> "Edge":
        """The next version of it. update_ms never goes back, whatever the clock does."""
        return replace(
            self,
            weight=self.weight if weight is None else weight,
            metadata=metadata or self.metadata,
            version=self.version + 1,
            update_ms=max(now_ms, self.update_ms),
        )


def born(user: str, new: NewEdge, now_ms: int) -> Edge:
    """The first version of an edge. The ends of an undirected one are put in order."""
    key = new.key
    source, target = (new.source, new.target) if new.directed else (key.a, key.b)
    return Edge(user, source, target, key.type, new.directed, new.weight, new.metadata, 1, now_ms, now_ms)


def met_again(found: Edge, new: NewEdge, now_ms: int) -> Edge | None:
    """What an edge becomes by being created again; None: it stays as it is.

    An automatic one that a person makes becomes the person's; why it was found stays known. An automatic one that isn't
    confirmed, and is found again with another score, gets it, with the reasons; its weight, if nobody changed that.
    """
    old = found.metadata
    if not old.auto:
        return None
    if not new.metadata.auto:
        meta = replace(old, auto=False, confirmed=True, labels=new.metadata.labels or old.labels)
        return found.changed(now_ms, weight=new.weight, metadata=meta)
    if old.confirmed or abs(old.score - new.metadata.score) < LEAST_CHANGE:
        return None
    weight = new.weight if found.weight == old.score else found.weight
    return found.changed(now_ms, weight=weight, metadata=replace(new.metadata, confirmed=False, labels=old.labels))


def check_new_edge(prefix: str, new: NewEdge, violations: Violations) -> None:
    """Add what is wrong with a new edge; prefix is the path of the message in the request ("edge.")."""
    check_ends(prefix, new.source, new.target, new.type, violations)
    check_weight(f"{prefix}weight", new.weight, violations)
    check_metadata(f"{prefix}metadata", new.metadata, violations)


def check_ends(prefix: str, source: str, target: str, type: str, violations: Violations) -> None:
    check_id(f"{prefix}source_id", source, violations)
    check_id(f"{prefix}target_id", target, violations)
    if source == target:
        violations.add(f"{prefix}target_id", "must be another note than source_id")
    if not _TYPE.fullmatch(type):
        violations.add(f"{prefix}type", "must be 1 to 32 of a-z 0-9 _, the first a letter (empty: related)")


def check_weight(field: str, weight: float, violations: Violations) -> None:
    if not 0.0 <= weight <= 1.0:  # also refuses NaN
        violations.add(field, "must be between 0 and 1")


def check_metadata(field: str, metadata: Metadata, violations: Violations) -> None:
    if not 0.0 <= metadata.score <= 1.0:
        violations.add(f"{field}.score", "must be between 0 and 1")
    if len(metadata.keywords) > MAX_KEYWORDS:
        violations.add(f"{field}.shared_keywords", f"at most {MAX_KEYWORDS}")
    if not all(0.0 <= k.contribution <= 1.0 for k in metadata.keywords):
        violations.add(f"{field}.shared_keywords", "contribution must be between 0 and 1")
    if len(metadata.labels) > MAX_LABELS or label_bytes(metadata.labels) > MAX_LABEL_BYTES:
        violations.add(f"{field}.labels", f"at most {MAX_LABELS} entries and {MAX_LABEL_BYTES} bytes in all")
    if "" in metadata.labels:
        violations.add(f"{field}.labels", "keys must not be empty")  # DynamoDB refuses such a map
    if metadata.bytes() > MAX_METADATA_BYTES:
        violations.add(field, f"at most {MAX_METADATA_BYTES} bytes in all")


def check_user(user: str, violations: Violations) -> None:
    check_user_id("user_id", user, violations)
