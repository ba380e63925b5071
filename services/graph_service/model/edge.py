"""An edge: its two ends, its type, its weight, and the reason why it exists."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

RELATED = "related"
# An automatic edge that is created again is written again when its score differs by this much or more.
MIN_SCORE_CHANGE = 0.02
# The label, and its value, of an edge that stands for links in texts.
SOURCE, TEXT = "source", "text"
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class EdgeKey(NamedTuple):
    """What identifies an edge: its type and its ends in text order (a < b), whatever its direction is."""

    a: str
    b: str
    type: str = RELATED

    def other(self, node_id: str) -> str:
        return self.b if node_id == self.a else self.a


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
    """Why an edge exists. score: in [0, 1]. labels: data of the caller."""

    auto: bool = False
    score: float = 0.0
    keywords: tuple[Keyword, ...] = ()
    method: str = ""
    confirmed: bool = False
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)

    @property
    def from_text(self) -> bool:
        """Whether links in texts made the edge: their service keeps it equal to the texts."""
        return not self.auto and self.labels.get(SOURCE) == TEXT

    @property
    def replaceable(self) -> bool:
        """Whether the edge is automatic and no person has confirmed it: then the service may remove it by itself."""
        return self.auto and not self.confirmed

    def bytes(self) -> int:
        """Its size in UTF-8, numbers counted as eight bytes."""
        words = sum(len(k.keyword.encode()) + 8 for k in self.keywords)
        return words + len(self.method.encode()) + 8 + label_bytes(self.labels)


def label_bytes(labels: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in labels.items())


@dataclass(frozen=True, slots=True)
class NewEdge:
    """An edge that a caller asks for."""

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
    """A stored edge. Times in milliseconds UTC; version is 1 at creation, +1 at each change.

    suppressed: a person doesn't want this link. It is in no list, and only a person can create the edge again.
    """

    user_id: str
    source: str
    target: str
    type: str
    directed: bool
    weight: float
    metadata: Metadata
    version: int
    create_ms: int
    update_ms: int
    suppressed: bool = False

    @property
    def key(self) -> EdgeKey:
        return edge_key(self.source, self.target, self.type)

    @property
    def etag(self) -> str:
        """It includes the time of creation: an edge that is created again has version 1 again."""
        return f'"{self.version}-{self.create_ms:x}"'

    def changed(self, now_ms: int, *, weight: float | None = None, metadata: Metadata | None = None) -> "Edge":
        """The next version. update_ms never decreases, even if the clock does."""
        return replace(
            self,
            weight=self.weight if weight is None else weight,
            metadata=metadata or self.metadata,
            version=self.version + 1,
            update_ms=max(now_ms, self.update_ms),
        )


def suppression(user_id: str, key: EdgeKey, existing: Edge | None, now_ms: int) -> Edge:
    """The suppressed edge that takes the place of an existing one, or of none. Nothing but its key is kept."""
    version = 1 if existing is None else existing.version + 1
    create_ms = now_ms if existing is None else existing.create_ms
    return Edge(user_id, key.a, key.b, key.type, False, 0.0, Metadata(), version, create_ms, now_ms, suppressed=True)


def first_version(user_id: str, new: NewEdge, now_ms: int) -> Edge:
    """The first version of an edge. The ends of an undirected edge are put in text order."""
    key = new.key
    source, target = (new.source, new.target) if new.directed else (key.a, key.b)
    return Edge(user_id, source, target, key.type, new.directed, new.weight, new.metadata, 1, now_ms, now_ms)


def _rewritten(existing: Edge, new: NewEdge, now_ms: int) -> Edge | None:
    """The next version of an edge from texts that texts or a person create again; None: it stays as it is."""
    fresh = first_version(existing.user_id, new, now_ms)
    same = (fresh.directed, fresh.source) == (existing.directed, existing.source)
    if new.metadata.from_text:
        # An import also knows the words of the link, which the service of the texts leaves as they are.
        labels = {**existing.metadata.labels, **new.metadata.labels}
        if same and labels == existing.metadata.labels:
            return None
        after = existing.changed(now_ms, metadata=replace(existing.metadata, labels=labels))
    else:
        after = existing.changed(now_ms, weight=new.weight, metadata=new.metadata)
    return replace(after, directed=fresh.directed, source=fresh.source, target=fresh.target)


def merge_into_existing(existing: Edge, new: NewEdge, now_ms: int) -> Edge | None:
    """The next version of an edge that is created again; None: it stays as it is.

    An automatic edge that a person creates is no longer automatic, but keeps its score and keywords. An automatic edge
    that isn't confirmed takes over another score with its keywords, and the weight, unless somebody changed that. An
    edge from texts takes over the direction and the labels of other texts, and everything from a person who creates it.
    """
    old = existing.metadata
    if old.from_text and not new.metadata.auto:
        return _rewritten(existing, new, now_ms)
    if not old.auto:
        return None
    if not new.metadata.auto:
        meta = replace(old, auto=False, confirmed=True, labels=new.metadata.labels or old.labels)
        return existing.changed(now_ms, weight=new.weight, metadata=meta)
    if old.confirmed or abs(old.score - new.metadata.score) < MIN_SCORE_CHANGE:
        return None
    weight = new.weight if existing.weight == old.score else existing.weight
    return existing.changed(now_ms, weight=weight, metadata=replace(new.metadata, confirmed=False, labels=old.labels))
