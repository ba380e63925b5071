"""Wiki links: the edges at notes are made what the texts say, after the notes were written, hidden or shown.

Two notes have one edge for all links between them. Which edges there should be follows from the index alone, so the
work may be done twice, late, or by two processes at once: after the edges are written, they are compared with the index
again, until both agree. What a crash leaves undone is done when the event is delivered again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.similarity_service.model.link_index import LinkIndex, LinkingNote, linking_note
from services.similarity_service.ports import Direction, Graph, Records, TextLink
from services.similarity_service.usecases.index_cache import IndexCache
from shared.errors import Aborted

# While others write the same notes, the edges are compared with the texts this often at most.
_ROUNDS = 5

# Above this many notes of an index, so many may say the name of a note that they are looked at in a thread.
_MANY_NOTES = 1_000

Pair = tuple[str, str]
# For each pair of notes (in text order): whether the first links to the second, and the second to the first.
Due = Mapping[Pair, tuple[bool, bool]]


@dataclass(frozen=True, slots=True)
class LinkTexts:
    """Keeps the edges of wiki links."""

    records: Records
    cache: IndexCache
    graph: Graph

    async def before(self, user_id: str, node_ids: Collection[str]) -> dict[str, LinkingNote | None]:
        """The notes as the index has them, to be passed on when they have been changed."""
        return await self.cache.query_links(user_id, lambda index: {each: index.note(each) for each in node_ids})

    async def __call__(
        self, user_id: str, notes: Mapping[str, LinkingNote | None], whole: Collection[str] = ()
    ) -> dict[str, Exception]:
        """Make the edges of notes, and of the notes whose links say their names, what the texts say.

        notes: the notes before they were changed. whole: of these look at the edges that the note has, even if neither
        its text nor any other has a link, because what was there before is not known.

        Returns the error of each note whose edges are not right: Aborted (LINKS_CONTENDED) when others kept writing the
        same notes. Unavailable when graph can't be reached.
        """

        def differing(index: LinkIndex) -> list[str]:
            return [each for each, before in notes.items() if each in whole or _may_differ(index, each, before)]

        left = await self.cache.query_links(user_id, differing) if notes.keys() - set(whole) else list(notes)
        refused: Collection[Pair] = ()
        for _ in range(_ROUNDS):
            if not left:
                return {}
            there = await self.graph.text_links(user_id, left)
            due = await self._due(user_id, left, notes, there)
            links: dict[Pair, TextLink] = {}
            gone: set[Pair] = set()
            changed = []
            for node_id in left:
                made, removed = _differences(node_id, due[node_id], there[node_id])
                if made or removed:
                    changed.append(node_id)
                links |= {_pair(link.source, link.target): link for link in made}
                gone |= set(removed)
            if not changed:
                return {}
            refused = {_pair(*pair) for pair in await self.graph.link_texts(user_id, list(links.values()))}
            await self.graph.unlink_texts(user_id, sorted(gone))
            # A text that another process has indexed meanwhile is seen here, or that process has seen these edges.
            now = await self._due(user_id, changed, notes, there)
            left = [each for each in changed if now[each] != due[each] or not refused.isdisjoint(due[each])]
        error = Aborted(
            "the links of the note are being changed by others, or graph does not know a note yet",
            reason="LINKS_CONTENDED",
            metadata={"pairs": " ".join("-".join(pair) for pair in sorted(refused))},
        )
        return dict.fromkeys(left, error)

    async def _due(
        self,
        user_id: str,
        node_ids: Sequence[str],
        notes: Mapping[str, LinkingNote | None],
        there: Mapping[str, Mapping[str, Direction]],
    ) -> dict[str, Due]:
        def due(index: LinkIndex) -> dict[str, Due]:
            return {each: _due(index, each, notes[each], there[each]) for each in node_ids}

        def is_long(index: LinkIndex) -> bool:
            return len(index) > _MANY_NOTES and any(_has_other_names(index, each, notes[each]) for each in node_ids)

        return await self.cache.query_links(user_id, due, long=is_long)

    async def after_hiding(self, user_id: str, node_id: str) -> None:
        """A note was hidden: links that say its names lead to other notes with these names, if there are such notes."""
        note = (await self.records.get(user_id, node_id)).note
        if note is not None:
            for error in (await self(user_id, {node_id: linking_note(node_id, note.title, note.links)})).values():
                raise error


def _may_differ(index: LinkIndex, node_id: str, before: LinkingNote | None) -> bool:
    versions = [note for note in (before, index.note(node_id)) if note is not None]
    return any(note.links.targets or index.is_said(note) for note in versions)


def _has_other_names(index: LinkIndex, node_id: str, before: LinkingNote | None) -> bool:
    now = index.note(node_id)
    return now is None or before is None or now.spelled != before.spelled


def _due(index: LinkIndex, node_id: str, before: LinkingNote | None, there: Iterable[str]) -> Due:
    """The links that there should be between all pairs of notes whose edge may have to change."""
    now = index.note(node_id)
    pairs: set[Pair] = set()
    if now is not None:
        others = {*index.targets(node_id), *there}
        if before is not None:
            others |= {end for target in before.links.targets if (end := index.resolve(target, node_id)) is not None}
        pairs |= {_pair(node_id, other) for other in others - {node_id}}
    if _has_other_names(index, node_id, before):
        for note in (before, now):
            pairs |= {_pair(*link) for link in (index.concerned(note) if note is not None else ())}
    # Edges at a note that is not in the index are hidden, and are compared with the texts when it is shown again.
    return {(a, b): (index.leads(a, b), index.leads(b, a)) for a, b in pairs if a in index and b in index}


def _differences(node_id: str, due: Due, there: Mapping[str, Direction]) -> tuple[list[TextLink], list[Pair]]:
    """The edges to make, and the pairs of notes whose edge is to be removed. there: the edges at the note."""
    links, gone = [], []
    for (a, b), (forth, back) in sorted(due.items()):
        link = TextLink(b, a, True) if back and not forth else TextLink(a, b, not back)
        other = b if a == node_id else a
        if node_id in (a, b):
            known = there.get(other)
            wanted = link.direction(node_id) if forth or back else None
            if known == wanted:
                continue
        if forth or back:
            links.append(link)
        else:
            gone.append((a, b))
    return links, gone


def _pair(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)
