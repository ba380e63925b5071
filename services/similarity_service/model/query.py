"""Queries for similar notes: the weighted terms of a note that is in the index, or of a text that is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.engine.arrays import Floats, Ints, Longs
from services.similarity_service.model.engine.index import LOG_TF, UserIndex
from services.similarity_service.model.note import Note


@dataclass(frozen=True, slots=True)
class Name:
    """A name of the note that the query is about. term: the name as the index has it. docs: the notes that have it."""

    number: int
    term: str
    weight: float
    docs: Longs


@dataclass(frozen=True)
class Query:
    """The weighted terms and the names of a note or text.

    doc: the note's number, -1 for a text.
    numbers, tf, weights: its terms, LOG_TF of each, and LOG_TF times idf (0 for terms without weight).
    sequence: the terms of the title, -1, those of the text, in their order; unknown terms are -1.
    mentioned: the names that occur in it (Titles.scan()).
    names: its own names.
    """

    doc: int
    title: str
    numbers: Ints
    tf: Floats
    weights: Floats
    sequence: Ints
    mentioned: Mapping[int, bool]
    names: Sequence[Name]

    @cached_property
    def ascending(self) -> tuple[Ints, Floats, Floats]:
        """numbers, weights and tf in the order of the numbers."""
        order = np.argsort(self.numbers)
        return self.numbers[order], self.weights[order], self.tf[order]

    @cached_property
    def norm(self) -> float:
        return float(np.sqrt(np.dot(self.weights, self.weights)))


def of_doc(index: UserIndex, doc: int) -> Query:
    """The query for a note that is in the index."""
    numbers = index.forward.terms[doc]
    tf = LOG_TF[counts_without_boilerplate(index, doc)]
    names = [_name(index, number) for number in index.titles.names[doc].tolist()]
    weights = tf * index.vocabulary.idf(numbers, index.live)
    sequence = index.forward.sequence(doc)
    return Query(doc, index.title(doc), numbers, tf, weights, sequence, index.titles.scan(sequence), names)


def of_note(index: UserIndex, note: Note) -> Query:
    """The query for a text that is not in the index. Terms that no note has are left out."""
    numbers = index.vocabulary.numbers(note.terms)
    codes = np.frombuffer(note.codes, np.uint8)
    known = numbers >= 0
    sequence = np.frombuffer(note.sequence, np.uint16 if note.wide else np.uint8).astype(np.int64)
    terms = np.append(numbers, np.int32(-1))[np.minimum(sequence, len(numbers))]
    names = []
    for name in note.names:
        own = [index.vocabulary.number(term) for term in name]
        if -1 not in own:
            number = index.vocabulary.number(" ".join(name))
            if number >= 0:
                names.append(_name(index, number))
            else:
                docs = index.titles.containing(own)
                names.append(Name(-1, " ".join(name), index.titles.rarity(len(docs)), docs))
    tf = LOG_TF[codes[known]]
    weights = tf * index.vocabulary.idf(numbers[known], index.live)
    return Query(-1, note.title, numbers[known], tf, weights, terms, index.titles.scan(terms), names)


def counts_without_boilerplate(index: UserIndex, doc: int) -> NDArray[np.uint8]:
    """How often each of a note's terms occurs outside of boilerplate; the title counts twice."""
    codes = index.forward.codes_of(doc)
    masked = index.repeats.masked(doc, index.live)
    if masked is None:
        return codes
    sequence = index.forward.sequence(doc)
    cut = int(np.argmax(sequence < 0))
    title, text = sequence[:cut], sequence[cut + 1 : cut + 1 + len(masked)]
    kept = np.concatenate([title, title, text[~masked[: len(text)]]])
    terms = index.forward.terms[doc]
    order = np.argsort(terms)
    places = order[np.searchsorted(terms, kept, sorter=order)]
    return np.minimum(np.bincount(places, minlength=len(terms)), 255).astype(np.uint8)


def _name(index: UserIndex, number: int) -> Name:
    docs, _ = index.postings.of(number)
    live = docs[index.forward.alive.data[docs]]
    return Name(number, index.vocabulary.word(number), index.titles.weight(number), live.astype(np.int64))
