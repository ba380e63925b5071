"""How similar two notes are, and which notes are most similar to one.

score = (1 - MENTION) * likeness + MENTION * mention, all in [0, 1], the same from either side:

- likeness: the cosine of the notes' terms, each weighing (1 + ln tf) * idf, the title counted twice, stop words and
  boilerplate left out, each note compared as if it had some more terms that no other has (ADDED_TERMS);
- mention: one note's text has the other's title (titles.py); both ways together count as noisy or.

find() reads the postings of the heaviest terms and estimates scores to choose candidates, then computes the score of
each candidate. A note that the estimate misses would have a low score.
"""

from bisect import insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model import duplicates
from services.similarity_service.model.engine.arrays import Doubles, Floats, Longs
from services.similarity_service.model.engine.index import ADDED_TERMS, LOG_TF, NameWords, UserIndex
from services.similarity_service.model.engine.titles import COVERED
from services.similarity_service.model.engine.vocabulary import PHRASE
from services.similarity_service.model.note import called
from services.similarity_service.model.query import SearchQuery, counts_without_boilerplate, names_in, of_doc

METHOD = "lexical/2"
MENTION = 0.2
# Terms that choose the candidates, the heaviest ones: more change nothing (docs/adr/0031).
_CHOOSING_TERMS = 20
_LEAST_CANDIDATES = 48
# A score may differ from the estimate of its best case by this much, because the two round differently.
_ROUNDING = 1e-5
# The weights of the terms of all notes are kept for a burst of queries if there are fewer terms than this: they are
# computed in some milliseconds.
_MOST_WEIGHTS = 500_000


@dataclass(frozen=True, slots=True)
class Match:
    """A note that is similar to the query.

    mentions: the weight of the query's mention of the note.
    mentioned_by: the weight of the note's mention of the query.
    name_terms: how many terms the longest name has by which one mentions the other; 0 for none.
    mentioned_name, own_name: the names by which the query mentions the note and the note mentions the query, "" for
    none.
    """

    doc: int
    score: float
    likeness: float
    mentions: float
    mentioned_by: float
    name_terms: int = 0
    mentioned_name: str = ""
    own_name: str = ""


@dataclass(frozen=True, slots=True)
class NameMention:
    """A mention of a note by name. name: its terms, as the index has them. terms: how many they are."""

    weight: float
    terms: int = 0
    name: str = ""


NONE = NameMention(0.0)


@dataclass(frozen=True, slots=True)
class Contribution:
    """A readable term and the amount that it adds to a score."""

    keyword: str
    amount: float


def find(index: UserIndex, query: SearchQuery, limit: int, min_score: float = 0.0) -> list[Match]:
    """The best `limit` notes other than the query itself, best first; equal scores by note id."""
    if not index.live or limit <= 0:
        return []
    mentioned = _mentioned(index, query)
    candidates = _candidates(index, query, mentioned, max(_LEAST_CANDIDATES, 2 * limit))
    if not len(candidates):
        return []
    likeness = likenesses(index, query, candidates)
    forward = np.array([mentioned.get(doc, NONE).weight for doc in candidates.tolist()])
    backward = np.zeros(len(candidates))
    for name in query.names:
        backward = np.maximum(backward, np.where(_among(candidates, name.docs), name.weight, 0.0))
    best_case = combine_all(likeness, forward, backward)
    order = np.argsort(-best_case, kind="stable")
    found: list[Match] = []
    best: list[float] = []
    # Whether a mention stands inside a longer name takes a scan of the text: it is done for the best candidates only.
    for place, most in zip(order.tolist(), best_case[order].tolist(), strict=True):
        if (len(best) >= limit and most < best[-limit]) or most < min_score - _ROUNDING:
            break
        doc = int(candidates[place])
        there = mentioned.get(doc, NONE)
        back = mentioned_by(index, query, doc) if backward[place] else NONE
        match = _match(doc, float(likeness[place]), there, back)
        if match.score > 0 and match.score >= min_score:
            found.append(match)
            insort(best, match.score)
    found.sort(key=lambda match: (-match.score, index.id(match.doc)))
    return found[:limit]


