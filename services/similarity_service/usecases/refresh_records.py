"""Notes whose records an earlier release wrote are analysed again, in the background, when their index is loaded.

So a user gets what a release finds in a text beyond what the earlier one found, without ReindexUser. Until a note is
analysed again its old record is used. Two processes may do the same work; it changes nothing the second time.
"""

import logging
from dataclasses import dataclass

from services.similarity_service.model import analysis
from services.similarity_service.model.note import Note
from services.similarity_service.ports import Nodes, Records
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.index_node import IndexNode
from services.similarity_service.usecases.link_node import LinkNode
from services.similarity_service.usecases.link_texts import LinkTexts
from shared.errors import Brain2Error, Unavailable
from shared.ids import Clock

log = logging.getLogger(__name__)

# Notes that are read and analysed in one go. Their texts are in memory at the same time.
_BATCH = 20


@dataclass(frozen=True, slots=True)
class RefreshRecords:
    """Analyses outdated notes again."""

    records: Records
    cache: IndexCache
    nodes: Nodes
    index_node: IndexNode
    link_texts: LinkTexts
    link_node: LinkNode
    clock: Clock

    async def __call__(self) -> None:
        """Analyse all notes again that are known to be outdated.

        What fails is logged, and comes again when the index is loaded the next time.
        """
        while True:
            user_id, node_ids = self.cache.take_outdated(_BATCH)
            if not node_ids:
                return
            try:
                await self._refresh(user_id, node_ids)
            except Brain2Error as error:
                log.warning("outdated records stay as they are", extra={"user_id": user_id, "error": str(error)})
                return

    async def _refresh(self, user_id: str, node_ids: list[str]) -> None:
        since_ms = self.clock.now_ms()
        stored = await self.records.get_many(user_id, node_ids)
        old = [node_id for node_id, record in stored.items() if record.note and _is_outdated(record.note)]
        # Another process was faster with these.
        await self.cache.adopt(user_id, [each for each in stored.items() if each[0] not in old])
        texts = await self.nodes.texts(user_id, old) if old else {}
        if not texts:
            return
        await self.index_node(user_id, list(texts.values()), again=True)
        for error in (await self.link_texts(user_id, dict.fromkeys(texts), whole=texts)).values():
            raise error
        if await self.link_node(user_id, list(texts), since_ms):
            raise Unavailable("the graph service could not make some links now")


def _is_outdated(note: Note) -> bool:
    return note.analysis_version < analysis.VERSION
