"""Queries for similar notes: the weighted terms of a note that is in the index, or of a text that is not."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.engine.arrays import Floats, Ints, Longs
from services.similarity_service.model.engine.forward import Variants
from services.similarity_service.model.engine.index import ADDED_TERMS, LOG_TF, NameWords, UserIndex
from services.similarity_service.model.engine.vocabulary import OTHERS, WEIGHTLESS
from services.similarity_service.model.note import QUIET, Note
from services.similarity_service.model.variants import ANY

# Notes of which something is kept while the index does not change.
_KEPT = 4_096


@dataclass(frozen=True, slots=True)
class Name:
    """A name of the note that the query is about.

    term: the name as the index has it. docs: the notes that have it. words: UserIndex.name_words().
    """

    number: int
    term: str
    weight: float
    docs: Longs
    words: NameWords = ()


@dataclass(frozen=True)
class SearchQuery:
    """The weighted terms and the names of a note or text.

    doc: the note's number, -1 for a text.
    numbers, tf, weights: its terms, LOG_TF of each, and LOG_TF times idf (0 for terms without weight).
    sequence: the terms of the title, -1, those of the text, in their order; unknown terms are -1.
    mentioned: the names that occur in it (Titles.scan()).
    names: its own names.
    variants: which words of each of its terms occur (variants.py).
    added: what the ADDED_TERMS of each note add to the square of its norm.
    """

    doc: int
    title: str
    numbers: Ints
    tf: Floats
    weights: Floats
    sequence: Ints
    mentioned: Mapping[int, bool]
    names: Sequence[Name]
    added: float
    variants: Variants

    @cached_property
    def words(self) -> Mapping[int, int]:
        """Its variants by term."""
        return dict(zip(self.numbers.tolist(), self.variants.tolist(), strict=True))

    @cached_property
    def loud(self) -> Set[int]:
        """Its terms that count."""
        return set(self.numbers[self.tf > 0].tolist())

    @cached_property
    def ascending(self) -> tuple[Ints, Floats, Floats]:
        """numbers, weights and tf in the order of the numbers."""
        order = np.argsort(self.numbers)
        return self.numbers[order], self.weights[order], self.tf[order]

    @cached_property
    def square(self) -> float:
        """The sum of the squares of its terms' weights."""
        return float(np.dot(self.weights, self.weights))

    @cached_property
    def norm(self) -> float:
        """The norm of its terms and of the added ones; 0 when none of its own has weight."""
        return float(np.sqrt(self.square + self.added)) if self.square else 0.0


def of_doc(index: UserIndex, doc: int) -> SearchQuery:
    """The query for a note that is in the index."""
    numbers = index.forward.terms[doc]
    tf = LOG_TF[counts_without_boilerplate(index, doc)]
    names = [_name(index, number, doc) for number in index.titles.names[doc].tolist()]
    weights = tf * index.idf(numbers)
    sequence = index.forward.sequence(doc)
    mentioned = names_in(index, doc)
    variants = index.forward.variants_of(doc)
    return SearchQuery(doc, index.title(doc), numbers, tf, weights, sequence, mentioned, names, added(index), variants)


def of_note(index: UserIndex, note: Note) -> SearchQuery:
    """The query for a text that is not in the index. Terms that no note has are left out."""
    numbers = index.vocabulary.numbers(note.terms)
    codes = np.frombuffer(note.codes, np.uint8)
    known = numbers >= 0
    sequence = np.frombuffer(note.sequence, np.uint16 if note.wide else np.uint8).astype(np.int64)
    terms = np.append(numbers, np.int32(-1))[np.minimum(sequence, len(numbers))]
    names = []
    for name in note.names:
        own = [index.vocabulary.number(term) for term in name]
        if -1 not in own and any(not index.vocabulary.flags.data[number] & WEIGHTLESS for number in own):
            number = index.vocabulary.number(" ".join(name))
            words = index.words_of_name(" ".join(name), note.title)
            if number >= 0:
                names.append(_name(index, number, -1, words))
            else:
                docs = index.titles.containing(own)
                names.append(Name(-1, " ".join(name), index.titles.rarity(len(docs)), docs, words))
    tf = LOG_TF[codes[known]]
    weights = tf * index.idf(numbers[known])
    mentioned = index.titles.scan(_without_quiet(note, terms))
    variants = np.frombuffer(note.variants, np.uint16) if note.variants else np.full(len(numbers), ANY, np.uint16)
    return SearchQuery(
        -1, note.title, numbers[known], tf, weights, terms, mentioned, names, added(index), variants[known]
    )


