"""Generated from the asynchronous client by `make proto`: the same operations without async."""

# ruff: noqa

from ._loop import Loop
from .deletions import Deletions
from .errors import Aborted, from_result
from .errors import Cancelled, Unavailable, from_result
from .links import Links
from .models import Change, GraphStats, Link, LinkResult, Neighbor, NewLink, Path, Subgraph, SubgraphLink, SubgraphNote
from .models import Deletion, DeletionEvent, as_time
from .models import Explanation, Hit, Keyword, Mention, Passage, Reason, SearchSettings, Similar
from .models import NewNote, Note, NoteResult, NoteSettings, in_utc
from .notes import Notes
from .search import Search
from collections import defaultdict
from collections.abc import AsyncIterator
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import AsyncIterator, Iterable
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any


class NotesSync:
    """The notes of a user. Errors are the classes of brain2.errors; each method names the usual ones."""

    def __init__(self, loop: Loop, twin: Notes) -> None:
        self._loop = loop
        self._twin = twin

    def create(self, title: str='', content: str='', *, tags: Iterable[str]=(), aliases: Iterable[str]=(), metadata: Mapping[str, str] | None=None, node_id: str='', create_time: datetime | None=None, request_id: str='', timeout: float | None=None) -> Note:
        """Store a note; it is durable when the call returns. Keywords and automatic links follow within about a second.

        node_id: its id; empty: the service makes one.
        request_id: empty: the client makes one. Give one to repeat a creation after a crash of your own program.
        timeout: seconds; None means the client's.
        Errors: InvalidArgument, AlreadyExists (the node_id is taken, also by a deleted note).
        """
        return self._loop.run(self._twin.create(title, content, tags=tags, aliases=aliases, metadata=metadata, node_id=node_id, create_time=create_time, request_id=request_id, timeout=timeout))

    def create_many(self, notes: Sequence[NewNote], *, request_id: str='', timeout: float | None=None) -> tuple[NoteResult, ...]:
        """Store up to 100 notes; each has its own result, in their order. A wrong one does not prevent the others.

        request_id: empty: the client makes one. Give one to send the same notes again, as after a DeadlineExceeded.
        """
        return self._loop.run(self._twin.create_many(notes, request_id=request_id, timeout=timeout))

    def get(self, node_id: str, *, show_deleted: bool=False, timeout: float | None=None) -> Note:
        """Read a note. show_deleted: also one that is deleted and not purged yet. Errors: NotFound."""
        return self._loop.run(self._twin.get(node_id, show_deleted=show_deleted, timeout=timeout))

    def get_many(self, node_ids: Iterable[str], *, with_content: bool=True, timeout: float | None=None) -> dict[str, Note]:
        """Read notes: node_id -> note, in the order of the ids. Notes that are missing or deleted are left out.

        with_content: False: excerpt has the first 200 characters instead, which is faster.
        """
        return self._loop.run(self._twin.get_many(node_ids, with_content=with_content, timeout=timeout))

    def update(self, node_id: str, *, title: str | None=None, content: str | None=None, tags: Iterable[str] | None=None, aliases: Iterable[str] | None=None, metadata: Mapping[str, str] | None=None, etag: str='', request_id: str='', timeout: float | None=None) -> Note:
        """Change the fields that are given; None leaves a field as it is.

        etag: of the note that was read: the change happens only if nobody else changed it since (Aborted otherwise).
        Errors: NotFound, Aborted (ETAG_MISMATCH), InvalidArgument, FailedPrecondition (the note is deleted).
        """
        return self._loop.run(self._twin.update(node_id, title=title, content=content, tags=tags, aliases=aliases, metadata=metadata, etag=etag, request_id=request_id, timeout=timeout))

    def rename(self, node_id: str, title: str, *, rewrite_links: bool=True, etag: str='', timeout: float | None=None) -> Note:
        """Give a note another title. rewrite_links: wiki links that name it by the old title get the new one.

        A link that can't be rewritten keeps the old title, which becomes an alias: it leads to the note all the same.
        timeout: seconds for a step, of which many linking notes need several.
        Errors: NotFound, InvalidArgument, FailedPrecondition (NODE_DELETED), Aborted.
        """
        return self._loop.run(self._twin.rename(node_id, title, rewrite_links=rewrite_links, etag=etag, timeout=timeout))

    def edit(self, node_id: str, change: Callable[[Note], Note], *, timeout: float | None=None) -> Note:
        """Read a note, change it, and write it if nobody else wrote in between; otherwise begin again.

        change: takes the note and answers it with another title, content, tags, aliases or metadata, as by
        dataclasses.replace. It may be called several times. Any number of programs can edit one note at once, and no
        edit is lost.
        Errors: those of get and update; Aborted after 60 attempts.
        """
        return self._loop.run(self._twin.edit(node_id, change, timeout=timeout))

    def delete(self, node_id: str, *, etag: str='', orphans: bool=False, request_id: str='', timeout: float | None=None) -> datetime:
        """Delete a note so that it can still be restored; answer the time from which on it may be purged.

        orphans: delete also each neighbour that would be left without a link and was never edited.
        Errors: NotFound, Aborted (ETAG_MISMATCH).
        """
        return self._loop.run(self._twin.delete(node_id, etag=etag, orphans=orphans, request_id=request_id, timeout=timeout))

    def restore(self, node_id: str, *, request_id: str='', timeout: float | None=None) -> Note:
        """Bring a deleted note back with its links. Errors: NotFound, FailedPrecondition (PURGE_STARTED)."""
        return self._loop.run(self._twin.restore(node_id, request_id=request_id, timeout=timeout))

    def list(self, *, start_time: datetime | None=None, end_time: datetime | None=None, page_size: int=100, timeout: float | None=None) -> Iterator[Note]:
        """List the notes, newest first, without their content. Pages are read as the iterator goes.

        start_time, end_time: only notes that were created at or after, and before. timeout: seconds for a page.
        """
        return self._loop.iterate(self._twin.list(start_time=start_time, end_time=end_time, page_size=page_size, timeout=timeout))

    def settings(self, *, timeout: float | None=None) -> NoteSettings:
        """The user's settings for notes."""
        return self._loop.run(self._twin.settings(timeout=timeout))

    def update_settings(self, settings: NoteSettings, *, request_id: str='', timeout: float | None=None) -> NoteSettings:
        """Replace the user's settings for notes. Errors: InvalidArgument (retention outside 0 s to 365 days)."""
        return self._loop.run(self._twin.update_settings(settings, request_id=request_id, timeout=timeout))


