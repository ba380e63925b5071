"""Full-text search in one user's notes: BM25 over the postings that scores use, too. A note whose title, alias or file
name is the whole query comes first.

A query is words, "quoted phrases", prefix* and tag:name (tag:"two words"); -word leaves notes out. Words and prefixes
are alternatives, ranked; phrases and tags must be there. Phrases are checked on the kept sequences of terms.
Tags are compared without regard to capitals, and a tag stands for those below it. A query of stop words only finds the
notes that have all of them. One character of a script without spaces finds the words that have it.
"""

import heapq
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.analysis import fold_title, is_unspaced
from services.similarity_service.model.engine.index import UserIndex

K1 = 1.2
B = 0.75
# A prefix stands for the most frequent words that begin so.
_MOST_EXPANSIONS = 64
# The beginning of a date, whose term has no joints.
_DATE_BEGINS = re.compile(r"\d{4}([-/.]\d{0,2}){1,2}")
_PIECE = re.compile(r'(-?)(tag:)?(?:"([^"]*)"?|([^\s"]+))')


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A parsed query. phrases: sequences of terms. prefixes: folded text before the asterisk. text: as it was given."""

    words: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    prefixes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.words or self.phrases or self.prefixes or self.tags or self.text)


@dataclass(frozen=True, slots=True)
class Hit:
    """A note that matches, with its BM25 score (not bounded)."""

    doc: int
    node_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Hits:
    """One page of hits, best first, and how many notes match in all."""

    hits: list[Hit]
    total: int
    more: bool


def parse(index: UserIndex, text: str, tags: Sequence[str] = ()) -> SearchQuery:
    """Read a query as the index's language would."""
    words: list[str] = []
    phrases: list[tuple[str, ...]] = []
    prefixes: list[str] = []
    wanted = list(tags)
    excluded: list[str] = []
    terms, asked = index.analyser.terms, index.analyser.asked_terms
    for minus, tag, quoted, bare in _PIECE.findall(text):
        if tag:
            wanted.append(quoted or bare)
        elif minus:
            excluded += asked(quoted or bare)
        elif quoted:
            found = tuple(terms(quoted))
            if len(found) > 1:
                phrases.append(found)
            else:
                words += found
        elif bare.endswith("*") and len(bare) > 1:
            prefixes += terms_before(index, bare.rstrip("*"))
        elif bare:
            words += asked(bare)
    unique = dict.fromkeys
    return SearchQuery(
        tuple(unique(words)),
        tuple(unique(phrases)),
        tuple(unique(prefixes)),
        tuple(unique(wanted)),
        tuple(unique(excluded)),
        text.strip(),
    )


def terms_before(index: UserIndex, prefix: str) -> list[str]:
    """A prefix as terms begin: folded, but not stemmed."""
    folded = "".join(prefix.casefold().split())
    if _DATE_BEGINS.fullmatch(folded):
        folded = folded.replace("-", "").replace("/", "").replace(".", "")
    return [folded] if folded else []


def expand(index: UserIndex, prefix: str) -> list[int]:
    """The terms that a prefix stands for: those that begin so, and the stem of the prefix as a word."""
    found = dict.fromkeys(index.vocabulary.with_prefix(prefix, _MOST_EXPANSIONS))
    for term in index.analyser.terms(prefix):
        number = index.vocabulary.number(term)
        if number >= 0 and prefix.startswith(term):
            found[number] = None
    return list(found)


def search(
    index: UserIndex,
    query: SearchQuery,
    limit: int,
    after: tuple[float, str] | None = None,
    *,
    named: Collection[str] = (),
) -> Hits:
    """A page of at most `limit` hits.

    after: score and id of the last hit of the page before. named: ids of the notes of which the query is the name in
    another way than by title or alias: by their file, or by an earlier title.
    """
    size = index.size
    scores = np.zeros(size, np.float32)
    matched = np.zeros(size, np.bool_)
    if _of_stop_words(index, query):
        _score_stop_words(index, query.words, scores, matched)
    for group in _groups(index, query):
        _score(index, group, scores, matched)
    required = index.forward.alive.view.copy()
    number = index.vocabulary.number
    for tag in query.tags:
        required = required & _having(index, index.vocabulary.tagged(tag))
    for phrase in query.phrases:
        has = np.zeros(size, np.bool_)
        numbers = [number(term) for term in phrase]
        if -1 not in numbers:
            has[index.titles.containing(numbers)] = True
        required = required & has
        matched |= has  # a phrase of stop words only has no score
    if query.excluded:
        required = required & ~_having(index, [number(term) for term in query.excluded])
    if query.words or query.prefixes or query.phrases or not query.tags:
        required = required & matched
    _put_first(index, query, named, scores, required)
    docs = np.flatnonzero(required)
    total = len(docs)
    if after is not None:
        docs = _behind(index, docs, scores, after)
    hits = _best(index, docs, scores, limit + 1)
    return Hits(hits[:limit], total, len(hits) > limit)