def compare(index: UserIndex, one: int, other: int) -> Match:
    """The score of two notes of the index."""
    query = of_doc(index, one)
    likeness = float(likenesses(index, query, np.array([other]))[0])
    return _match(other, likeness, _mentioned(index, query).get(other, NONE), mentioned_by(index, query, other))


def _match(doc: int, likeness: float, forward: NameMention, backward: NameMention) -> Match:
    score = combine(likeness, forward.weight, backward.weight)
    terms = max(forward.terms, backward.terms)
    return Match(doc, score, likeness, forward.weight, backward.weight, terms, forward.name, backward.name)


def combine(likeness: float, forward: float, backward: float) -> float:
    """The score of a likeness and of mentions both ways."""
    return min(1.0, (1 - MENTION) * likeness + MENTION * (1 - (1 - forward) * (1 - backward)))


def combine_all(likeness: Floats, forward: Doubles, backward: Doubles) -> Doubles:
    """The scores of many likenesses and mentions."""
    score: Doubles = (1 - MENTION) * likeness + MENTION * (1 - (1 - forward) * (1 - backward))
    return np.minimum(1.0, score)


def explain(index: UserIndex, query: SearchQuery, match: Match, most: int | None = None) -> list[Contribution]:
    """Every shared term and mention with the amount that it adds, best first. The amounts sum to the score.

    most: return at most this many.
    """
    numbers, weights, tf = query.ascending
    terms = index.forward.terms[match.doc]
    others: dict[int, int] = dict(zip(terms.tolist(), index.forward.variants_of(match.doc).tolist(), strict=True))

    def common(number: int) -> int:
        """The words of a term that stand in both notes, else those in one of them."""
        one, other = query.words.get(number, 0), others.get(number, 0)
        return one & other or one | other

    places = np.minimum(np.searchsorted(numbers, terms), max(0, len(numbers) - 1))
    shared = np.flatnonzero(numbers[places] == terms) if len(numbers) else np.zeros(0, np.int64)
    here = places[shared]
    # A weight is LOG_TF * idf, and the idf is the same on both sides.
    there = LOG_TF[counts_without_boilerplate(index, match.doc)[shared]] / np.maximum(tf[here], 1e-9)
    products = weights[here] * weights[here] * there
    total_product = float(products.sum())
    parts: dict[str, float] = {}
    if total_product > 0:
        products *= (1 - MENTION) * match.likeness / total_product
        order = np.argsort(-products, kind="stable")[:most]
        for number, product in zip(terms[shared][order].tolist(), products[order].tolist(), strict=True):
            if product > 0:
                form = index.vocabulary.form(number, common(number))
                parts[form] = parts.get(form, 0.0) + product
    mention = 1 - (1 - match.mentions) * (1 - match.mentioned_by)
    total = match.mentions + match.mentioned_by
    for weight, title, name in (
        (match.mentions, index.title(match.doc), match.mentioned_name),
        (match.mentioned_by, query.title, match.own_name),
    ):
        if weight:
            # A single word may be among the shared ones already.
            number = index.vocabulary.number(name)
            single = number >= 0 and " " not in name
            shown = index.vocabulary.form(number, common(number)) if single else _readable(index, name, title)
            parts[shown] = parts.get(shown, 0.0) + MENTION * mention * weight / total
    return [Contribution(word, part) for word, part in sorted(parts.items(), key=lambda item: (-item[1], item[0]))][
        :most
    ]