class LinksSync:
    """The links of a user. Two notes have at most one link of a type."""

    def __init__(self, loop: Loop, twin: Links) -> None:
        self._loop = loop
        self._twin = twin

    def create(self, source_id: str, target_id: str, *, type: str='related', directed: bool=False, weight: float=1.0, labels: Mapping[str, str] | None=None, request_id: str='', timeout: float | None=None) -> Link:
        """Link two notes. A link that exists is answered unchanged; an automatic one becomes the person's.

        weight: in (0, 1]. labels: the caller's own texts, at most 16.
        Errors: InvalidArgument, FailedPrecondition (NODE_MISSING: an end does not exist or is deleted).
        """
        return self._loop.run(self._twin.create(source_id, target_id, type=type, directed=directed, weight=weight, labels=labels, request_id=request_id, timeout=timeout))

    def create_many(self, links: Sequence[NewLink], *, request_id: str='', timeout: float | None=None) -> tuple[LinkResult, ...]:
        """Create up to 500 links; each has its own result, in their order.

        request_id: empty: the client makes one. Give one to send the same links again, as after a DeadlineExceeded.
        """
        return self._loop.run(self._twin.create_many(links, request_id=request_id, timeout=timeout))

    def get(self, source_id: str, target_id: str, *, type: str='related', timeout: float | None=None) -> Link:
        """Read a link with its reasons. Errors: NotFound."""
        return self._loop.run(self._twin.get(source_id, target_id, type=type, timeout=timeout))

    def update(self, source_id: str, target_id: str, *, type: str='related', weight: float | None=None, labels: Mapping[str, str] | None=None, confirmed: bool | None=None, etag: str='', request_id: str='', timeout: float | None=None) -> Link:
        """Change what is given of a link; None leaves it as it is. Errors: NotFound, Aborted (ETAG_MISMATCH).

        confirmed: True: relinking never removes this automatic link.
        """
        return self._loop.run(self._twin.update(source_id, target_id, type=type, weight=weight, labels=labels, confirmed=confirmed, etag=etag, request_id=request_id, timeout=timeout))

    def delete(self, source_id: str, target_id: str, *, type: str='related', etag: str='', request_id: str='', timeout: float | None=None) -> bool:
        """Remove a link; False when there was none. An automatic one may come back: reject it instead."""
        return self._loop.run(self._twin.delete(source_id, target_id, type=type, etag=etag, request_id=request_id, timeout=timeout))

    def reject(self, source_id: str, target_id: str, *, type: str='related', request_id: str='', timeout: float | None=None) -> bool:
        """Remove an automatic link and keep it from being made again; True when it existed."""
        return self._loop.run(self._twin.reject(source_id, target_id, type=type, request_id=request_id, timeout=timeout))

    def neighbors(self, node_id: str, *, order: str='weight', direction: str='any', min_weight: float=0.0, types: Iterable[str]=(), page_size: int=100, timeout: float | None=None) -> Iterator[Neighbor]:
        """List the notes that are linked with a note, with their titles. Pages are read as the iterator goes.

        order: "weight" (heaviest first) or "time" (newest link first). direction: "any", "out", "in", "both".
        types: only links of these types; none means all. timeout: seconds for a page.
        """
        return self._loop.iterate(self._twin.neighbors(node_id, order=order, direction=direction, min_weight=min_weight, types=types, page_size=page_size, timeout=timeout))

    def neighbors_of_many(self, node_ids: Iterable[str], *, limit: int=10, min_weight: float=0.0, timeout: float | None=None) -> dict[str, tuple[Neighbor, ...]]:
        """The heaviest neighbours of each note, at most limit (100 or fewer), in the order of the ids; without titles.

        The answer has the newest write of this client; earlier writes to other notes follow within milliseconds.
        timeout: seconds for a call; one has 1,000 notes.
        """
        return self._loop.run(self._twin.neighbors_of_many(node_ids, limit=limit, min_weight=min_weight, timeout=timeout))

    def degree(self, node_id: str, *, timeout: float | None=None) -> int:
        """The number of links of a note."""
        return self._loop.run(self._twin.degree(node_id, timeout=timeout))

    def around(self, node_id: str, *, hops: int=2, max_fanout: int=25, max_notes: int=250, min_weight: float=0.0, timeout: float | None=None) -> Subgraph:
        """The notes within 1 to 3 hops of a note, with their titles, and the links among them.

        The answer has the newest write of this client; earlier writes to other notes follow within milliseconds.
        """
        return self._loop.run(self._twin.around(node_id, hops=hops, max_fanout=max_fanout, max_notes=max_notes, min_weight=min_weight, timeout=timeout))

    def path(self, source_id: str, target_id: str, *, max_hops: int=6, timeout: float | None=None) -> Path | None:
        """A path with the fewest hops, of several the heavier; None when there is none within max_hops (at most 10)."""
        return self._loop.run(self._twin.path(source_id, target_id, max_hops=max_hops, timeout=timeout))

    def all(self, *, min_weight: float=0.0, timeout: float | None=None) -> Iterator[Link]:
        """Every link of the user, for a view or an export; read as the iterator goes.

        timeout: seconds until the first links come; the whole may take any time.
        """
        return self._loop.iterate(self._twin.all(min_weight=min_weight, timeout=timeout))

    def stats(self, *, hubs: int=10, timeout: float | None=None) -> GraphStats:
        """Counts of the whole graph, with at most 100 hubs."""
        return self._loop.run(self._twin.stats(hubs=hubs, timeout=timeout))

    def watch(self, *, resume_token: str='') -> Iterator[Change]:
        """The changes of the links, from now on or from a resume_token, without an end.

        When a service restarts, the client continues after the last change: none is lost and none comes twice.
        Errors: OutOfRange (RESUME_TOKEN_EXPIRED: read all() again, then watch from now on).
        """
        return self._loop.iterate(self._twin.watch(resume_token=resume_token))


