"""A user's index built again from the notes themselves: new analysis, new language, repair."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.similarity_service.ports import Nodes, Records
from services.similarity_service.usecases.checks import check_ids
from services.similarity_service.usecases.indexing import Indexing
from services.similarity_service.usecases.library import Library
from services.similarity_service.usecases.linking import Linking
from services.similarity_service.usecases.preferences import Preferences

_BATCH = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of how many notes are done."""

    done: int
    total: int
    finished: bool


class Reindexing:
    """Writes the records again, one after the other: the index stays usable meanwhile."""

    def __init__(
        self,
        records: Records,
        library: Library,
        preferences: Preferences,
        nodes: Nodes,
        indexing: Indexing,
        linking: Linking,
    ) -> None:
        self._records = records
        self._library = library
        self._preferences = preferences
        self._nodes = nodes
        self._indexing = indexing
        self._linking = linking

    async def reindex_user(self, user_id: str, relink: bool) -> AsyncIterator[Progress]:
        """Progress after every batch; the last one is finished. Safe to stop and to start again."""
        check_ids(user_id)
        await self._preferences.use_language(user_id)
        node_ids = [node_id async for page in self._nodes.ids(user_id) for node_id in page]
        total = len(node_ids)
        yield Progress(0, total, False)
        done = 0
        for start in range(0, total, _BATCH):
            batch = node_ids[start : start + _BATCH]
            texts = await self._nodes.texts(user_id, batch)
            for node_id in batch:
                if node_id in texts:
                    await self._indexing.write(user_id, texts[node_id], again=True)
            done += len(batch)
            yield Progress(done, total, False)
        await self._hide_orphans(user_id, set(node_ids))
        await self._library.tell_everything(user_id)
        if relink:
            for start in range(0, total, _BATCH):
                await self._linking.settle(user_id, node_ids[start : start + _BATCH])
                yield Progress(total, total, False)
        yield Progress(total, total, True)

    async def _hide_orphans(self, user_id: str, live: set[str]) -> None:
        """Records of notes that the node service no longer has (a lost deletion)."""
        suspects = []
        async for page in self._records.stamps(user_id):
            suspects += [
                (node_id, stored)
                for node_id, stored in page
                if stored.visible and not stored.gone and node_id not in live
            ]
        for start in range(0, len(suspects), _BATCH):
            batch = suspects[start : start + _BATCH]
            # Written since the list was made?
            there = await self._nodes.texts(user_id, [node_id for node_id, _ in batch])
            for node_id, stored in batch:
                if node_id not in there:
                    await self._indexing.turn(user_id, node_id, stored.state_version + 1, False, stored.incarnation)
