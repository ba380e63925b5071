"""ReindexUser: a user's index is built again from the notes, after a new analysis or language, or to repair it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.similarity_service.ports import Nodes, Records
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.index_node import IndexNode
from services.similarity_service.usecases.link_texts import LinkTexts
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.validation import check_ids

_BATCH = 50


@dataclass(frozen=True, slots=True)
class ReindexProgress:
    """How many of how many notes are done."""

    done: int
    total: int
    finished: bool


@dataclass(frozen=True, slots=True)
class ReindexUser:
    """Writes the records again, one after the other; the index can be used meanwhile."""

    records: Records
    cache: IndexCache
    settings: UserSettingsCache
    nodes: Nodes
    index_node: IndexNode
    set_visibility: SetNodeVisibility
    link_texts: LinkTexts
    relinker: Relinker

    async def __call__(self, user_id: str, relink: bool) -> AsyncIterator[ReindexProgress]:
        """Yield the progress after every batch; the last one is finished.

        The call may be stopped and made again at any time.
        """
        check_ids(user_id)
        await self.settings.use_chosen_language(user_id)
        node_ids = [node_id async for page in self.nodes.ids(user_id) for node_id in page]
        total = len(node_ids)
        yield ReindexProgress(0, total, False)
        done = 0
        for start in range(0, total, _BATCH):
            batch = node_ids[start : start + _BATCH]
            texts = await self.nodes.texts(user_id, batch)
            await self.index_node(user_id, list(texts.values()), again=True)
            done += len(batch)
            yield ReindexProgress(done, total, False)
        await self._hide_orphans(user_id, set(node_ids))
        await self.cache.invalidate_everywhere(user_id)
        for start in range(0, total, _BATCH):
            batch = node_ids[start : start + _BATCH]
            for error in (await self.link_texts(user_id, dict.fromkeys(batch), batch if relink else ())).values():
                raise error
            yield ReindexProgress(total, total, False)
        if relink:
            for start in range(0, total, _BATCH):
                await self.relinker.relink(user_id, node_ids[start : start + _BATCH])
                yield ReindexProgress(total, total, False)
        yield ReindexProgress(total, total, True)

    async def _hide_orphans(self, user_id: str, live: set[str]) -> None:
        """Hide notes that have a record but are not in the node service any more: their deletion was lost."""
        suspects = []
        async for page in self.records.stamps(user_id):
            suspects += [
                (node_id, stored)
                for node_id, stored in page
                if stored.visible and not stored.gone and node_id not in live
            ]
        for start in range(0, len(suspects), _BATCH):
            batch = suspects[start : start + _BATCH]
            # A note may have been written after the list of live notes was read.
            # Its record is the proof that it was live: an older answer would hide a note that was restored.
            seen = {node_id: (stored.incarnation, stored.state_version) for node_id, stored in batch}
            there = await self.nodes.texts(user_id, list(seen), seen)
            for node_id, stored in batch:
                if node_id not in there:
                    version = stored.state_version + 1
                    await self.set_visibility(user_id, node_id, version, visible=False, incarnation=stored.incarnation)