def _put_first(
    index: UserIndex,
    query: SearchQuery,
    named: Collection[str],
    scores: NDArray[np.float32],
    required: NDArray[np.bool_],
) -> None:
    """Score the notes of which the query is the title, an alias or another name above all others.

    Of these, the ones whose title has the very letters come first.
    """
    docs = index.titled(index.analyser.terms(query.text)) if query.text else np.zeros(0, np.int64)
    others = [doc for doc in map(index.doc, named) if doc >= 0]
    docs = np.union1d(docs, np.array(others, np.int64))
    if not len(docs):
        return
    text = fold_title(query.text.strip('"'))
    titles = [index.title(doc) for doc in docs.tolist()]
    alike = {title for title in set(titles) if fold_title(title) == text}
    same = [title in alike for title in titles]
    if not query.tags:
        # What reads as an exclusion or a phrase may be part of a title.
        required[docs[same]] = True
        required[others] = True
    top = float(scores.max()) + 1
    scores[docs] += np.where(same, np.float32(2 * top), np.float32(top)).astype(np.float32)


def _of_stop_words(index: UserIndex, query: SearchQuery) -> bool:
    stops = index.analyser.stop_terms
    return bool(query.words) and not query.prefixes and all(word in stops for word in query.words)


def _score_stop_words(
    index: UserIndex, words: Sequence[str], scores: NDArray[np.float32], matched: NDArray[np.bool_]
) -> None:
    """As _score(), for words without postings: the notes that have all of them match."""
    counts = np.zeros(index.size, np.int64)
    for word in words:
        number = index.vocabulary.number(word)
        docs, codes = index.everywhere(number) if number >= 0 else (np.zeros(0, np.int64), np.zeros(0, np.uint8))
        docs, codes = docs[live := index.forward.alive.data[docs]], codes[live]
        _add(index, docs, codes.astype(np.float32), scores)
        counts[docs] += 1
    matched |= counts == len(words)


def _behind(
    index: UserIndex, docs: NDArray[np.int64], scores: NDArray[np.float32], after: tuple[float, str]
) -> NDArray[np.int64]:
    """The notes that come after a hit with this score and id."""
    score, node_id = np.float32(after[0]), after[1]
    equal = [doc for doc in docs[scores[docs] == score].tolist() if index.id(doc) > node_id]
    return np.concatenate([docs[scores[docs] < score], np.array(equal, np.int64)])


def _best(index: UserIndex, docs: NDArray[np.int64], scores: NDArray[np.float32], most: int) -> list[Hit]:
    """The best of some notes, by score and then by id.

    Very many may have one score, as those with a tag do: of these, no more are sorted than are wanted.
    """
    if len(docs) > most:
        least = np.partition(scores[docs], len(docs) - most)[len(docs) - most]
        better = docs[scores[docs] > least]
        equal = heapq.nsmallest(most - len(better), docs[scores[docs] == least].tolist(), key=index.id)
        docs = np.concatenate([better, np.array(equal, np.int64)])
    hits = [Hit(doc, index.id(doc), score) for doc, score in zip(docs.tolist(), scores[docs].tolist(), strict=True)]
    return sorted(hits, key=lambda hit: (-hit.score, hit.node_id))


def _groups(index: UserIndex, query: SearchQuery) -> list[list[int]]:
    """Groups of alternative terms that count as one: a prefix is one word of the query, whatever it stands for."""
    number = index.vocabulary.number
    words = [*query.words, *(term for phrase in query.phrases for term in phrase)]
    groups = [[number(term), *_around(index, term)] for term in dict.fromkeys(words)]
    groups += [expand(index, prefix) for prefix in query.prefixes]
    return [[n for n in group if n >= 0] for group in groups]


def _around(index: UserIndex, term: str) -> list[int]:
    """The terms that stand for one character of a script without spaces, besides itself."""
    return index.vocabulary.with_character(term) if len(term) == 1 and is_unspaced(term) else []


def _score(index: UserIndex, group: list[int], scores: NDArray[np.float32], matched: NDArray[np.bool_]) -> None:
    if not group:
        return
    if len(group) == 1:
        docs, codes = index.postings.of(group[0])
        counts = np.maximum(codes, 1).astype(np.float32)  # quiet occurrences are not counted, but searched
    else:
        every = [index.postings.of(number) for number in group]
        table = np.bincount(
            np.concatenate([docs for docs, _ in every]),
            weights=np.concatenate([np.maximum(codes, 1) for _, codes in every]),
            minlength=len(scores),
        )
        docs = np.flatnonzero(table).astype(np.int32)
        counts = table[docs].astype(np.float32)
    live = index.forward.alive.data[docs]
    docs, counts = docs[live], counts[live]
    _add(index, docs, counts, scores)
    matched[docs] = True


def _add(index: UserIndex, docs: NDArray[np.integer], counts: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Add what a word that occurs so often in these notes, and in no others, is worth."""
    df = len(docs)
    if not df:
        return
    idf = np.log1p((index.live - df + 0.5) / (df + 0.5))
    mean = max(1.0, index.total_length / max(1, index.live))
    saturation = K1 * (1 - B + B * index.lengths.data[docs] / mean)
    scores[docs] += (idf * counts * (K1 + 1) / (counts + saturation)).astype(np.float32)


def _having(index: UserIndex, numbers: list[int]) -> NDArray[np.bool_]:
    has = np.zeros(index.size, np.bool_)
    for number in numbers:
        if number >= 0:
            has[index.postings.of(number)[0]] = True
    return has
