"""ExtractKeywords: the keywords of a note or of a text."""

from dataclasses import dataclass

from services.similarity_service.model import keywords
from services.similarity_service.model.keywords import Keyword
from services.similarity_service.model.stored import Stored
from services.similarity_service.usecases.find_similar import not_indexed, text_as_note
from services.similarity_service.usecases.index_cache import IndexCache, is_long
from services.similarity_service.usecases.text_worker import LONG_TEXT
from services.similarity_service.usecases.validation import check_limit, check_subject


@dataclass(frozen=True, slots=True)
class ExtractKeywords:
    """Finds keywords; reads only."""

    cache: IndexCache

    async def __call__(self, user_id: str, node_id: str, text: str, title: str, limit: int) -> list[Keyword]:
        """The best `limit` keywords of an indexed note, or of a text. NotFound when the note is not indexed."""
        check_subject(user_id, node_id, text, title)
        wanted = check_limit(limit, default=10, maximum=50)
        if not node_id:
            return await self.cache.query(
                user_id,
                lambda index: keywords.keywords(index, text_as_note(index, title, text), wanted),
                long=len(text) > LONG_TEXT,
            )
        note = (await self.cache.records(user_id, [node_id])).get(node_id, Stored()).shown
        if note is None:
            raise not_indexed(node_id)
        return await self.cache.query(user_id, lambda index: keywords.keywords(index, note, wanted), long=is_long(note))
