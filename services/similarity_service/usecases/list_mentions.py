"""ListMentions: the notes that link to a note, and those that only mention its title or an alias."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from services.similarity_service.model import search
from services.similarity_service.model.analysis import Analyser, analyser, normalise
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.link_index import LinkIndex
from services.similarity_service.model.passages import Passage, passage
from services.similarity_service.model.search import SearchQuery
from services.similarity_service.model.wiki_links import wiki_links
from services.similarity_service.ports import Nodes, NodeText
from services.similarity_service.usecases.find_similar import not_indexed
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.validation import check_ids
from shared.errors import Brain2Error
from shared.pages import page_size
from shared.tokens import NODE_ID, PAGE, Integer, TokenCodec, fingerprint

MOST_PASSAGES = 3
# Above this many characters of texts, the passages are looked for in a thread.
_MUCH_TEXT = 20_000
_LINKS, _MENTIONS = 0, 1
# The kind and the id of the last note of a page.
_TOKENS: TokenCodec[tuple[int, str]] = TokenCodec(PAGE, lambda k, n: (k, n), {"k": Integer(0, 1), "n": NODE_ID})


@dataclass(frozen=True, slots=True)
class MentioningNote:
    """A note that links to another (links), or only mentions it. passages: empty when its text can't be read now."""

    node_id: str
    title: str
    links: bool
    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class MentionPage:
    """A page of mentions, and how many notes link and mention in all."""

    mentions: Sequence[MentioningNote]
    next_token: str
    total_links: int
    total_mentions: int


@dataclass(frozen=True, slots=True)
class ListMentions:
    """Lists mentions; reads only."""

    cache: IndexCache
    settings: UserSettingsCache
    nodes: Nodes

    async def __call__(self, user_id: str, node_id: str, size: int, token: str) -> MentionPage:
        """A page of notes: those that link first, each kind by node id. NotFound when the note is not indexed."""
        check_ids(user_id, node_id=node_id)
        wanted = page_size("page_size", size, default=20, maximum=100)
        query_hash = fingerprint("ListMentions", user_id, node_id)
        after = _TOKENS.decode(query_hash, token) or (_LINKS, "")
        names, linking = await self.cache.query_links(user_id, lambda index: _linking(index, node_id))
        language = analyser((await self.settings.get(user_id)).indexed_language)
        terms = list(dict.fromkeys(terms for name in names if (terms := tuple(language.terms(name)))))
        mentioning = await self.cache.query(user_id, lambda index: _containing(index, terms))
        mentioning -= {*linking, node_id}
        found = [(_LINKS, each) for each in sorted(linking)] + [(_MENTIONS, each) for each in sorted(mentioning)]
        rest = [each for each in found if each > after]
        page = rest[:wanted]
        texts = await self._texts(user_id, [each for _, each in page])
        titles = await self.cache.query(user_id, lambda index: {each: _title(index, each) for _, each in page})
        leads = await self.cache.query_links(user_id, lambda index: index.leading(node_id))

        def work() -> list[MentioningNote]:
            return [
                MentioningNote(
                    each,
                    titles[each],
                    kind == _LINKS,
                    _passages(language, texts.get(each), terms, leads if kind == _LINKS else None),
                )
                for kind, each in page
            ]

        much = sum(len(text.text) for text in texts.values()) > _MUCH_TEXT
        mentions = await asyncio.to_thread(work) if much else work()
        next_token = _TOKENS.encode(query_hash, *page[-1]) if len(rest) > wanted else ""
        return MentionPage(mentions, next_token, len(linking), len(mentioning))

    async def _texts(self, user_id: str, node_ids: Sequence[str]) -> dict[str, NodeText]:
        if not node_ids:
            return {}
        try:
            return dict(await self.nodes.texts(user_id, node_ids))
        except Brain2Error:
            return {}  # who mentions the note is known without the texts


def _linking(index: LinkIndex, node_id: str) -> tuple[list[str], set[str]]:
    """The names of a note that texts mention, and the notes whose links lead to it."""
    note = index.note(node_id)
    if note is None:
        raise not_indexed(node_id)
    return [note.title, *note.links.aliases], index.sources(node_id)


def _containing(index: UserIndex, names: Sequence[tuple[str, ...]]) -> set[str]:
    """The notes that have the terms of a name one after the other."""
    found: set[str] = set()
    for terms in names:
        query = SearchQuery(phrases=(terms,)) if len(terms) > 1 else SearchQuery(words=terms)
        found |= {hit.node_id for hit in search.search(index, query, max(1, index.live)).hits}
    return found


def _title(index: UserIndex, node_id: str) -> str:
    doc = index.doc(node_id)
    return index.title(doc) if doc >= 0 else ""


def _passages(
    language: Analyser,
    note: NodeText | None,
    names: Sequence[tuple[str, ...]],
    leads: Collection[tuple[str, str]] | None,
) -> list[Passage]:
    """The first passages with a link that leads to the note, or with one of its names.

    leads: (source, target as it is written) of the links that lead to the note; None: the names are looked for.
    """
    if note is None:
        return []
    text = normalise(note.text)
    if leads is None:
        places = _mentions(language, text, names)
    else:
        targets = {normalise(target) for source, target in leads if source == note.node_id}
        links = wiki_links(text, label_first=note.label_first)
        places = ((link.start, link.end) for link in links if link.target in targets)
    found: list[Passage] = []
    for start, end in places:
        one = passage(text, start, end)
        if not found or one.text != found[-1].text:
            found.append(one)
        if len(found) == MOST_PASSAGES:
            break
    return found


def _mentions(language: Analyser, text: str, names: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """The places at which the terms of a name stand one after the other."""
    longest = max(map(len, names), default=0)
    recent: list[tuple[str, int, int]] = []
    for span in language.spans(text):
        recent = [*recent, (span.term, span.start, span.end)][-longest:]
        for name in names:
            if len(name) <= len(recent) and tuple(term for term, _, _ in recent[-len(name) :]) == name:
                yield recent[-len(name)][1], span.end
                break
