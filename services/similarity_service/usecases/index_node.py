"""Notes were written: their texts are analysed, and the records and the index get the results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.similarity_service.model import keywords
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine import codec
from services.similarity_service.model.note import MOST_OCCURRENCES, Note, analyse
from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import NodeText
from services.similarity_service.usecases import text_worker
from services.similarity_service.usecases.index_cache import IndexCache, is_long
from services.similarity_service.usecases.record_changes import Change, RecordChanges
from services.similarity_service.usecases.user_settings import UserSettingsCache
from shared.resilience import foreground
from shared.resilience.slices import Slices

# An item of the table has at most 400 KB. Besides the record and the links of the text it has keys, numbers, and up to
# 16 earlier names, which are added later.
_MOST_RECORD_BYTES = 384_000
# A keyword keeps its weight while the new one differs by at most this share of the larger of the two, but for the
# strongest one, to which the others are relative.
_NEAR_WEIGHT, _STRONGEST = 0.2, 255
# The record of a text of at most this many characters is never that large.
_LARGE_RECORD = 16_000


@dataclass(frozen=True, slots=True)
class IndexNode:
    """Indexes notes that were created, changed or restored."""

    changes: RecordChanges
    cache: IndexCache
    settings: UserSettingsCache

    async def __call__(self, user_id: str, texts: Sequence[NodeText], *, again: bool = False) -> set[str]:
        """Index notes, each once. Returns the ids of those that were indexed: of the others a newer version is known.

        again: index them also when their version is known (another analysis or another language).
        """
        language = (await self.settings.get(user_id)).indexed_language
        notes = [await _analyse(text, language) for text in texts]
        salient = await self.cache.query_each(user_id, notes, keywords.salient, long=is_long)
        found = [replace(note, salient=best) for note, best in zip(notes, salient, strict=True)]
        indexed = await self.changes.change_many(user_id, {note.node_id: _change(note, again) for note in found})
        # It takes half a millisecond to free the analysis of a long text: those of many are let go in slices.
        kept = [*notes, *found]
        del notes, found
        slices = Slices()
        while kept:
            kept.pop()
            await slices.pause()
        return indexed


def _change(note: Note, again: bool) -> Change:
    # Nearly every first version is new: the conditional write finds out at no cost, a read would be one call more.
    guess = Stored() if note.version == 1 and not again else None

    def apply(old: Stored) -> Stored | None:
        now = _with_former_names(note, old.note)
        return old.written(now if again else _with_near_weights(now, old.note), again=again)

    return Change(apply, guess)


def _with_former_names(note: Note, old: Note | None) -> Note:
    """The note with the names that it had before, which its links still lead by."""
    if old is None or old.incarnation != note.incarnation:
        return note
    return replace(note, links=note.links.after(note.title, old.links, old.title))


def _with_near_weights(note: Note, old: Note | None) -> Note:
    """The note with the earlier weights of its keywords where they are near: each other one is a posting to write."""
    if old is None:
        return note
    before = {old.terms[number]: weight for number, weight in old.salient}

    def weight(number: int, now: int) -> int:
        was = before.get(note.terms[number], now)
        return was if now != _STRONGEST and abs(now - was) <= _NEAR_WEIGHT * max(now, was) else now

    return replace(note, salient=tuple([(number, weight(number, now)) for number, now in note.salient]))


async def _analyse(text: NodeText, language: str) -> Note:
    """Analyse a text, or the first words of one whose record would be too large to be stored."""

    def work() -> Note:
        most = MOST_OCCURRENCES
        note = analyse_first(most)
        if len(text.text) > _LARGE_RECORD:
            while most and not codec.fits(note, _MOST_RECORD_BYTES):
                most = most * 3 // 4
                note = analyse_first(most)
        return note

    def analyse_first(most: int) -> Note:
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
            label_first=text.label_first,
            most=most,
        )

    await foreground.turn()
    return await text_worker.run_if_long(len(text.text), work)
