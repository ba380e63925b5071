"""What the client takes and answers: frozen dataclasses. Times are in UTC; sizes are bytes of UTF-8."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .errors import Brain2Error


def as_time(stamp: Any) -> datetime:
    """The time of a message google.protobuf.Timestamp."""
    found: datetime = stamp.ToDatetime(tzinfo=UTC)
    return found


def _optional_time(message: Any, name: str) -> datetime | None:
    return as_time(getattr(message, name)) if message.HasField(name) else None


def in_utc(value: datetime) -> datetime:
    """The time in UTC, as messages have it. ValueError when it has no zone."""
    if value.tzinfo is None:
        raise ValueError("a time without a zone is ambiguous: use datetime.now(UTC) or the like")
    return value.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class NewNote:
    """A note to be created. At least one of title and content is not blank.

    node_id: empty: the service makes one.
    title: at most 512 bytes, one line. content: at most 256 KiB.
    tags: at most 64 of at most 64 bytes. metadata: the caller's own texts, at most 32, 4 KiB in all.
    aliases: further names of the note, at most 32; a mention of one, and a wiki link to it, means the note.
    create_time: when the note was first written, for imports; None means now.
    """

    title: str = ""
    content: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    node_id: str = ""
    create_time: datetime | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """A stored note.

    content: empty in lists, where excerpt has the first 200 characters.
    version: 1 at creation; each change adds 1.
    etag: a write that is sent it happens only while the note is unchanged.
    delete_time, purge_time: set while the note is deleted; from purge_time on it may be removed for good.
    """

    node_id: str
    title: str
    content: str
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    version: int
    etag: str
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    purge_time: datetime | None
    excerpt: str
    content_bytes: int
    aliases: tuple[str, ...] = ()

    @classmethod
    def of(cls, node: Any) -> "Note":
        """The note of a message brain2.node.v1.Node."""
        return cls(
            node.node_id,
            node.title,
            node.content,
            tuple(node.tags),
            dict(node.metadata),
            node.version,
            node.etag,
            as_time(node.create_time),
            as_time(node.update_time),
            _optional_time(node, "delete_time"),
            _optional_time(node, "purge_time"),
            node.excerpt,
            node.content_bytes,
            tuple(node.aliases),
        )


@dataclass(frozen=True, slots=True)
class NoteResult:
    """What became of one note of a batch: note is the stored one without its content, or None with the error."""

    note: Note | None
    error: Brain2Error | None


@dataclass(frozen=True, slots=True)
class NoteSettings:
    """A user's settings for notes. retention: how long a deleted note can be restored; None: the service's default."""

    retention: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """A user's settings for search and automatic links.

    language: "english", "german", ..., or "none" for no stemming; "" means the default.
    auto_link: whether automatic links are made; None means the default.
    link_threshold: the score that an automatic link needs, in [0, 1]; 0 means the adaptive default.
    max_links: the highest number of automatic links from a note; 0 means the default.
    """

    language: str = ""
    auto_link: bool | None = None
    link_threshold: float = 0.0
    max_links: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """A keyword that two notes share, and its part of their score, in [0, 1]."""

    keyword: str
    contribution: float


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link to be created between two notes. weight: in (0, 1]. labels: the caller's own texts.

    The other fields are those of an automatic link, for programs that bring links from elsewhere: who made it, whether
    a person has confirmed it, and its score in [0, 1] with its reasons and the method that found them.
    """

    source_id: str
    target_id: str
    type: str = "related"
    directed: bool = False
    weight: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    auto_generated: bool = False
    confirmed: bool = False
    score: float = 0.0
    reasons: tuple[Reason, ...] = ()
    method: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two notes. The ends of an undirected link have no order.

    weight: in [0, 1].
    auto_generated: Brain2 made the link; reasons are the keywords that the notes share, largest part first.
    method: what made an automatic link, with its version.
    confirmed: a person has confirmed the automatic link.
    """

    source_id: str
    target_id: str
    type: str
    directed: bool
    weight: float
    auto_generated: bool
    confirmed: bool
    score: float
    reasons: tuple[Reason, ...]
    labels: Mapping[str, str]
    version: int
    etag: str
    create_time: datetime
    update_time: datetime
    method: str = ""

    @classmethod
    def of(cls, edge: Any) -> "Link":
        """The link of a message brain2.graph.v1.Edge."""
        meta = edge.metadata
        return cls(
            edge.source_id,
            edge.target_id,
            edge.type,
            edge.directed,
            edge.weight,
            meta.auto_generated,
            meta.confirmed,
            meta.score,
            tuple(Reason(each.keyword, each.contribution) for each in meta.shared_keywords),
            dict(meta.labels),
            edge.version,
            edge.etag,
            as_time(edge.create_time),
            as_time(edge.update_time),
            meta.method,
        )


@dataclass(frozen=True, slots=True)
class LinkResult:
    """What became of one link of a batch: link is the stored one, or None with the error.

    created: False when the link existed already.
    """

    link: Link | None
    created: bool
    error: Brain2Error | None


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A note at the other end of a link. direction: "out", "in" or "both", from the note that was asked for."""

    node_id: str
    title: str
    weight: float
    type: str
    direction: str
    auto_generated: bool
    create_time: datetime

    @classmethod
    def of(cls, neighbor: Any) -> "Neighbor":
        """The neighbour of a message brain2.graph.v1.Neighbor."""
        return cls(
            neighbor.node_id,
            neighbor.title,
            neighbor.weight,
            neighbor.type,
            {1: "out", 2: "in"}.get(neighbor.direction, "both"),
            neighbor.auto_generated,
            as_time(neighbor.create_time),
        )