def likenesses(index: UserIndex, query: SearchQuery, docs: Longs) -> Floats:
    """The cosines of a query and some notes."""
    norm = query.norm
    if not norm:
        return np.zeros(len(docs), np.float32)
    places, lengths = index.forward.terms.places(docs)
    # A table with a place for each term holds the weights of the query.
    table = index.scratch(len(index.vocabulary))
    table[query.numbers] = query.weights
    asked = table[index.forward.terms.values.data[places]]
    table[query.numbers] = 0
    shared = np.flatnonzero(asked)
    kept = index.computed.weights
    if kept is not None:
        weights, squares = kept[0][places[shared]], kept[1][docs]
    else:
        weights, squares = _weights(index, docs)
        weights = weights[shared]
    rows = np.searchsorted(np.cumsum(lengths), shared, "right")
    dots = np.bincount(rows, weights=asked[shared] * weights, minlength=len(docs))
    scores: Floats = (dots / (norm * np.sqrt(squares + query.added))).astype(np.float32)
    return scores


def keep_weights(index: UserIndex) -> None:
    """Compute the weights of the terms of all notes, for many queries until the index changes; not in a large index."""
    if index.computed.weights is None and index.forward.terms.values.size < _MOST_WEIGHTS:
        index.computed.weights = _weights(index, np.arange(index.size))


def _weights(index: UserIndex, docs: Longs) -> tuple[Floats, Doubles]:
    """The weights of the terms of some notes, note after note, and the sum of their squares of each note."""
    places, lengths = index.forward.terms.places(docs)
    codes = index.forward.codes.data[places]
    for row in np.flatnonzero(index.repeats.rows_with_any(docs, index.live)).tolist():
        start = int(lengths[:row].sum())
        codes[start : start + int(lengths[row])] = counts_without_boilerplate(index, int(docs[row]))
    weights: Floats = LOG_TF[codes] * index.idf(index.forward.terms.values.data[places])
    rows = np.repeat(np.arange(len(docs)), lengths)
    squares: Doubles = np.bincount(rows, weights=weights * weights, minlength=len(docs)).astype(np.float64)
    return weights, squares


def mentioned_by(index: UserIndex, query: SearchQuery, doc: int) -> NameMention:
    """A note's mention of one of the query's names, the best of them."""
    names = [name for name in query.names if name.weight and _among(np.array([doc]), name.docs)[0]]
    best = NONE
    found = names_in(index, doc) if names else {}
    for name in names:
        # Only a text that is not in the index can have a name that the scan doesn't know.
        if (name.number in found or query.doc < 0) and _has(index, doc, name.words):
            weight = name.weight * (COVERED if found.get(name.number, False) else 1.0)
            best = _better(best, NameMention(weight, name.term.count(" ") + 1, name.term))
    return best


def mentioning_name(index: UserIndex, query: SearchQuery, doc: int) -> str:
    """The name of the query that a note mentions, "" if none."""
    return _readable(index, mentioned_by(index, query, doc).name, query.title)


def mentioned_name(index: UserIndex, query: SearchQuery, doc: int) -> str:
    """The name of a note that the query mentions, "" if none."""
    return _readable(index, _mentioned(index, query).get(doc, NONE).name, index.title(doc))


def _readable(index: UserIndex, term: str, title: str) -> str:
    """A name as a person would write it: as in the title, if it is there."""
    for name in called(title) if term else ():
        if term == " ".join(index.analyser.terms(name)):
            return name
    vocabulary = index.vocabulary
    return " ".join([vocabulary.form(number) for word in term.split(" ") if (number := vocabulary.number(word)) >= 0])


def is_duplicate(index: UserIndex, query: SearchQuery, match: Match) -> bool:
    """Whether a match is (nearly) the same text as the query."""
    # The likeness without the added terms, if the other note is as long.
    likeness = match.likeness * (1 + query.added / query.square) if query.square else 0.0
    return likeness >= duplicates.LEAST_LIKENESS and duplicates.same_text(
        query.sequence, index.forward.sequence(match.doc)
    )


