"""Keywords of a note, notes like it, why two are alike, and what could be linked."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from services.similarity_service.model import keywords, links, query, score
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.keywords import Keyword
from services.similarity_service.model.note import Note, analyse
from services.similarity_service.model.query import Query
from services.similarity_service.model.score import Match, Part
from services.similarity_service.ports import Graph, Records
from services.similarity_service.usecases.checks import check_ids, check_score, check_subject, limit
from services.similarity_service.usecases.library import Library
from services.similarity_service.usecases.preferences import Preferences
from shared.errors import NotFound

# Shared keywords that an answer shows for each note.
_EXPLAINED = 8


@dataclass(frozen=True, slots=True)
class Similar:
    """A similar note. parts: the strongest of what makes the score."""

    node_id: str
    title: str
    score: float
    parts: tuple[Part, ...]
    title_mention: bool
    near_duplicate: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """parts sum to score. mentioned_title: of the other note, in the first; mentioned_by_title: the other way."""

    score: float
    parts: tuple[Part, ...]
    mentioned_title: str
    mentioned_by_title: str
    near_duplicate: bool
    threshold: float


class Finding:
    """Reads only."""

    def __init__(self, records: Records, library: Library, preferences: Preferences, graph: Graph) -> None:
        self._records = records
        self._library = library
        self._preferences = preferences
        self._graph = graph

    async def extract_keywords(self, user_id: str, node_id: str, text: str, title: str, most: int) -> list[Keyword]:
        """Of a note that is indexed (else NotFound), or of a text."""
        check_subject(user_id, node_id, text, title)
        wanted = limit(most, default=10, maximum=50)
        if not node_id:
            return await self._library.ask(
                user_id, lambda index: keywords.keywords(index, _note_of(index, title, text), wanted)
            )
        note = (await self._records.get(user_id, node_id)).shown
        if note is None:
            raise _unknown(node_id)
        return await self._library.ask(user_id, lambda index: keywords.keywords(index, note, wanted))

    async def find_similar(
        self, user_id: str, node_id: str, text: str, title: str, most: int, min_score: float
    ) -> list[Similar]:
        """The notes most like a note that is indexed (else NotFound), or like a text; best first."""
        check_subject(user_id, node_id, text, title)
        check_score(min_score)
        wanted = limit(most, default=10, maximum=100)

        def question(index: UserIndex) -> list[Similar]:
            asked = _query_of(index, node_id) if node_id else query.of_note(index, _note_of(index, title, text))
            return [_similar(index, asked, match) for match in score.find(index, asked, wanted, min_score)]

        return await self._library.ask(user_id, question)

    async def suggest_links(self, user_id: str, node_id: str, most: int) -> list[Similar]:
        """Similar notes that the note isn't linked to; no near-duplicates."""
        check_ids(user_id, node_id=node_id)
        wanted = limit(most, default=10, maximum=50)
        linked = await self._graph.linked(user_id, node_id)
        return await self._library.ask(user_id, _unlinked(node_id, linked, wanted))

    async def explain_similarity(self, user_id: str, node_id: str, other_id: str) -> Explanation:
        """Why two notes are, or are not, similar. NotFound when either isn't indexed."""
        check_ids(user_id, node_id=node_id, other_node_id=other_id)
        choices = await self._preferences.of(user_id)

        def question(index: UserIndex) -> Explanation:
            asked = _query_of(index, node_id)
            other = _doc_of(index, other_id)
            match = score.compare(index, asked.doc, other)
            return Explanation(
                score=match.score,
                parts=tuple(score.explain(index, asked, match)),
                mentioned_title=score.mentioned_name(index, asked, other),
                mentioned_by_title=score.mentioning_name(index, asked, other),
                near_duplicate=score.is_duplicate(index, asked, match),
                threshold=links.threshold(choices.settings, index.live),
            )

        return await self._library.ask(user_id, question)


def _unlinked(node_id: str, linked: Collection[str], wanted: int) -> Callable[[UserIndex], list[Similar]]:
    def question(index: UserIndex) -> list[Similar]:
        asked = _query_of(index, node_id)
        found = score.find(index, asked, min(wanted + len(linked), 200))
        similar = [_similar(index, asked, match) for match in found if index.id(match.doc) not in linked]
        return [each for each in similar if not each.near_duplicate][:wanted]

    return question


def _similar(index: UserIndex, asked: Query, match: Match) -> Similar:
    return Similar(
        node_id=index.id(match.doc),
        title=index.title(match.doc),
        score=match.score,
        parts=tuple(score.explain(index, asked, match, _EXPLAINED)),
        title_mention=match.mentions > 0 or match.mentioned_by > 0,
        near_duplicate=score.is_duplicate(index, asked, match),
    )


def _note_of(index: UserIndex, title: str, text: str) -> Note:
    return analyse(index.analyser, node_id="", version=0, title=title, text=text)


def _doc_of(index: UserIndex, node_id: str) -> int:
    doc = index.doc(node_id)
    if doc < 0:
        raise _unknown(node_id)
    return doc


def _query_of(index: UserIndex, node_id: str) -> Query:
    return query.of_doc(index, _doc_of(index, node_id))


def _unknown(node_id: str) -> NotFound:
    return NotFound(f"note {node_id} is not indexed", reason="NODE_NOT_INDEXED", metadata={"node_id": node_id})
