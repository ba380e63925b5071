"""The index of one user's notes: the postings of terms, and for each note what scores and phrases need.

Answers are a function of the set of notes in the index: weights are computed from counts at each query, so neither the
order of adding nor the notes that were removed change an answer. The time to add or remove a note grows with the length
of the note. The index is not thread-safe: one task may use it at a time.

A note's number ("doc") is the order in which it was added in this process; it has no meaning outside of the index.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.analysis import Analyser, analyser, fold_title
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.arrays import (
    Bytes,
    Doubles,
    Floats,
    Growing,
    Ints,
    Longs,
    Postings,
    Rows,
    distinct,
)
from services.similarity_service.model.engine.forward import ForwardIndex
from services.similarity_service.model.engine.loading import Loading
from services.similarity_service.model.engine.repeats import Repeats
from services.similarity_service.model.engine.strings import Strings
from services.similarity_service.model.engine.titles import Titles
from services.similarity_service.model.engine.vocabulary import STOP, TAG_PREFIX, UNSPACED, WEIGHTLESS, Vocabulary
from services.similarity_service.model.note import LONGEST_TITLE, LONGEST_UNSPACED, NARROW, WIDE, Note, called
from services.similarity_service.model.variants import ANY, mentioning

# The weight of a term by its number of occurrences. It is logarithmic: the tenth occurrence adds less than the second.
LOG_TF = np.concatenate([[0.0], 1.0 + np.log(np.arange(1, 256))]).astype(np.float32)
_SQUARES = LOG_TF * LOG_TF
# Each note is compared as if it had so many terms more that no other has: one word in common is much of a short note,
# and means little.
ADDED_TERMS = 5
# A name that more notes have points to none of them.
MOST_BEARERS = 8
# The terms of a name, each with the variants that mention it (variants.py); empty where every variant does.
NameWords = tuple[tuple[int, int], ...]
# The weight of each term of each note, in the places of the forward index, and the sum of their squares by note.
Weights = tuple[Floats, Doubles]
_CACHED_NAMES = 20_000
# Loading counts the terms of so many notes in one step, and posts those of so many in one step.
_COUNTED, _POSTED = 1 << 14, 1 << 12


@dataclass(slots=True)
class Computed:
    """What many queries ask for, computed from the index as it was at an epoch.

    scans: the names in the texts of notes. counts: how often their terms occur outside of boilerplate.
    mention_weights: of (name, note). idf: of all terms, which is worth computing when as many were asked for as there
    are. weights: of the terms of all notes, where score.keep_weights() was called.
    """

    epoch: int = 0
    scans: dict[int, Mapping[int, bool]] = field(default_factory=dict)
    counts: dict[int, Bytes] = field(default_factory=dict)
    mention_weights: dict[tuple[int, int], float] = field(default_factory=dict)
    idf: Floats | None = None
    asked_terms: int = 0
    weights: Weights | None = None


class UserIndex:
    """All arrays about one user's notes. language: in which the notes were analysed."""

    def __init__(self, language: str = "english") -> None:
        self.analyser: Analyser = analyser(language)
        self.vocabulary = Vocabulary(self.analyser)
        # Stop words have no postings: half of all postings would be theirs, and they carry no weight.
        self.postings = Postings()
        self.forward = ForwardIndex()
        self.titles = Titles(self.vocabulary, self.postings, self.forward)
        self.repeats = Repeats()
        self._ids = Strings()
        # 0 for removed notes, so that they get no score.
        self.inverse_norm = Growing(np.float32)
        # Occurrences in title and text.
        self.lengths = Growing(np.int32)
        # Terms of the title.
        self.title_sizes = Growing(np.uint16)
        self._stamps = Growing(np.int64)
        self._salient = Rows(np.uint16)
        self._titles = Rows(np.uint8)
        self.total_length = 0
        # Counts the changes of the index.
        self.epoch = 0
        self._scratch = np.zeros(0, np.float32)
        self._computed = Computed()
        self._name_words: dict[tuple[int, int], NameWords] = {}

    def __len__(self) -> int:
        return self.live

    def __contains__(self, node_id: str) -> bool:
        return self._ids.number(node_id) >= 0

    @property
    def size(self) -> int:
        """How many numbers were given to notes, those of removed notes included."""
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        parts = (
            self.vocabulary, self.postings, self.forward, self.titles, self.repeats, self._ids, self.inverse_norm,
            self.lengths, self.title_sizes, self._stamps, self._salient, self._titles, self._scratch,
        )  # fmt: skip
        return sum(int(part.nbytes) for part in parts)

    @property
    def live(self) -> int:
        """How many notes are in the index."""
        return self.forward.live

    @property
    def waste(self) -> float:
        """The share of numbers whose note was removed."""
        return 1 - self.live / self.size if self.size else 0.0

    def doc(self, node_id: str) -> int:
        """A note's number, -1 if it is not in the index."""
        return self._ids.number(node_id)

    def id(self, doc: int) -> str:
        """The id of a note."""
        return self._ids[doc]

    def ids(self) -> Iterator[str]:
        """The ids of all notes in the index."""
        return (self._ids[doc] for doc in np.flatnonzero(self.forward.alive.view).tolist())

    def title(self, doc: int) -> str:
        return self._titles[doc].tobytes().decode()

    def stamp(self, node_id: str) -> tuple[int, int] | None:
        """(incarnation, version) of a note; None if it is not in the index."""
        doc = self.doc(node_id)
        return None if doc < 0 else (int(self._stamps.data[2 * doc]), int(self._stamps.data[2 * doc + 1]))

    def salient(self, doc: int) -> Ints:
        """A note's salient terms, best first."""
        return self.forward.terms[doc][self._salient[doc]]

    def scratch(self, size: int) -> Floats:
        """A table of zeros with a place for each term. A caller that writes into it must restore the zeros."""
        if len(self._scratch) < size:
            self._scratch = np.zeros(size + size // 8, np.float32)
        return self._scratch

    @property
    def computed(self) -> Computed:
        """What is kept until the index changes."""
        if self._computed.epoch != self.epoch:
            self.forget_computed()
        return self._computed

    def idf(self, numbers: Ints) -> Floats:
        """Vocabulary.idf() of the terms among the notes that are in the index."""
        computed = self.computed
        if computed.idf is None:
            computed.asked_terms += len(numbers)
            if computed.asked_terms < len(self.vocabulary):
                return self.vocabulary.idf(numbers, self.live)
            computed.idf = self.vocabulary.idf(np.arange(len(self.vocabulary)), self.live)
        return computed.idf[numbers]

    def forget_computed(self) -> None:
        """Free what is kept until the index changes."""
        self._computed = Computed(self.epoch)

    def titled(self, terms: Sequence[str]) -> Longs:
        """The live notes whose title, or an alias, has these terms in their order, stop words included; ascending."""
        numbers = self.vocabulary.numbers(terms)
        if not len(terms) or (numbers < 0).any():
            return np.zeros(0, np.int64)
        docs = np.flatnonzero((self.title_sizes.view == len(terms)) & self.forward.alive.view)
        # A note's row of terms begins with those of its title, each once.
        for place, number in enumerate(dict.fromkeys(numbers.tolist())):
            at = np.minimum(self.forward.terms.starts(docs) + place, self.forward.terms.values.size - 1)
            docs = docs[self.forward.terms.values.data[at] == number]
        name = self.vocabulary.number(" ".join(terms))
        return distinct(np.concatenate([docs, np.array(self.titles.titled(name), np.int64)])) if name >= 0 else docs

    def name_words(self, name: int, doc: int) -> NameWords:
        """The terms of a name of a note with the variants that mention it; none where all do."""
        key = (name, doc)
        found = self._name_words.get(key)
        if found is None:
            if len(self._name_words) >= _CACHED_NAMES:
                self._name_words.clear()
            found = self._name_words[key] = self.words_of_name(self.vocabulary.word(name), self.title(doc))
        return found

    def words_of_name(self, name: str, title: str) -> NameWords:
        """As name_words() for the terms of a name and the title that has it. The words of an alias are not kept."""
        terms = name.split(" ")
        variants = [0] * len(terms)
        for text in called(title):
            pairs = self.analyser.pairs(text)
            if [term for term, _ in pairs] == terms:
                found = [mentioning(self.analyser.stemmed, self.analyser.variant(pair)) for pair in pairs]
                variants = [one | other for one, other in zip(variants, found, strict=True)]
        if all(each in (0, ANY) for each in variants):
            return ()
        return tuple((self.vocabulary.number(term), each) for term, each in zip(terms, variants, strict=True))

    def bearers(self, name: int, words: NameWords) -> Sequence[int]:
        """The live notes that have a name in these words; where more than MOST_BEARERS have it, in any."""
        docs = self.titles.titled(name)
        if not words or not 1 < len(docs) <= MOST_BEARERS:
            return docs
        return [doc for doc in docs if _same_words(words, self.name_words(name, doc))]

    def mention_weight(self, name: int, doc: int) -> float:
        """The weight of a mention of a note by one of its names, in [0, 1]: higher for rare names.

        0 for a name that another note has as the same title: it points to neither. Names that several notes have for
        other reasons (an abbreviation, the stem of a word) count in parts.
        """
        kept = self.computed.mention_weights
        found = kept.get((name, doc))
        if found is None:
            if len(kept) >= _CACHED_NAMES:
                kept.clear()
            found = kept[name, doc] = self._mention_weight(name, doc)
        return found

    def _mention_weight(self, name: int, doc: int) -> float:
        bearers = self.bearers(name, self.name_words(name, doc))
        if len(bearers) > MOST_BEARERS:
            return 0.0
        if len(bearers) > 1:
            title = fold_title(self.title(doc))
            if any(other != doc and fold_title(self.title(other)) == title for other in bearers):
                return 0.0
        return self.titles.rarity(int(self.vocabulary.df.data[name])) / max(1, len(bearers))

    def everywhere(self, number: int) -> tuple[Longs, Bytes]:
        """The notes that have a term, and how often, without its postings: a stop word has none."""
        places = np.flatnonzero(self.forward.terms.values.view == number)
        return self.forward.terms.rows_of(places), self.forward.codes.data[places]

    def add(self, note: Note) -> int:
        """Add a visible note, in place of its earlier version if there is one. Returns its number."""
        self.add_all([note])
        return self.doc(note.node_id)

    def add_all(self, notes: Sequence[Note]) -> None:
        """As add() for several notes, each with an id of its own, in less time: their terms are looked up and posted
        together.
        """
        if not notes:
            return
        for note in notes:
            self.remove(note.node_id)
        first = self.size
        terms = [[*note.terms, *(TAG_PREFIX + tag for tag in note.tags)] for note in notes]
        forms = [note.forms or ("",) * len(note.terms) for note in notes]
        variants = [np.frombuffer(note.variants or bytes(2 * len(note.terms)), np.uint16) for note in notes]
        for note, numbers in zip(notes, self.vocabulary.number_notes(terms, forms, variants), strict=True):
            self._append(note, numbers)
        self._post(first)
        for doc, note in enumerate(notes, first):
            title, codes = note.title_places, note.codes
            flags = self.vocabulary.flags.data[self.forward.terms[doc][list(title)]].tolist()
            titled = any(codes[n] and not flag & WEIGHTLESS for n, flag in zip(title, flags, strict=True))
            # A new name is searched in all notes, the later ones of these included.
            self.titles.add(doc, note.names if titled else note.aliases)

    def _append(self, note: Note, numbers: Ints) -> None:
        """Append the row of a note. numbers: of its terms and tags."""
        codes = np.frombuffer(note.codes, np.uint8)
        variants = np.frombuffer(note.variants, np.uint16) if note.variants else np.full(len(codes), ANY, np.uint16)
        if tags := len(numbers) - len(codes):
            codes, variants = (np.concatenate([each, np.zeros(tags, each.dtype)]) for each in (codes, variants))
        doc = self._ids.add(note.node_id)
        self._titles.append(np.frombuffer(note.title.encode(), np.uint8))
        self.forward.add(numbers, codes, variants, note.sequence, wide=note.wide)
        self._salient.append([number for number, _ in note.salient])
        self._stamps.extend(note.stamp)
        length = (len(note.sequence) >> note.wide) - 1
        self.lengths.append(length)
        self.title_sizes.append(len(note.title_places))
        self.repeats.add(np.frombuffer(note.sentence_hashes, np.uint32), np.frombuffer(note.sentence_sizes, np.uint16))
        self.total_length += length
        self.epoch += 1
        weight = float(_SQUARES[codes].sum())
        self.inverse_norm.append((weight + ADDED_TERMS) ** -0.5 if weight else 0.0)
        self.vocabulary.salient.data[self.salient(doc)] += 1

    def _post(self, first: int) -> None:
        """Post and count the terms, and the names known so far, of the notes from this one on."""
        vocabulary, docs = self.vocabulary, range(first, self.size)
        span = self.forward.terms.span(first, self.size)
        numbers, codes = self.forward.terms.values.data[span], self.forward.codes.data[span]
        phrases = [self.titles.phrases_in(doc) for doc in docs]
        named = np.concatenate(phrases)
        posted = vocabulary.flags.data[numbers] & STOP == 0
        self.postings.reach(len(vocabulary))
        lists = np.concatenate([numbers[posted], named])
        codes = np.concatenate([codes[posted], np.ones(len(named), np.uint8)])
        if len(docs) == 1:
            self.postings.append_one(lists, first, codes)
        else:
            own = np.repeat(np.array(docs, np.int32), self.forward.terms.lengths(first))
            owners = [own[posted], np.repeat(np.array(docs, np.int32), [len(found) for found in phrases])]
            self.postings.append(lists, np.concatenate(owners), codes)
        np.add.at(vocabulary.df.data, np.concatenate([numbers, named]), 1)

    def remove(self, node_id: str) -> bool:
        """Remove a note. False if it was not in the index.

        Its postings stay, with no weight, until the index is loaded again.
        """
        doc = self.doc(node_id)
        if doc < 0:
            return False
        self._ids.drop(node_id)
        self.vocabulary.df.data[self.forward.terms[doc]] -= 1
        self.vocabulary.df.data[self.titles.phrases_in(doc)] -= 1
        self.titles.remove(doc)
        self.vocabulary.salient.data[self.salient(doc)] -= 1
        self.repeats.remove(doc)
        self.forward.remove(doc)
        self.inverse_norm.data[doc] = 0
        self.total_length -= int(self.lengths.data[doc])
        self.epoch += 1
        return True

    def load(self, loading: Loading) -> None:
        """Fill an empty index with many visible notes: the result is that of adding each, thirty times faster.

        ValueError when the index is not empty.
        """
        if self.size:
            raise ValueError("load() fills an empty index")
        vocabulary, words = self.vocabulary, loading.words
        vocabulary.add_all(words.words, words.forms, np.flatnonzero(words.plain.view))
        self._ids.add_all(loading.ids)
        self._stamps.extend(loading.stamps)
        sizes, codes = loading.sizes.taken(), loading.codes.taken()
        self.inverse_norm.extend(_inverse_norms(codes, sizes))
        self._titles.load(*loading.part(codec.TITLE))
        pairs, bytes_of_pairs = loading.part(codec.SALIENT)
        self._salient.load(pairs.view("<u2")[::2].astype(np.uint16), bytes_of_pairs // 4)
        hashes, bytes_of_hashes = loading.part(codec.HASHES)
        self.repeats.load(hashes.view("<u4"), bytes_of_hashes // 4, loading.part(codec.SIZES)[0].view("<u2"))
        sequences, lengths = loading.part(codec.SEQUENCE)
        numbers, variants = loading.numbers.taken(), loading.variants.taken()
        self.lengths.extend(self.forward.load(numbers, codes, variants, sizes, sequences, lengths, loading.wide))
        self.total_length = int(self.lengths.view.sum())
        self.epoch += 1
        self._post_all(*self.titles.load(self._names(loading.aliases), words.words))

    def _names(self, aliases: Sequence[tuple[int, Ints]]) -> dict[int, tuple[Longs, Ints]]:
        """For load(): for each length of names, the notes that have such a name, and the terms of each name."""
        rows = np.flatnonzero(self.forward.narrow.lengths())
        lengths = np.full(len(self.forward.narrow), -1, np.int64)
        # Each sequence has one separator, after the title.
        lengths[rows] = np.flatnonzero(self.forward.narrow.values.view == NARROW) - self.forward.narrow.starts(rows)
        for doc in self.forward.wide_docs():
            lengths[doc] = int(np.argmax(self.forward.local(doc) == WIDE))
        self.title_sizes.extend(lengths)
        lengths[self.forward.wide_docs()] = -1
        named: dict[int, tuple[list[Longs], list[Ints]]] = {}
        flags = self.vocabulary.flags.data
        for size in range(1, LONGEST_UNSPACED + 1):
            docs = np.flatnonzero(lengths == size)
            local = self.forward.narrow.values.data[self.forward.narrow.starts(docs)[:, None] + np.arange(size)]
            places = self.forward.terms.starts(docs)[:, None] + local
            terms = self.forward.terms.values.data[places]
            kept = _is_name(terms, self.forward.codes.data[places], flags)
            named[size] = [docs[kept]], [terms[kept]]
        others = list(aliases)
        for doc in self.forward.wide_docs():
            length = int(self.title_sizes.data[doc])
            if 0 < length <= LONGEST_UNSPACED:
                row = self.forward.local(doc)[:length]
                name = self.forward.terms[doc][row]
                if _is_name(name[None], self.forward.codes_of(doc)[row][None], flags)[0]:
                    others.append((doc, name))
        for doc, name in others:
            if 0 < len(name) <= LONGEST_UNSPACED:
                named[len(name)][0].append(np.array([doc]))
                named[len(name)][1].append(name[None])
        return {size: (np.concatenate(docs), np.concatenate(terms)) for size, (docs, terms) in named.items()}

    def _post_all(self, phrases: Ints, owners: Ints) -> None:
        """For load(): count and post the terms of all notes.

        phrases, owners: the phrases that occur in notes, and in which notes (ascending).
        """
        vocabulary, known = self.vocabulary, len(self.vocabulary)
        df = np.bincount(phrases, minlength=known)
        salient = np.zeros(known, np.int64)
        for first, end in self._pieces(_COUNTED):
            df += np.bincount(self.forward.terms.values.data[self.forward.terms.span(first, end)], minlength=known)
            docs = np.arange(first, end)
            places, lengths = self._salient.places(docs)
            at = np.repeat(self.forward.terms.starts(docs), lengths) + self._salient.values.data[places]
            salient += np.bincount(self.forward.terms.values.data[at], minlength=known)
        vocabulary.df.data[:known], vocabulary.salient.data[:known] = df, salient
        posted = (vocabulary.flags.data[:known] & STOP) == 0
        self.postings.load(np.where(posted, df, 0), self._triples(posted, phrases, owners))

    def _triples(
        self, posted: NDArray[np.bool_], phrases: Ints, owners: Ints
    ) -> Iterator[tuple[Ints, Ints, NDArray[np.uint8]]]:
        """For _post_all(): the pieces that Postings.load() takes. posted: whether each term has postings."""
        sizes = self.forward.terms.lengths()
        for first, end in self._pieces(_POSTED):
            span = self.forward.terms.span(first, end)
            numbers = self.forward.terms.values.data[span]
            docs = np.repeat(np.arange(first, end, dtype=np.int32), sizes[first:end])
            kept = np.flatnonzero(posted[numbers])
            own = slice(*np.searchsorted(owners, [first, end]))
            yield (
                np.concatenate([numbers[kept], phrases[own]]),
                np.concatenate([docs[kept], owners[own]]),
                np.concatenate([self.forward.codes.data[span][kept], np.ones(own.stop - own.start, np.uint8)]),
            )

    def _pieces(self, size: int) -> list[tuple[int, int]]:
        """(first, end) of consecutive runs of `size` notes."""
        return [(first, min(first + size, self.size)) for first in range(0, self.size, size)]


def _inverse_norms(tf: NDArray[np.uint8], sizes: Longs) -> Floats:
    """For load(): the inverse norm of each note.

    tf: how often each term occurs, note after note. sizes: how many terms each note has.
    """
    found = np.zeros(len(sizes), np.float32)
    filled = np.flatnonzero(sizes)
    if len(filled):
        weights = np.add.reduceat(_SQUARES[tf], (np.cumsum(sizes) - sizes)[filled])
        found[filled[weights > 0]] = (weights[weights > 0] + ADDED_TERMS) ** -0.5
    return found


def _same_words(one: NameWords, other: NameWords) -> bool:
    return all(a & b for (_, a), (_, b) in zip(one, other, strict=False))


def _is_name(terms: Ints, codes: NDArray[np.uint8], flags: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which titles of the same length can be mentioned. terms, codes: a row for each title."""
    proper = ((codes > 0) & ((flags[terms] & WEIGHTLESS) == 0)).any(axis=1)
    if terms.shape[1] > LONGEST_TITLE:
        proper &= ((flags[terms] & UNSPACED) == 0).sum(axis=1) <= LONGEST_TITLE
    found: NDArray[np.bool_] = proper
    return found