class SearchSync:
    """Finds notes of a user."""

    def __init__(self, loop: Loop, twin: Search) -> None:
        self._loop = loop
        self._twin = twin

    def find(self, query: str, *, tags: Iterable[str]=(), page_size: int=20, wait: bool=True, timeout: float | None=None) -> Iterator[Hit]:
        """Search the full text, best first. Pages are read as the iterator goes.

        query: words, "quoted phrases", prefix* and tag:name, at most 1 KiB. tags: only notes that have all of them.
        timeout: seconds for a page. Errors: InvalidArgument.
        """
        return self._loop.iterate(self._twin.find(query, tags=tags, page_size=page_size, wait=wait, timeout=timeout))

    def count(self, query: str, *, tags: Iterable[str]=(), wait: bool=True, timeout: float | None=None) -> int:
        """The number of notes that match a search, as find has it."""
        return self._loop.run(self._twin.count(query, tags=tags, wait=wait, timeout=timeout))

    def similar(self, node_id: str='', *, text: str='', title: str='', limit: int=10, min_score: float=0.0, wait: bool=True, timeout: float | None=None) -> tuple[Similar, ...]:
        """The notes that are most similar to a note or to a text, best first, with the keywords that explain each.

        Give node_id, or text with an optional title. limit: at most 100. Errors: NotFound (the note is not indexed).
        """
        return self._loop.run(self._twin.similar(node_id, text=text, title=title, limit=limit, min_score=min_score, wait=wait, timeout=timeout))

    def suggest(self, node_id: str, *, limit: int=10, timeout: float | None=None) -> tuple[Similar, ...]:
        """Similar notes that are not linked with the note and whose link was not rejected; at most 50."""
        return self._loop.run(self._twin.suggest(node_id, limit=limit, timeout=timeout))

    def explain(self, node_id: str, other_node_id: str, *, timeout: float | None=None) -> Explanation:
        """Why two notes are similar, and the score that an automatic link would need. Errors: NotFound."""
        return self._loop.run(self._twin.explain(node_id, other_node_id, timeout=timeout))

    def keywords(self, node_id: str='', *, text: str='', title: str='', limit: int=10, timeout: float | None=None) -> tuple[Keyword, ...]:
        """The keywords of a note or of a text, largest weight first; at most 50. Errors: NotFound."""
        return self._loop.run(self._twin.keywords(node_id, text=text, title=title, limit=limit, timeout=timeout))

    def with_keyword(self, keyword: str, *, page_size: int=100, wait: bool=True, timeout: float | None=None) -> Iterator[str]:
        """The node_ids of the notes that have a keyword among their most salient ones."""
        return self._loop.iterate(self._twin.with_keyword(keyword, page_size=page_size, wait=wait, timeout=timeout))

    def mentions(self, node_id: str, *, page_size: int=20, wait: bool=True, timeout: float | None=None) -> Iterator[Mention]:
        """The notes whose text links to a note, and then those that only mention its title or an alias.

        Pages are read as the iterator goes. Errors: NotFound (the note is not indexed).
        """
        return self._loop.iterate(self._twin.mentions(node_id, page_size=page_size, wait=wait, timeout=timeout))

    def settings(self, *, timeout: float | None=None) -> SearchSettings:
        """The user's settings for search and automatic links."""
        return self._loop.run(self._twin.settings(timeout=timeout))

    def update_settings(self, settings: SearchSettings, *, request_id: str='', timeout: float | None=None) -> SearchSettings:
        """Replace the user's settings for search and automatic links. Errors: InvalidArgument."""
        return self._loop.run(self._twin.update_settings(settings, request_id=request_id, timeout=timeout))