def _mentioned(index: UserIndex, query: SearchQuery) -> dict[int, NameMention]:
    """The notes that the query mentions by name, with the best mention of each."""
    found: dict[int, NameMention] = {}
    flags = index.vocabulary.flags.data
    for number, covered in query.mentioned.items():
        # One word names a note only where it counts: not as the value of a property.
        if not flags[number] & PHRASE and number not in query.loud:
            continue
        name = ""
        for doc in index.titles.titled(number):
            weight = index.mention_weight(number, doc) * (COVERED if covered else 1.0) if doc != query.doc else 0.0
            if weight and all(query.words[term] & variants for term, variants in index.name_words(number, doc)):
                name = name or index.vocabulary.word(number)
                mention = NameMention(weight, name.count(" ") + 1, name)
                found[doc] = _better(found[doc], mention) if doc in found else mention
    return found


def _has(index: UserIndex, doc: int, words: NameWords) -> bool:
    """Whether a note has the words of a name."""
    if not words:
        return True
    terms, variants = index.forward.terms[doc], index.forward.variants_of(doc)
    return all((variants[terms == term] & wanted).any() for term, wanted in words)


def _better(one: NameMention, other: NameMention) -> NameMention:
    """The mention of more weight; of several of the same weight the one of more terms, then the first by name."""
    return max(one, other, key=lambda mention: (mention.weight, mention.terms, mention.name))


def _candidates(index: UserIndex, query: SearchQuery, mentioned: dict[int, NameMention], wanted: int) -> Longs:
    """The notes most worth scoring, by an estimate that needs the postings only."""
    size = index.size
    scores = np.zeros(size, np.float32)
    norm = query.norm
    if norm:
        strength = query.weights * query.weights
        if query.doc >= 0:
            # Terms that only the note itself has find no other note.
            strength[index.vocabulary.df.data[query.numbers] <= 1] = 0
        order = np.argsort(-strength, kind="stable")[:_CHOOSING_TERMS]
        idf = query.weights / np.maximum(query.tf, 1e-9)
        chosen = order[strength[order] > 0]
        if len(chosen):
            postings = [index.postings.of(number) for number in query.numbers[chosen].tolist()]
            products = np.repeat(query.weights[chosen] * idf[chosen], [len(docs) for docs, _ in postings])
            products *= LOG_TF.take(np.concatenate([codes for _, codes in postings]), mode="clip")
            docs = np.concatenate([docs for docs, _ in postings])
            scores += np.bincount(docs, products, size).astype(np.float32)
        scores *= index.inverse_norm.view
        # As if the notes' rare and common terms were mixed as the query's are.
        scores *= np.float32((1 - MENTION) * np.sqrt(np.dot(query.tf, query.tf) + ADDED_TERMS) / (norm * norm))
    for name in query.names:
        scores[name.docs] += np.float32(MENTION * name.weight)
    if mentioned:
        weights = np.array([mention.weight for mention in mentioned.values()], np.float32)
        scores[np.fromiter(mentioned, np.int64)] += MENTION * weights
    if query.doc >= 0:
        scores[query.doc] = 0
    return _largest(scores, wanted)


def _among(docs: Longs, ascending: Longs) -> NDArray[np.bool_]:
    """Which of some notes are in an ascending list."""
    if not len(ascending):
        return np.zeros(len(docs), np.bool_)
    places = np.minimum(np.searchsorted(ascending, docs), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[places] == docs
    return found


def _largest(scores: Floats, wanted: int) -> Longs:
    """The places of the largest positive scores: all of them if there are few, else at least `wanted`."""
    least = np.float32(0)
    if len(scores) > 4 * wanted:
        block = max(16, len(scores) // (8 * wanted))
        whole = len(scores) // block * block
        tops = scores[:whole].reshape(-1, block).max(axis=1)
        if len(tops) > wanted:
            least = np.partition(tops, len(tops) - wanted)[len(tops) - wanted]
    found = np.flatnonzero(scores >= least) if least > 0 else np.flatnonzero(scores > 0)
    if len(found) > wanted:
        best = np.argpartition(-scores[found], wanted)[:wanted]
        found = found[best]
    return np.sort(found)