@dataclass(frozen=True, slots=True)
class SubgraphNote:
    """A note of a subgraph. hops: its distance from the note that was asked for. degree: the number of its links."""

    node_id: str
    title: str
    hops: int
    degree: int


@dataclass(frozen=True, slots=True)
class SubgraphLink:
    """A link of a subgraph or of a path."""

    source_id: str
    target_id: str
    type: str
    directed: bool
    weight: float

    @classmethod
    def of(cls, edge: Any) -> "SubgraphLink":
        """The link of a message brain2.graph.v1.SubgraphEdge."""
        return cls(edge.source_id, edge.target_id, edge.type, edge.directed, edge.weight)


@dataclass(frozen=True, slots=True)
class Subgraph:
    """The notes around a note, and the links among them. truncated: a limit left something out."""

    notes: tuple[SubgraphNote, ...]
    links: tuple[SubgraphLink, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Path:
    """A way from one note to another. bound_reached: a limit stopped the search, so that there may be a better way."""

    node_ids: tuple[str, ...]
    links: tuple[SubgraphLink, ...]
    bound_reached: bool


@dataclass(frozen=True, slots=True)
class GraphStats:
    """Counts of the whole graph. hubs: node_id -> degree of the notes with most links, most first."""

    linked_notes: int
    links: int
    automatic_links: int
    orphans: int
    hubs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the links.

    kind: "created", "updated", "deleted"; "node_hidden" or "node_shown" when a note was deleted or restored.
    link: the link; None for a note. node_id: the note that was hidden or shown; "" for a link.
    resume_token: watch(resume_token=...) continues after this change.
    """

    kind: str
    link: Link | None
    node_id: str
    resume_token: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A note that matches a search. score: larger is better. highlights: (start, end) of matches in the snippet."""

    node_id: str
    title: str
    score: float
    snippet: str
    highlights: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """The sentence around a link or a mention. highlight: (start, end) of it in the text."""

    text: str
    highlight: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mention:
    """A note that links to another one (links), or that only mentions its title or an alias. passages: at most 3."""

    node_id: str
    title: str
    links: bool
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Similar:
    """A note that is similar to another. score: in [0, 1]. near_duplicate: the texts are almost the same."""

    node_id: str
    title: str
    score: float
    reasons: tuple[Reason, ...]
    near_duplicate: bool

    @classmethod
    def of(cls, node: Any) -> "Similar":
        """The note of a message brain2.similarity.v1.SimilarNode."""
        reasons = tuple(Reason(each.keyword, each.contribution) for each in node.shared_keywords)
        return cls(node.node_id, node.title, node.score, reasons, node.near_duplicate)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why two notes are similar. threshold: the score that an automatic link between them needs."""

    score: float
    threshold: float
    reasons: tuple[Reason, ...]
    mentioned_title: str
    mentioned_by_title: str
    near_duplicate: bool


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword of a note. weight: in (0, 1]. document_frequency: the number of notes that contain it."""

    keyword: str
    weight: float
    document_frequency: int


@dataclass(frozen=True, slots=True)
class DeletionEvent:
    """A step of a deletion, in the words of Deletion; step is "" where the event belongs to none."""

    time: datetime
    state: str
    step: str
    message: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """The deletion of one note.

    state: "pending" (can be restored), "running", "failed", "done", "cancelled" (restored).
    step: the next step, or the one that failed: "fence", "archive", "detach", "unindex", "purge".
    error: why the last attempt failed. archive_uri: where the archive is, once it is written.
    history: what has happened, at most 50 events, the newest last.
    """

    node_id: str
    version: int
    state: str
    step: str
    attempts: int
    error: str
    archive_uri: str
    removed_edges: int
    delete_time: datetime
    purge_time: datetime
    history: tuple[DeletionEvent, ...] = ()
