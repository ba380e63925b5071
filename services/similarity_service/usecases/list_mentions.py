"""ListMentions: the notes that link to a note, and those that only mention its title or an alias."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from services.similarity_service.model import search, snippets
from services.similarity_service.model.analysis import Analyser, Span, normalise
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.link_index import LinkIndex
from services.similarity_service.model.passages import Passage, passage
from services.similarity_service.model.search import SearchQuery
from services.similarity_service.model.wiki_links import wiki_links
from services.similarity_service.ports import Nodes, NodeText
from services.similarity_service.usecases import text_worker
from services.similarity_service.usecases.find_similar import not_indexed
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.validation import check_ids
from shared.errors import Brain2Error
from shared.pages import page_size
from shared.tokens import NODE_ID, PAGE, Integer, TokenCodec, fingerprint

MOST_PASSAGES = 3
# In so many characters of the texts of a page passages are looked for, which takes about a second: in the whole of
# usual notes, and in the beginning of long ones.
_MOST_TEXT = 1_000_000
# Places of one text that are looked at for passages: they may all lie in one sentence.
_MOST_PLACES = 100
# Above this many notes of an index, a note may be mentioned by so many that they are found in a thread.
_MANY_NOTES = 1_000
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
    nodes: Nodes

    async def __call__(self, user_id: str, node_id: str, size: int, token: str) -> MentionPage:
        """A page of notes: those that link first, each kind by node id. NotFound when the note is not indexed."""
        check_ids(user_id, node_id=node_id)
        wanted = page_size("page_size", size, default=20, maximum=100)
        query_hash = fingerprint("ListMentions", user_id, node_id)
        after = _TOKENS.decode(query_hash, token) or (_LINKS, "")
        found = await self.cache.query_both(
            user_id,
            lambda index, links: _find(index, links, node_id, after, wanted),
            long=lambda index: index.live > _MANY_NOTES,
        )
        texts = await self._texts(user_id, [each for _, each in found.page])
        shown = [texts.get(each, NodeText(each, 0, 0, "", "", ())) for _, each in found.page]
        shares = snippets.shares([len(note.text) for note in shown], _MOST_TEXT, _MOST_TEXT)

        def work() -> list[MentioningNote]:
            return [
                MentioningNote(each, found.titles[each], kind == _LINKS, _passages(found, kind, note, share))
                for (kind, each), note, share in zip(found.page, shown, shares, strict=True)
            ]

        mentions = await text_worker.run_if_long(sum(shares), work)
        next_token = _TOKENS.encode(query_hash, *found.page[-1]) if found.more else ""
        return MentionPage(mentions, next_token, found.linking, found.mentioning)

    async def _texts(self, user_id: str, node_ids: Sequence[str]) -> dict[str, NodeText]:
        if not node_ids:
            return {}
        try:
            return dict(await self.nodes.texts(user_id, node_ids))
        except Brain2Error:
            return {}  # who mentions the note is known without the texts


@dataclass(frozen=True, slots=True)
class _Found:
    """What the index knows of a page.

    page: (kind, node id), in their order. titles: by node id. terms: of each name of the note. leads: (source, target
    as it is written) of the links that lead to it, of the sources on the page. linking, mentioning: how many in all.
    """

    page: Sequence[tuple[int, str]]
    more: bool
    titles: Mapping[str, str]
    language: Analyser
    terms: Sequence[tuple[str, ...]]
    leads: Collection[tuple[str, str]]
    linking: int
    mentioning: int


def _find(index: UserIndex, links: LinkIndex, node_id: str, after: tuple[int, str], wanted: int) -> _Found:
    note = links.note(node_id)
    if note is None or node_id not in index:
        raise not_indexed(node_id)
    linking = {each for each in links.sources(node_id) if each in index}
    names = [index.analyser.terms(name) for name in (note.title, *note.links.aliases)]
    terms = list(dict.fromkeys(tuple(name) for name in names if name))
    mentioning = _containing(index, terms) - {*linking, node_id}
    found = [(_LINKS, each) for each in linking] + [(_MENTIONS, each) for each in mentioning]
    rest = sorted(each for each in found if each > after)
    page = rest[:wanted]
    return _Found(
        page,
        len(rest) > wanted,
        {each: _title(index, each) for _, each in page},
        index.analyser,
        terms,
        links.leading(node_id, {each for kind, each in page if kind == _LINKS}),
        len(linking),
        len(mentioning),
    )


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


def _passages(found: _Found, kind: int, note: NodeText, most: int) -> list[Passage]:
    """The first passages of a text with a link that leads to the note, or with one of its names.

    most: characters of the text that are looked at.
    """
    text = normalise(note.text[:most])
    if kind == _MENTIONS:
        places = _mentions(found.language, text, found.terms)
    else:
        targets = {normalise(target) for source, target in found.leads if source == note.node_id}
        links = wiki_links(text, label_first=note.label_first)
        places = ((link.start, link.end) for link in links if link.target in targets)
    passages: list[Passage] = []
    for start, end in islice(places, _MOST_PLACES):
        one = passage(text, start, end)
        if not passages or one.text != passages[-1].text:
            passages.append(one)
        if len(passages) == MOST_PASSAGES:
            break
    return passages


def _mentions(language: Analyser, text: str, names: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """The places at which the terms of a name stand one after the other."""
    ending: dict[str, list[tuple[str, ...]]] = {}
    for name in names:
        ending.setdefault(name[-1], []).append(name)
    recent: deque[Span] = deque(maxlen=max(map(len, names), default=1))
    for span in language.spans(text):
        recent.append(span)
        for name in ending.get(span.term, ()):
            if len(name) <= len(recent) and all(recent[i - len(name)].term == term for i, term in enumerate(name)):
                yield recent[-len(name)].start, span.end
                break
