"""The first step of automatic linking: a note that was just indexed is linked to its best notes."""

from services.similarity_service.model.links import Linker
from services.similarity_service.model.score import METHOD
from services.similarity_service.ports import Graph
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.user_settings import UserSettingsCache


class LinkNode:
    """Links new notes at once, and has them relinked later."""

    def __init__(self, cache: IndexCache, settings: UserSettingsCache, graph: Graph, relinker: Relinker) -> None:
        self._cache = cache
        self._settings = settings
        self._graph = graph
        self._relinker = relinker

    async def __call__(self, user_id: str, node_id: str, since_ms: int) -> None:
        """Link a note to its best notes. It will be relinked even if this process dies after the call returns.

        since_ms: a time at or before which the note was written, in milliseconds since 1970.
        """
        settings = (await self._settings.get(user_id)).settings
        if not settings.auto_link:
            return
        found = await self._cache.query(user_id, lambda index: Linker(index, settings).best(node_id))
        await self._relinker.schedule(user_id, [node_id, *(link.node_id for link in found)], since_ms)
        if found:
            await self._graph.link(user_id, node_id, found, METHOD)
