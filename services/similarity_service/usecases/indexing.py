"""News of notes -> records -> change log. Each piece of news may come twice, late or in any order (model/stored.py)."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.similarity_service.model import keywords
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.keywords import Keyword
from services.similarity_service.model.note import Note, analyse
from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import NodeText, Records
from services.similarity_service.usecases.checks import check_ids
from services.similarity_service.usecases.library import Library
from services.similarity_service.usecases.preferences import Preferences
from shared.errors import Aborted

_ATTEMPTS = 8
# Text so long is analysed in a thread: it would hold the event loop for milliseconds.
_LONG_TEXT = 20_000


class Indexing:
    """Keeps the records."""

    def __init__(self, records: Records, library: Library, preferences: Preferences) -> None:
        self._records = records
        self._library = library
        self._preferences = preferences
        self._turning: set[asyncio.Task[bool]] = set()

    async def write(self, user_id: str, text: NodeText, *, again: bool = False) -> bool:
        """A note was written (created, changed, restored). False when that is old news.

        again: index it although this version is known (another analysis or language).
        """
        language = (await self._preferences.of(user_id)).language
        note = await _analyse(text, language)
        note = await self._library.ask(user_id, lambda index: _with_salient(index, note))
        # Nearly every first version is news: that nothing is known of it is found out by writing, not by reading.
        guess = Stored() if note.version == 1 and not again else None
        return await self._change(user_id, text.node_id, lambda old: old.written(note, again=again), guess)

    async def turn(
        self, user_id: str, node_id: str, version: int, visible: bool, incarnation: int | None = None
    ) -> bool:
        """A note was deleted or restored. False when a newer state is known."""
        check_ids(user_id, node_id=node_id)
        work = asyncio.ensure_future(self._turn(user_id, node_id, version, visible, incarnation))
        self._turning.add(work)
        work.add_done_callback(self._turned)
        # A caller who waits for milliseconds only (a deletion) still wants it done when they have passed.
        return await asyncio.shield(work)

    async def remove(
        self, user_id: str, node_id: str, version: int, incarnation: int | None = None
    ) -> tuple[bool, list[Keyword]]:
        """A note was purged. Whether it was indexed, and the keywords that it had. Aborted for an old version."""
        check_ids(user_id, node_id=node_id)
        before: list[Stored] = []

        def change(old: Stored) -> Stored | None:
            before[:] = [old]
            return old.removed(version, incarnation)

        removed = await self._change(user_id, node_id, change)
        note = before[0].note
        if not removed or note is None:
            return False, []
        return True, await self._library.ask(user_id, lambda index: keywords.keywords(index, note, keywords.SALIENT))

    def _turned(self, work: "asyncio.Task[bool]") -> None:
        self._turning.discard(work)
        if not work.cancelled():
            work.exception()  # whoever still waits gets it; the event of the deletion makes it good

    async def _turn(self, user_id: str, node_id: str, version: int, visible: bool, incarnation: int | None) -> bool:
        turned = await self._records.turn(user_id, node_id, visible, version, incarnation)
        if turned is not None:
            await self._library.tell(user_id, [(node_id, turned)])
            return True
        return await self._change(user_id, node_id, lambda old: old.turned(visible, version, incarnation))

    async def _change(
        self, user_id: str, node_id: str, change: Callable[[Stored], Stored | None], guess: Stored | None = None
    ) -> bool:
        """guess: what is probably known of the note, to spare the read."""
        for _ in range(_ATTEMPTS):
            old = await self._records.get(user_id, node_id) if guess is None else guess
            guess = None
            new = change(old)
            if new is None:
                await self._library.remind(user_id, node_id, old)
                return False
            new = replace(new, revision=old.revision + 1)
            if await self._records.put(user_id, node_id, old, new):
                # After the record, and before anybody links: whoever reads the log then finds the record.
                await self._library.tell(user_id, [(node_id, new)])
                return True
        raise Aborted("other writers of the note's record always came first", reason="RECORD_CONTENDED")


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
        )

    return await asyncio.to_thread(work) if len(text.text) > _LONG_TEXT else work()


def _with_salient(index: UserIndex, note: Note) -> Note:
    return replace(note, salient=keywords.salient(index, note))


def salient_terms(note: Note) -> Sequence[tuple[str, float]]:
    """(term, weight in (0, 1]) of the keywords by which a note is listed."""
    return [(note.terms[number], weight / 255) for number, weight in note.salient]
