"""FindSimilar: the notes most similar to a note or to a text."""

from dataclasses import dataclass

from services.similarity_service.model import query, score
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.note import Note, analyse
from services.similarity_service.model.query import SearchQuery
from services.similarity_service.model.score import Contribution, Match
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.text_worker import LONG_TEXT
from services.similarity_service.usecases.validation import check_limit, check_min_score, check_subject
from shared.errors import NotFound

# Shared keywords that an answer shows for each note.
_EXPLAINED = 8


@dataclass(frozen=True, slots=True)
class Similar:
    """A similar note. contributions: the strongest of what makes the score."""

    node_id: str
    title: str
    score: float
    contributions: tuple[Contribution, ...]
    title_mention: bool
    near_duplicate: bool


@dataclass(frozen=True, slots=True)
class FindSimilar:
    """Finds similar notes; reads only."""

    cache: IndexCache

    async def __call__(
        self, user_id: str, node_id: str, text: str, title: str, limit: int, min_score: float
    ) -> list[Similar]:
        """The best `limit` notes for an indexed note or a text, best first. NotFound when the note is not indexed."""
        check_subject(user_id, node_id, text, title)
        check_min_score(min_score)
        wanted = check_limit(limit, default=10, maximum=100)

        def find(index: UserIndex) -> list[Similar]:
            asked = query_of(index, node_id) if node_id else query.of_note(index, text_as_note(index, title, text))
            return [similar(index, asked, match) for match in score.find(index, asked, wanted, min_score)]

        return await self.cache.query(user_id, find, long=len(text) > LONG_TEXT)


def similar(index: UserIndex, asked: SearchQuery, match: Match) -> Similar:
    """A match as an answer shows it."""
    return Similar(
        node_id=index.id(match.doc),
        title=index.title(match.doc),
        score=match.score,
        contributions=tuple(score.explain(index, asked, match, _EXPLAINED)),
        title_mention=match.mentions > 0 or match.mentioned_by > 0,
        near_duplicate=score.is_duplicate(index, asked, match),
    )


def text_as_note(index: UserIndex, title: str, text: str) -> Note:
    """A text analysed like a note, in the language of the index."""
    return analyse(index.analyser, node_id="", version=0, title=title, text=text)


def doc_of(index: UserIndex, node_id: str) -> int:
    """A note's number in the index. NotFound when it is not in."""
    doc = index.doc(node_id)
    if doc < 0:
        raise not_indexed(node_id)
    return doc


def query_of(index: UserIndex, node_id: str) -> SearchQuery:
    """An indexed note as a query. NotFound when it is not in the index."""
    return query.of_doc(index, doc_of(index, node_id))


def not_indexed(node_id: str) -> NotFound:
    """The error for a note that is not indexed."""
    return NotFound(f"note {node_id} is not indexed", reason="NODE_NOT_INDEXED", metadata={"node_id": node_id})
