"""The first step of automatic linking: a note that was just indexed is linked to its best notes."""

from dataclasses import dataclass, field

from services.similarity_service.model.links import Linker
from services.similarity_service.model.score import METHOD
from services.similarity_service.ports import Graph
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.user_settings import UserSettingsCache


@dataclass(slots=True)
class LinkNode:
    """Links new notes at once, and has them relinked later.

    matches: similar notes that were found for new and changed notes in this process.
    """

    cache: IndexCache
    settings: UserSettingsCache
    graph: Graph
    relinker: Relinker
    matches: int = field(default=0, init=False)

    async def __call__(self, user_id: str, node_id: str, since_ms: int) -> None:
        """Link a note to its best notes. It will be relinked even if this process dies after the call returns.

        since_ms: a time at or before which the note was written, in milliseconds since 1970.
        """
        settings = (await self.settings.get(user_id)).settings
        if not settings.auto_link:
            return
        found = await self.cache.query(user_id, lambda index: Linker(index, settings).best(node_id))
        self.matches += len(found)
        await self.relinker.schedule(user_id, [node_id, *(link.node_id for link in found)], since_ms)
        if found:
            await self.graph.link(user_id, node_id, found, METHOD)
