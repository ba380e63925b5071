"""ExplainSimilarity: why two notes are, or are not, similar."""

from dataclasses import dataclass

from services.similarity_service.model import links, score
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.score import Contribution
from services.similarity_service.usecases.find_similar import doc_of, query_of
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.validation import check_ids


@dataclass(frozen=True, slots=True)
class Explanation:
    """The contributions sum to the score.

    mentioned_title: the other note's name, if the first note mentions it. mentioned_by_title: the first note's name, if
    the other mentions it. threshold: the score that an automatic
    link between the two needs.
    """

    score: float
    contributions: tuple[Contribution, ...]
    mentioned_title: str
    mentioned_by_title: str
    near_duplicate: bool
    threshold: float


@dataclass(frozen=True, slots=True)
class ExplainSimilarity:
    """Explains scores; reads only."""

    cache: IndexCache
    settings: UserSettingsCache

    async def __call__(self, user_id: str, node_id: str, other_id: str) -> Explanation:
        """Explain the score of two notes. NotFound when either is not indexed."""
        check_ids(user_id, node_id=node_id, other_node_id=other_id)
        settings = (await self.settings.get(user_id)).settings

        def explain(index: UserIndex) -> Explanation:
            asked = query_of(index, node_id)
            other = doc_of(index, other_id)
            match = score.compare(index, asked.doc, other)
            return Explanation(
                score=match.score,
                contributions=tuple(score.explain(index, asked, match)),
                mentioned_title=score.mentioned_name(index, asked, other),
                mentioned_by_title=score.mentioning_name(index, asked, other),
                near_duplicate=score.is_duplicate(index, asked, match),
                threshold=links.threshold(settings, index.live, match),
            )

        return await self.cache.query(user_id, explain)
