"""Names of notes (titles and aliases) and where they occur in the texts of other notes.

A note with the words "relational database" mentions the note of that title: no other sign of a link is as strong. A
name of several words has postings like a term; a name of one word has the postings of its term. So both directions are
look-ups: which names a text mentions, and which notes mention a name. A name inside a longer name counts less
("database" in "relational database"), and rare names count more.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.engine.arrays import Growing, Ints, Longs, Postings, Rows, distinct, order_of
from services.similarity_service.model.engine.forward import ForwardIndex
from services.similarity_service.model.engine.strings import HashTable
from services.similarity_service.model.engine.vocabulary import OTHERS, PHRASE, STOP, WEIGHTLESS, Vocabulary
from services.similarity_service.model.note import LONGEST_TITLE, LONGEST_UNSPACED, NARROW

# The weight of a mention that stands inside a longer name.
COVERED = 0.5
_CHUNK = 2048
# At most this many notes are searched one by one.
_FEW = 8
_CODES = (1 << 64) - 1
# Odd random numbers for the hashes of runs of terms. Hashes are not stored.
_FACTORS = [
    0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93,
    0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3,
]  # fmt: skip
_FACTORS += [n | 1 for n in np.random.default_rng(32).integers(1, 1 << 64, LONGEST_UNSPACED - 6, np.uint64).tolist()]
# The bit of a pair that begins names of more than LONGEST_TITLE terms.
_LONG = LONGEST_TITLE + 1
_MULTIPLIERS = np.array(_FACTORS, np.uint64)
_PAIR = (_FACTORS[0], _FACTORS[2])


class Titles:
    """The names of the notes of an index, with one row for each note."""

    def __init__(self, vocabulary: Vocabulary, postings: Postings, forward: ForwardIndex) -> None:
        self._vocabulary = vocabulary
        self._postings = postings
        self._forward = forward
        # By name (a term's or a phrase's number): a live note of that name, -1 if none; further ones in _more.
        self._first = Growing(np.int32, fill=-1)
        self._more: dict[int, list[int]] = {}
        # How long the names are that a pair of terms begins (bit n: n terms, the last bit: more), by a hash of the two.
        # It excludes nearly every place of a text at once.
        self._pairs = np.zeros(1 << 12, np.uint8)
        # The lengths of the names of more than LONGEST_TITLE terms, ascending.
        self._long: list[int] = []
        # Phrases by a hash of their terms' numbers.
        self._numbers = HashTable()
        self.names = Rows(np.int32)

    @property
    def nbytes(self) -> int:
        arrays = self._first.nbytes + self.names.nbytes + int(self._pairs.nbytes) + self._numbers.nbytes
        return arrays + 150 * len(self._more)

    def titled(self, number: int) -> list[int]:
        """The live notes that have a name."""
        first = int(self._first.data[number]) if number < self._first.size else -1
        return [] if first < 0 else [first, *self._more.get(number, ())]

    def rarity(self, df: int) -> float:
        """The weight of a mention of a name that occurs in `df` notes, in (0, 1]."""
        notes = self._forward.live + OTHERS
        return math.log1p(notes / (df + 1)) / math.log1p(notes)

    def scan(self, part: Ints) -> dict[int, bool]:
        """The names in a sequence of terms (-1 for no term): name -> whether it occurs only inside longer names.

        Names of several words are included even if no live note has them any more.
        """
        found: dict[int, bool] = {}
        if not len(part):
            return found
        masks = np.zeros(len(part), np.uint8)
        masks[:-1] = self._pairs[self._pair(part[:-1], part[1:])]
        single = (part >= 0) & (self._first.data[part] >= 0)
        places = np.flatnonzero((masks > 0) | single)
        sequence = part.tolist()
        end = 0
        for at, mask, alone in zip(places.tolist(), masks[places].tolist(), single[places].tolist(), strict=True):
            for length, number in reversed(self._phrases_at(sequence, at, mask)):
                covered = at + length <= end
                found[number] = found.get(number, True) and covered
                # A name that no live note has must not cover another.
                if not covered and self._first.data[number] >= 0:
                    end = at + length
            if alone:
                number = sequence[at]
                covered = at < end
                found[number] = found.get(number, True) and covered
                end = max(end, at + 1)
        return found

    def add(self, doc: int, names: Sequence[tuple[str, ...]]) -> None:
        """Append the names of the note that the index has just added."""
        self._reach()
        self._bear(doc, [self._register(name) for name in names])

    def remove(self, doc: int) -> None:
        """Remove a note's names."""
        for number in self.names[doc].tolist():
            others = [other for other in self.titled(number) if other != doc]
            self._first.data[number] = others[0] if others else -1
            if len(others) > 1:
                self._more[number] = others[1:]
            else:
                self._more.pop(number, None)

    def load(self, named: Mapping[int, tuple[Longs, Ints]], words: Sequence[str]) -> tuple[Ints, Ints]:
        """Append the names of all notes of an index that is being filled.

        named: by the length of names, the notes and the terms of each name. words: of all terms so far.

        Returns (phrase, note) pairs, notes ascending, which the caller posts.
        """
        vocabulary = self._vocabulary
        self._reach()
        # (note << 32 | name)
        borne: list[Longs] = [np.zeros(0, np.int64)]
        pairs: dict[int, Ints] = {}
        for size, (docs, terms) in named.items():
            proper = ((vocabulary.flags.data[terms] & WEIGHTLESS) == 0).any(axis=1)
            docs, terms = docs[proper], terms[proper]
            if not len(docs):
                continue
            numbers = terms[:, 0]
            if size > 1:
                spread = terms.astype(np.uint64) + np.uint64(2)
                hashes, first, back = np.unique(
                    (spread * _MULTIPLIERS[:size]).sum(axis=1, dtype=np.uint64), return_index=True, return_inverse=True
                )
                phrases = [" ".join(map(words.__getitem__, row)) for row in terms[first].tolist()]
                start = vocabulary.add_all(phrases)
                own = np.arange(start, start + len(phrases), dtype=np.int32)
                self._numbers.set_all(hashes, own)
                pairs[size] = terms[first, :2]
                numbers = own[back]
            borne.append(docs << 32 | numbers)
        self._reach()
        self._bear_all(distinct(np.concatenate(borne)))
        self._note_pairs(pairs)
        return self._find_all()

    def _bear_all(self, borne: Longs) -> None:
        """Names of all notes: (note << 32 | name), ascending."""
        docs, numbers = (borne >> 32).astype(np.int32), (borne & 0xFFFFFFFF).astype(np.int32)
        self.names.load(numbers, np.bincount(docs, minlength=self._forward.size).tolist())
        order = order_of(numbers)
        numbers, docs = numbers[order], docs[order]
        first = np.ones(len(numbers), np.bool_)
        first[1:] = numbers[1:] != numbers[:-1]
        self._first.data[numbers[first]] = docs[first]
        for number, doc in zip(numbers[~first].tolist(), docs[~first].tolist(), strict=True):
            self._more.setdefault(number, []).append(doc)

    def containing(self, phrase: Sequence[int]) -> Longs:
        """The live notes that have the terms one after the other, ascending."""
        docs = self._candidates(phrase)
        if len(docs) <= _FEW:
            return docs[[self._follow(doc, phrase) for doc in docs.tolist()]]
        return np.concatenate([chunk[self._contains(chunk, phrase)] for chunk in _chunks(docs)])

    def _candidates(self, phrase: Sequence[int]) -> Longs:
        """A superset of the live notes that have all the terms, ascending."""
        postings, flags = self._postings, self._vocabulary.flags.data
        posted = sorted({number for number in phrase if not flags[number] & STOP}, key=postings.length)
        if not posted:
            return np.flatnonzero(self._forward.alive.view)  # stop words have no postings: any note may have them
        # Notes are posted in the order of their numbers.
        docs, _ = postings.of(posted[0])
        docs = docs[self._forward.alive.data[docs]]
        for number in posted[1:]:
            if len(docs) <= _FEW:
                break
            others, _ = postings.of(number)
            docs = docs[others[np.minimum(np.searchsorted(others, docs), len(others) - 1)] == docs]
        return docs.astype(np.int64)

    def _follow(self, doc: int, phrase: Sequence[int]) -> bool:
        """Whether one note has the terms one after the other."""
        row = self._forward.terms[doc].tolist()
        try:
            places = [row.index(number) for number in phrase]
        except ValueError:
            return False
        sequence = self._forward.local(doc)
        text = sequence.tobytes()
        sought = bytes(places) if sequence.itemsize == 1 else np.array(places, sequence.dtype).tobytes()
        at = text.find(sought)
        while at > 0 and at % sequence.itemsize:
            at = text.find(sought, at + 1)
        return at >= 0

    def _reach(self) -> None:
        size = len(self._vocabulary)
        self._first.reach(size)
        self._postings.reach(size)

    def _is_name(self, numbers: Sequence[int]) -> bool:
        flags = self._vocabulary.flags.data
        return any(not flags[n] & WEIGHTLESS for n in numbers)

    def phrases_in(self, doc: int) -> Ints:
        """The names of several words that occur in a note."""
        terms = self._forward.sequence(doc)
        masks = self._pairs[self._pair(terms[:-1], terms[1:])]
        places = np.flatnonzero(masks)
        sequence = terms.tolist()
        found: dict[int, None] = {}
        for at, mask in zip(places.tolist(), masks[places].tolist(), strict=True):
            for _, name in self._phrases_at(sequence, at, mask):
                found[name] = None
        return np.fromiter(found, np.int32, len(found))

    def _phrases_at(self, sequence: Sequence[int], at: int, mask: int) -> list[tuple[int, int]]:
        """The names of several words that begin at a place: (terms, number), ascending. mask: of the pair there."""
        longest = self._long[-1] if mask >> _LONG and self._long else mask.bit_length() - 1
        found: list[tuple[int, int]] = []
        code = 0
        for size, (number, factor) in enumerate(zip(sequence[at : at + longest], _FACTORS, strict=False), 1):
            code += (number + 2) * factor
            if (
                mask >> min(size, _LONG) & 1
                and (size < _LONG or size in self._long)
                and (name := self._numbers.get(code & _CODES or 1)) >= 0
            ):
                found.append((size, name))
        return found

    def _pair(self, one: Ints, other: Ints) -> Longs:
        """The places of pairs of terms in _pairs."""
        mixed = one.astype(np.uint64)
        mixed *= np.uint64(_PAIR[0])
        mixed += other.astype(np.uint64)
        mixed *= np.uint64(_PAIR[1])
        mixed >>= np.uint64(self._pair_shift)
        return mixed.view(np.int64)

    @property
    def _pair_shift(self) -> int:
        return 65 - len(self._pairs).bit_length()

    def _note_pair(self, size: int, one: int, other: int) -> None:
        """Note that a name of `size` terms begins with these two."""
        mixed = (one * _PAIR[0] + other) & _CODES
        self._pairs[(mixed * _PAIR[1] & _CODES) >> self._pair_shift] |= self._bit(size)

    def _note_pairs(self, pairs: Mapping[int, Ints]) -> None:
        """Note the first two terms of names. pairs: by the length of the names."""
        while len(self._pairs) < 16 * self._numbers.size:
            self._pairs = np.zeros(4 * len(self._pairs), np.uint8)
        for size, terms in pairs.items():
            self._pairs[self._pair(terms[:, 0], terms[:, 1])] |= np.uint8(self._bit(size))

    def _bit(self, size: int) -> int:
        """The bit for names of so many terms."""
        if size >= _LONG and size not in self._long:
            self._long = sorted([*self._long, size])
        return 1 << min(size, _LONG)

    def _register(self, name: tuple[str, ...]) -> int:
        """The number of a name; -1 if it has stop words only. A new phrase is searched in all notes."""
        vocabulary = self._vocabulary
        numbers = [vocabulary.number(term) for term in name]
        if -1 in numbers:
            numbers = vocabulary.number_all(name).tolist()
            self._reach()
        if not self._is_name(numbers):
            return -1
        if len(numbers) == 1:
            return int(numbers[0])
        code = _code(numbers)
        number = self._numbers.get(code)
        if number < 0:
            number = vocabulary.add(" ".join(name))
            self._reach()
            self._numbers.set(code, number)
            if len(self._pairs) < 16 * self._numbers.size:
                self._pairs_again()
            self._note_pair(len(numbers), numbers[0], numbers[1])
            docs = self.containing(numbers)
            vocabulary.df.data[number] = len(docs)
            self._postings.put(number, docs.astype(np.int32), np.ones(len(docs), np.uint8))
        return number

    def _pairs_again(self) -> None:
        """Fill a larger table of pairs."""
        vocabulary = self._vocabulary
        pairs: dict[int, list[list[int]]] = {}
        for number in np.flatnonzero(vocabulary.flags.view & PHRASE).tolist():
            words = vocabulary.word(number).split(" ")
            pairs.setdefault(len(words), []).append(vocabulary.number_all(words[:2]).tolist())
        self._note_pairs({size: np.array(found, np.int32) for size, found in pairs.items()})

    def _bear(self, doc: int, names: Sequence[int]) -> None:
        kept = list(dict.fromkeys(n for n in names if n >= 0))
        for number in kept:
            if self._first.data[number] < 0:
                self._first.data[number] = doc
            else:
                self._more.setdefault(number, []).append(doc)
        self.names.append(kept)

    def _flat(self, docs: Longs) -> tuple[Ints, Longs]:
        """The sequences of several notes, one after the other, and the note of each place."""
        forward = self._forward
        places, lengths = forward.narrow.places(docs)
        local = forward.narrow.values.data[places].astype(np.int64)
        owner = np.repeat(docs, lengths)
        between = local == NARROW
        local[between] = 0
        at = forward.terms.starts(owner) + local
        values = forward.terms.values.data[np.minimum(at, max(0, forward.terms.values.size - 1))]
        values[between] = -1
        wide = [doc for doc in docs[lengths == 0].tolist() if forward.is_wide(doc)]
        if wide:
            sequences = [forward.sequence(doc) for doc in wide]
            values = np.concatenate([values, *sequences])
            owner = np.concatenate([owner, np.repeat(wide, [len(sequence) for sequence in sequences])])
        return values, owner

    def _contains(self, docs: Longs, phrase: Sequence[int]) -> NDArray[np.bool_]:
        """Which of the notes (ascending) have the terms one after the other."""
        forward = self._forward
        rows, sizes = forward.terms.places(docs)
        starts, ends = forward.terms.starts(docs), np.cumsum(sizes)
        values = forward.terms.values.data[rows]
        # A note's sequence holds places in its row of terms: where the phrase's terms are in each.
        local = np.full((len(phrase), len(docs)), -1, np.int64)
        for step, number in enumerate(phrase):
            hits = np.flatnonzero(values == number)
            owner = np.searchsorted(ends, hits, "right")
            local[step, owner] = rows[hits] - starts[owner]
        found = np.zeros(len(docs), np.bool_)
        having = np.flatnonzero((local >= 0).all(axis=0))
        places, lengths = forward.narrow.places(docs[having])
        found[having[_following(forward.narrow.values.data[places], lengths, local[:, having])]] = True
        wide = [which for which in having[lengths == 0].tolist() if forward.is_wide(int(docs[which]))]
        if wide:
            sequences = [forward.local(int(docs[which])) for which in wide]
            sizes = np.array([len(sequence) for sequence in sequences])
            found[np.array(wide)[_following(np.concatenate(sequences), sizes, local[:, wide])]] = True
        return found

    def _find_all(self) -> tuple[Ints, Ints]:
        """The occurrences of phrases in all notes: (phrase, note) pairs, notes ascending."""
        found: list[Ints] = []
        owners: list[Ints] = []
        for docs in _chunks(np.arange(self._forward.size)):
            values, owner = self._flat(docs)
            masks = self._pairs[self._pair(values[:-1], values[1:])]
            # Few places pass: what comes after looks only at them.
            some = np.flatnonzero(masks)
            spread = (values + np.int64(2)).astype(np.uint64)
            pairs: list[Longs] = []
            for size in [*range(2, LONGEST_TITLE + 1), *self._long]:
                at = some[(masks[some] >> min(size, _LONG) & 1) > 0]
                at = at[at + size <= len(values)]
                at = at[owner[at] == owner[at + size - 1]]
                run = spread[at] * _MULTIPLIERS[0]
                for step in range(1, size):
                    run += spread[at + step] * _MULTIPLIERS[step]
                numbers = self._numbers.get_all(run)
                hit = numbers >= 0
                pairs.append(owner[at[hit]] << 32 | numbers[hit])
            each = distinct(np.concatenate(pairs))
            found.append((each & 0xFFFFFFFF).astype(np.int32))
            owners.append((each >> 32).astype(np.int32))
        empty = np.zeros(0, np.int32)
        return np.concatenate([empty, *found]), np.concatenate([empty, *owners])


def _code(numbers: Sequence[int]) -> int:
    """A hash of a run of terms. No phrase has a -1 (no term)."""
    code = 0
    for number, multiplier in zip(numbers, _FACTORS, strict=False):
        code += (number + 2) * multiplier
    return code & _CODES or 1


def _following(sequence: NDArray[np.unsignedinteger], lengths: Longs, sought: Longs) -> Longs:
    """Which parts of a sequence contain their run. lengths: of the parts. sought: the run of each part, in columns."""
    run = sought.astype(sequence.dtype)
    ends = np.cumsum(lengths)
    at = np.flatnonzero(sequence == np.repeat(run[0], lengths))
    owner = np.searchsorted(ends, at, "right")
    for step in range(1, len(run)):
        fits = at + step < ends[owner]
        at, owner = at[fits], owner[fits]
        same = sequence[at + step] == run[step, owner]
        at, owner = at[same], owner[same]
    return owner


def _chunks(docs: Longs) -> list[Longs]:
    return [docs[start : start + _CHUNK] for start in range(0, len(docs), _CHUNK)]
