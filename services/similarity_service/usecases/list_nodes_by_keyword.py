"""ListNodesByKeyword: the notes that have a word among their keywords."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.ports import Records
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.validation import MAX_QUERY_BYTES, check_ids, check_keyword_terms
from shared.pages import page_size
from shared.tokens import NODE_ID, PAGE, TokenCodec, fingerprint

# The id of the last note of a page.
_TOKENS = TokenCodec(PAGE, str, {"n": NODE_ID})


@dataclass(frozen=True, slots=True)
class ListNodesByKeyword:
    """Lists notes; reads only."""

    records: Records
    cache: IndexCache
    settings: UserSettingsCache

    async def __call__(
        self, user_id: str, keyword: str, size: int, token: str, written: Collection[str] = ()
    ) -> tuple[Sequence[tuple[str, float]], str]:
        """(node id, weight) of a page of notes, by node id, and the token of the next page.

        written: notes that were just written, which the KeywordIndex may not have yet.
        """
        check_ids(user_id)
        wanted = page_size("page_size", size, default=50, maximum=200)
        query_hash = fingerprint("ListNodesByKeyword", user_id, keyword)
        term = await self._term(user_id, keyword)
        start = after = _TOKENS.decode(query_hash, token) or ""
        kept: list[tuple[str, float]] = []
        more = True
        while more and len(kept) < wanted:
            found, more = await self.records.with_keyword(user_id, term, wanted - len(kept), after)
            if found:
                after = found[-1][0]
                live = await self._live(user_id, [node_id for node_id, _ in found])
                kept += [pair for pair in found if pair[0] in live]
        for node_id, weight in await self._written(user_id, term, written):
            if start < node_id and (node_id <= after or not more) and node_id not in dict(kept):
                kept.append((node_id, weight))
        return sorted(kept), _TOKENS.encode(query_hash, after) if more else ""

    async def _written(self, user_id: str, term: str, node_ids: Collection[str]) -> list[tuple[str, float]]:
        """Those of the notes that have the term among their keywords, by their records."""
        if not node_ids:
            return []
        records = await self.cache.records(user_id, list(node_ids))
        notes = [(node_id, note) for node_id, stored in records.items() if (note := stored.shown) is not None]
        return [
            (node_id, weight / 255)
            for node_id, note in notes
            for number, weight in note.salient
            if note.terms[number] == term
        ]

    async def _live(self, user_id: str, node_ids: Collection[str]) -> set[str]:
        """Which of some notes are in the index: the postings still hold deleted notes."""

        def live(index: UserIndex) -> set[str]:
            return {node_id for node_id in node_ids if node_id in index}

        return await self.cache.query(user_id, live)

    async def _term(self, user_id: str, keyword: str) -> str:
        language = analyser((await self.settings.get(user_id)).indexed_language)
        terms = language.terms(keyword[:MAX_QUERY_BYTES])
        check_keyword_terms(terms)
        return terms[0]
