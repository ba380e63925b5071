"""Notes by words: full-text search, notes of a keyword, all keywords."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from services.similarity_service.model import search, snippets
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.search import Hits, Question
from services.similarity_service.model.snippets import Snippet
from services.similarity_service.ports import Nodes, NodeText, Records
from services.similarity_service.usecases.checks import check_ids
from services.similarity_service.usecases.library import Library
from services.similarity_service.usecases.preferences import Preferences
from shared.errors import Brain2Error, Violations
from shared.pages import page_size
from shared.tokens import NODE_ID, PAGE, Integer, Real, Text, TokenCodec, fingerprint

MAX_QUERY_BYTES = 1024

# Where a page goes on: after a hit, after a note, after a keyword.
_SEARCH_TOKENS: TokenCodec[tuple[float, str]] = TokenCodec(PAGE, lambda s, n: (s, n), {"s": Real(), "n": NODE_ID})
_NODE_TOKENS = TokenCodec(PAGE, str, {"n": NODE_ID})
_KEYWORD_TOKENS: TokenCodec[tuple[int, str]] = TokenCodec(
    PAGE, lambda c, t: (c, t), {"c": Integer(0, 2**53), "t": Text(512)}
)


@dataclass(frozen=True, slots=True)
class Found:
    """A hit as it is shown. snippet: empty when the text can't be had just now."""

    node_id: str
    title: str
    score: float
    snippet: Snippet


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of hits and how many notes match in all."""

    hits: Sequence[Found]
    next_token: str
    total: int


class Searching:
    """Reads only."""

    def __init__(self, records: Records, library: Library, preferences: Preferences, nodes: Nodes) -> None:
        self._records = records
        self._library = library
        self._preferences = preferences
        self._nodes = nodes

    async def search_nodes(self, user_id: str, text: str, tags: Sequence[str], size: int, token: str) -> FoundPage:
        """Ranked full-text search; InvalidArgument for an empty query."""
        check_ids(user_id)
        violations = Violations()
        if len(text.encode()) > MAX_QUERY_BYTES:
            violations.add("query", f"must be at most {MAX_QUERY_BYTES} bytes")
        if not text.strip() and not tags:
            violations.add("query", "must not be empty")
        violations.raise_if_any()
        wanted = page_size("page_size", size, default=20, maximum=100)
        mark = fingerprint("SearchNodes", user_id, text, tuple(tags))
        after = _SEARCH_TOKENS.decode(mark, token)

        def question(index: UserIndex) -> tuple[Hits, list[str], Callable[[str], bool]]:
            parsed = search.parse(index, text, tags)
            hits = search.search(index, parsed, wanted, after) if parsed else Hits([], 0, False)
            return hits, [index.title(hit.doc) for hit in hits.hits], _matcher(index, parsed)

        hits, titles, matches = await self._library.ask(user_id, question)
        texts = await self._texts(user_id, [hit.node_id for hit in hits.hits])
        language = analyser((await self._preferences.of(user_id)).language)
        found = []
        for hit, title in zip(hits.hits, titles, strict=True):
            node = texts.get(hit.node_id)
            snippet = Snippet("", ()) if node is None else snippets.snippet(language, node.text or node.title, matches)
            found.append(Found(hit.node_id, title, hit.score, snippet))
        last = hits.hits[-1] if hits.more else None
        next_token = _SEARCH_TOKENS.encode(mark, float(last.score), last.node_id) if last else ""
        return FoundPage(found, next_token, hits.total)

    async def list_nodes_by_keyword(
        self, user_id: str, keyword: str, size: int, token: str
    ) -> tuple[Sequence[tuple[str, float]], str]:
        """(node id, weight) of the notes that have the word among their keywords, by node id."""
        check_ids(user_id)
        wanted = page_size("page_size", size, default=50, maximum=200)
        mark = fingerprint("ListNodesByKeyword", user_id, keyword)
        term = await self._term(user_id, keyword)
        after = _NODE_TOKENS.decode(mark, token) or ""
        kept: list[tuple[str, float]] = []
        more = True
        while more and len(kept) < wanted:
            found, more = await self._records.with_keyword(user_id, term, wanted - len(kept), after)
            if found:
                after = found[-1][0]
                live = await self._library.ask(user_id, _live([node_id for node_id, _ in found]))
                kept += [pair for pair in found if pair[0] in live]
        return kept, _NODE_TOKENS.encode(mark, after) if more else ""

    async def list_keywords(
        self, user_id: str, prefix: str, size: int, token: str
    ) -> tuple[Sequence[tuple[str, int]], str]:
        """(keyword, notes that have it among theirs), most frequent first."""
        check_ids(user_id)
        wanted = page_size("page_size", size, default=100, maximum=1000)
        mark = fingerprint("ListKeywords", user_id, prefix)
        after = _KEYWORD_TOKENS.decode(mark, token)
        counts = await self._library.ask(user_id, _counts(prefix, wanted + 1, after))
        shown = counts[:wanted]
        more = len(counts) > wanted
        next_token = _KEYWORD_TOKENS.encode(mark, int(shown[-1][1]), shown[-1][2]) if more else ""
        return [(form, count) for form, count, _ in shown], next_token

    async def _term(self, user_id: str, keyword: str) -> str:
        language = analyser((await self._preferences.of(user_id)).language)
        terms = language.terms(keyword[:MAX_QUERY_BYTES])
        if not terms:
            violations = Violations()
            violations.add("keyword", "must hold a word")
            violations.raise_if_any()
        return terms[0]

    async def _texts(self, user_id: str, node_ids: Sequence[str]) -> "dict[str, NodeText]":
        if not node_ids:
            return {}
        try:
            return dict(await self._nodes.texts(user_id, node_ids))
        except Brain2Error:
            # Ranking doesn't need the texts: hits without snippets are worth more than no answer.
            return {}


def _live(node_ids: Collection[str]) -> Callable[[UserIndex], set[str]]:
    return lambda index: {node_id for node_id in node_ids if node_id in index}


def _matcher(index: UserIndex, question: Question) -> Callable[[str], bool]:
    """Whether a term of a text is one that was asked for."""
    exact = {*question.words, *(term for phrase in question.phrases for term in phrase)}
    for prefix in question.prefixes:
        exact.update(index.vocabulary.word(number) for number in search.expand(index, prefix))
    prefixes = question.prefixes
    return lambda term: term in exact or (bool(prefixes) and term.startswith(prefixes))


def _counts(prefix: str, most: int, after: tuple[int, str] | None) -> Callable[[UserIndex], list[tuple[str, int, str]]]:
    """(form, count, term), most frequent first, then by term."""
    begins = prefix.casefold()

    def question(index: UserIndex) -> list[tuple[str, int, str]]:
        vocabulary = index.vocabulary
        counts = vocabulary.salient.view
        numbers = np.flatnonzero(counts > 0)
        order = numbers[np.argsort(-counts[numbers], kind="stable")]
        found: list[tuple[str, int, str]] = []
        last = 0
        for number in order.tolist():
            count = int(counts[number])
            if len(found) >= most and count < last:
                break  # all of one count are taken before they are put in order
            if after is not None and count > after[0]:
                continue
            term = vocabulary.word(number)
            form = vocabulary.form(number)
            if begins and not form.casefold().startswith(begins) and not term.startswith(begins):
                continue
            if after is not None and (-count, term) <= (-after[0], after[1]):
                continue
            found.append((form, count, term))
            last = count
        found.sort(key=lambda item: (-item[1], item[2]))
        return found[:most]

    return question
