"""The first step of automatic linking: notes that were just indexed are linked to their best notes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from services.similarity_service.model.links import Linkers
from services.similarity_service.model.score import METHOD
from services.similarity_service.ports import Graph
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.user_settings import UserSettingsCache

# More notes than this that come together are only relinked: that is soon, and their links at once would mostly be
# replaced, because they are chosen before the other notes of the burst are there.
MOST_AT_ONCE = 10


@dataclass(slots=True)
class LinkNode:
    """Links new notes at once, if they are few, and has them relinked later.

    matches: similar notes that were found for new and changed notes in this process.
    """

    cache: IndexCache
    settings: UserSettingsCache
    graph: Graph
    relinker: Relinker
    matches: int = field(default=0, init=False)

    async def __call__(self, user_id: str, node_ids: Sequence[str], since_ms: int) -> Collection[str]:
        """Link notes to their best notes, unless they are more than MOST_AT_ONCE. They will be relinked even if this
        process dies after the call returns.

        since_ms: a time at or before which the notes were written, in milliseconds since 1970.

        Returns the notes of which a link could not be made now.
        """
        settings = (await self.settings.get(user_id)).settings
        if not settings.auto_link or not node_ids:
            return ()
        if len(node_ids) > MOST_AT_ONCE:
            await self.relinker.schedule(user_id, node_ids, since_ms)
            return ()
        linkers = Linkers(settings)
        found = await self.cache.query_each(user_id, node_ids, lambda index, node_id: linkers.of(index).best(node_id))
        links = {node_id: best for node_id, best in zip(node_ids, found, strict=True) if best}
        self.matches += sum(map(len, links.values()))
        others = [link.node_id for best in links.values() for link in best]
        await self.relinker.schedule(user_id, [*node_ids, *others], since_ms)
        return await self.graph.link(user_id, links, METHOD) if links else ()
