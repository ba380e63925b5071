"""SuggestLinks: similar notes to which a note has no link yet, and to which no person has rejected one."""

import asyncio
from dataclasses import dataclass

from services.similarity_service.model import score
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.ports import Graph
from services.similarity_service.usecases.find_similar import Similar, query_of, similar
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.validation import check_ids, check_limit

# Notes that are looked at, those that are linked already included.
_MOST_FOUND = 200


@dataclass(frozen=True, slots=True)
class SuggestLinks:
    """Suggests links; reads only."""

    cache: IndexCache
    graph: Graph

    async def __call__(self, user_id: str, node_id: str, limit: int) -> list[Similar]:
        """The best `limit` notes that are neither linked nor rejected nor near-duplicates.

        NotFound when the note is not indexed.
        """
        check_ids(user_id, node_id=node_id)
        wanted = check_limit(limit, default=10, maximum=50)
        linked, rejected = await asyncio.gather(
            self.graph.linked(user_id, node_id), self.graph.rejected(user_id, node_id)
        )
        left_out = linked | rejected

        def find(index: UserIndex) -> list[Similar]:
            asked = query_of(index, node_id)
            matches = score.find(index, asked, min(wanted + len(left_out), _MOST_FOUND))
            found = [similar(index, asked, match) for match in matches if index.id(match.doc) not in left_out]
            return [each for each in found if not each.near_duplicate][:wanted]

        return await self.cache.query(user_id, find)