def added(index: UserIndex) -> float:
    """The squares of the weights of the terms that each note is compared as if it had."""
    return ADDED_TERMS * math.log1p(index.live + OTHERS) ** 2


def counts_without_boilerplate(index: UserIndex, doc: int) -> NDArray[np.uint8]:
    """How often each of a note's terms occurs outside of boilerplate; the title counts twice.

    The result is kept until the index changes, and must not be changed.
    """
    kept = index.computed.counts
    found = kept.get(doc)
    if found is None:
        if len(kept) >= _KEPT:
            kept.clear()
        found = kept[doc] = _count_without_boilerplate(index, doc)
    return found


def _count_without_boilerplate(index: UserIndex, doc: int) -> NDArray[np.uint8]:
    codes = index.forward.codes_of(doc)
    if not index.repeats.has_boilerplate(doc, index.live):
        return codes
    masked = index.repeats.masked(doc, index.live)
    assert masked is not None
    sequence = index.forward.sequence(doc)
    cut = int(np.argmax(sequence < 0))
    title, text = sequence[:cut], sequence[cut + 1 : cut + 1 + len(masked)]
    kept = np.concatenate([title, title, text[~masked[: len(text)]]])
    terms = index.forward.terms[doc]
    order = np.argsort(terms)
    places = order[np.searchsorted(terms, kept, sorter=order)]
    return np.minimum(np.bincount(places, minlength=len(terms)), codes).astype(np.uint8)


def heard(index: UserIndex, doc: int) -> Ints:
    """The terms of a note in their order, as those of a query; -1 also for quiet ones and for boilerplate."""
    sequence = index.forward.sequence(doc)
    masked = index.repeats.masked(doc, index.live)
    if masked is not None:
        text = sequence[int(np.argmax(sequence < 0)) + 1 :]
        text[masked[: len(text)]] = -1
    return sequence


def names_in(index: UserIndex, doc: int) -> Mapping[int, bool]:
    """The names that a note mentions (Titles.scan()). They are kept until the index changes."""
    kept = index.computed.scans
    found = kept.get(doc)
    if found is None:
        if len(kept) >= _KEPT:
            kept.clear()
        found = kept[doc] = index.titles.scan(heard(index, doc))
    return found


def _without_quiet(note: Note, terms: Ints) -> Ints:
    hashes = np.frombuffer(note.sentence_hashes, np.uint32)
    if not (hashes == QUIET).any():
        return terms
    quiet = np.repeat(hashes == QUIET, np.frombuffer(note.sentence_sizes, np.uint16))
    heard_terms = terms.copy()
    heard_terms[len(terms) - len(quiet) :][quiet] = -1
    return heard_terms


def _name(index: UserIndex, number: int, doc: int, words: NameWords = ()) -> Name:
    """A name of a note, or of a text (doc -1)."""
    docs, codes = index.postings.of(number)
    live = docs[index.forward.alive.data[docs] & (codes > 0)]
    rarity = index.titles.rarity(int(index.vocabulary.df.data[number]))
    if doc < 0:
        weight = rarity / max(1, len(index.bearers(number, words)))
    else:
        weight, words = index.mention_weight(number, doc), index.name_words(number, doc)
    return Name(number, index.vocabulary.word(number), weight, live.astype(np.int64), words)
