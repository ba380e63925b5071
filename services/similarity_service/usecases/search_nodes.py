"""SearchNodes: full-text search, with the part of each note's text that shows why it was found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.similarity_service.model import search, snippets
from services.similarity_service.model.analysis import analyser, is_unspaced
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.link_index import LinkIndex
from services.similarity_service.model.search import Hits, SearchQuery
from services.similarity_service.model.snippets import Snippet
from services.similarity_service.ports import Nodes, NodeText
from services.similarity_service.usecases import text_worker
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.validation import check_query
from shared.errors import Brain2Error
from shared.pages import page_size
from shared.tokens import NODE_ID, PAGE, Real, TokenCodec, fingerprint

# A query of more characters than this may have a hundred prefixes with 64 terms each.
_LONG_QUERY = 100
# Above this many terms of an index, tags and prefixes are looked for among them in a thread, and above this many notes,
# all of which may have one score, every query runs in one.
_MANY_TERMS = 10_000
_MANY_NOTES = 20_000
# The score and id of the last hit of a page.
_TOKENS: TokenCodec[tuple[float, str]] = TokenCodec(PAGE, lambda s, n: (s, n), {"s": Real(), "n": NODE_ID})


@dataclass(frozen=True, slots=True)
class Found:
    """A hit as it is shown. snippet: empty when the node service could not give the text."""

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


@dataclass(frozen=True, slots=True)
class SearchNodes:
    """Searches; reads only."""

    cache: IndexCache
    settings: UserSettingsCache
    nodes: Nodes

    async def __call__(self, user_id: str, text: str, tags: Sequence[str], size: int, token: str) -> FoundPage:
        """A page of `size` hits, best first. InvalidArgument for an empty query and a foreign page token."""
        check_query(user_id, text, tags)
        wanted = page_size("page_size", size, default=20, maximum=100)
        query_hash = fingerprint("SearchNodes", user_id, text, tuple(tags))
        after = _TOKENS.decode(query_hash, token)

        def find(index: UserIndex, links: LinkIndex) -> tuple[Hits, list[str], Callable[[str], bool]]:
            parsed = search.parse(index, text, tags)
            named = links.bearing(parsed.text.strip('"'))
            hits = search.search(index, parsed, wanted, after, named=named) if parsed else Hits([], 0, False)
            return hits, [index.title(hit.doc) for hit in hits.hits], _matcher(index, parsed)

        def is_long(index: UserIndex) -> bool:
            among_all = bool(tags) or "*" in text or "tag:" in text
            return (
                len(text) > _LONG_QUERY
                or index.live > _MANY_NOTES
                or (among_all and len(index.vocabulary) > _MANY_TERMS)
            )

        hits, titles, matches = await self.cache.query_both(user_id, find, long=is_long)
        texts = await self._texts(user_id, [hit.node_id for hit in hits.hits])
        language = analyser((await self.settings.get(user_id)).indexed_language)
        shown = [_shown(texts.get(hit.node_id)) for hit in hits.hits]
        shares = snippets.shares([len(each) for each in shown])

        def cut() -> list[Snippet]:
            return [
                snippets.snippet(language, each, matches, most=share) if each else Snippet("", ())
                for each, share in zip(shown, shares, strict=True)
            ]

        found = [
            Found(hit.node_id, title, hit.score, snippet)
            for hit, title, snippet in zip(
                hits.hits, titles, await text_worker.run_if_long(sum(shares), cut), strict=True
            )
        ]
        last = hits.hits[-1] if hits.more else None
        next_token = _TOKENS.encode(query_hash, float(last.score), last.node_id) if last else ""
        return FoundPage(found, next_token, hits.total)

    async def _texts(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, NodeText]:
        if not node_ids:
            return {}
        try:
            return await self.nodes.texts(user_id, node_ids)
        except Brain2Error:
            # Ranking does not need the texts: hits without snippets are better than an error.
            return {}


def _shown(node: NodeText | None) -> str:
    """The text that a snippet is cut from; "" when the node service could not give it."""
    return "" if node is None else node.text or node.title


def _matcher(index: UserIndex, query: SearchQuery) -> Callable[[str], bool]:
    """Whether a term of a text is one that the query names."""
    exact = {*query.words, *(term for phrase in query.phrases for term in phrase)}
    for prefix in query.prefixes:
        exact.update(index.vocabulary.word(number) for number in search.expand(index, prefix))
    prefixes = query.prefixes
    characters = [word for word in query.words if len(word) == 1 and is_unspaced(word)]
    return lambda term: (
        term in exact
        or (bool(prefixes) and term.startswith(prefixes))
        or any(character in term for character in characters)
    )
