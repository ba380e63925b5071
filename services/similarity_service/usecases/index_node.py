"""A note was written: its text is analysed, and the record and the index get the result."""

from dataclasses import dataclass, replace

from services.similarity_service.model import keywords
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.note import Note, analyse
from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import NodeText
from services.similarity_service.usecases import text_worker
from services.similarity_service.usecases.index_cache import IndexCache, is_long
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.user_settings import UserSettingsCache


@dataclass(frozen=True, slots=True)
class IndexNode:
    """Indexes notes that were created, changed or restored."""

    changes: RecordChanges
    cache: IndexCache
    settings: UserSettingsCache

    async def __call__(self, user_id: str, text: NodeText, *, again: bool = False) -> bool:
        """Index a note. False when a newer version is known.

        again: index it also when this version is known (another analysis or another language).
        """
        language = (await self.settings.get(user_id)).indexed_language
        note = await _analyse(text, language)
        salient = await self.cache.query(user_id, lambda index: keywords.salient(index, note), long=is_long(note))
        note = replace(note, salient=salient)
        # Nearly every first version is new: the conditional write finds out at no cost, a read would be one call more.
        guess = Stored() if note.version == 1 and not again else None

        def change(old: Stored) -> Stored | None:
            return old.written(_with_former_names(note, old.note), again=again)

        return await self.changes.change(user_id, text.node_id, change, guess)


def _with_former_names(note: Note, old: Note | None) -> Note:
    """The note with the names that it had before, which its links still lead by."""
    if old is None or old.incarnation != note.incarnation:
        return note
    return replace(note, links=note.links.after(note.title, old.links, old.title))


async def _analyse(text: NodeText, language: str) -> Note:
    def work() -> Note:
        return analyse(
            analyser(language),
            node_id=text.node_id,
            version=text.version,
            incarnation=text.incarnation,
            title=text.title,
            text=text.text,
            tags=text.tags,
            aliases=text.aliases,
            path=text.path,
            properties=text.properties,
        )

    return await text_worker.run_if_long(len(text.text), work)