class DeletionsSync:
    """What becomes of deleted notes: archive, removal of the links and of the index entries, purge."""

    def __init__(self, loop: Loop, twin: Deletions) -> None:
        self._loop = loop
        self._twin = twin

    def get(self, node_id: str, *, timeout: float | None=None) -> Deletion:
        """The state of the deletion of a note. Errors: NotFound."""
        return self._loop.run(self._twin.get(node_id, timeout=timeout))

    def list(self, *, page_size: int=100, timeout: float | None=None) -> Iterator[Deletion]:
        """List the deletions, oldest first. Pages are read as the iterator goes."""
        return self._loop.iterate(self._twin.list(page_size=page_size, timeout=timeout))

    def start_now(self, node_id: str, *, request_id: str='', timeout: float | None=None) -> Deletion:
        """Start the cleanup of a deleted note now instead of at the end of its retention; it can't be restored then.

        Errors: NotFound, FailedPrecondition (NOT_DELETED).
        """
        return self._loop.run(self._twin.start_now(node_id, request_id=request_id, timeout=timeout))

    def retry(self, node_id: str, *, request_id: str='', timeout: float | None=None) -> Deletion:
        """Run a failed deletion again from the step at which it failed. Errors: NotFound, FailedPrecondition."""
        return self._loop.run(self._twin.retry(node_id, request_id=request_id, timeout=timeout))

    def export(self, *, include_deleted: bool=False, timeout: float | None=None) -> Iterator[str]:
        """All notes, links and settings as JSON lines that `make import` reads; the last one has the kind "end".

        timeout: seconds until the first lines come; the whole may take any time.
        """
        return self._loop.iterate(self._twin.export(include_deleted=include_deleted, timeout=timeout))
