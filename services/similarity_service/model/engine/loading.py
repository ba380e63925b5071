"""Reads the records of many notes for an index, without a Python object for each of their terms.

A hundred thousand notes have five million terms, of which a quarter of a million are different. Their bytes are hashed
in numpy, all words of some hundred notes at once; only a word that is new becomes a string.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.analysis import DEFAULT_LANGUAGE
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.arrays import Bytes, Growing, Ints, Longs, S
from services.similarity_service.model.engine.codec import Packed, RecordReader
from services.similarity_service.model.engine.strings import Hashes, HashTable
from services.similarity_service.model.engine.vocabulary import TAG_PREFIX
from services.similarity_service.model.note import NARROW

# The parts of records that are kept as they are.
_KEPT = (codec.TITLE, codec.SEQUENCE, codec.HASHES, codec.SIZES, codec.SALIENT)
_SPACE, _BETWEEN = 0x20, 0x1E
_MIX = np.uint64(0xC2B2AE3D27D4EB4F)
# A word's hash is the sum of a random number for each of its bytes times a power of an odd number, modulo 2**64.
_BASE = 0x9E3779B97F4A7C1B
_INVERSE = pow(_BASE, -1, 1 << 64)
_BYTES = np.random.default_rng(20_211).integers(1, 1 << 64, 256, np.uint64)
_BYTES[[_SPACE, _BETWEEN]] = 0


class Loading:
    """One user's notes, read page by page and kept in columns, from which UserIndex.load() makes an index.

    A page of some hundred notes stays in the processor's cache. Only what the index needs is kept, so loading takes
    little more memory than the index.
    """

    def __init__(self) -> None:
        self.words = Words()
        self.ids: list[str] = []
        # Incarnation and version, note after note.
        self.stamps: list[int] = []
        # Terms and tags: their numbers, how often each occurs in its note (a tag: 0) and in which words (variants.py),
        # and how many each note has.
        self.numbers = Column(np.int32)
        self.codes = Column(np.uint8)
        self.variants = Column(np.uint16)
        self.sizes = Column(np.int64)
        # Notes of more different terms than one byte can number.
        self.wide: list[int] = []
        # (note, terms of an alias)
        self.aliases: list[tuple[int, Ints]] = []
        self._texts = {part: Column(np.uint8) for part in _KEPT}
        self._lengths = {part: Column(np.int64) for part in _KEPT}
        self._about: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def language(self) -> str:
        """The language of most of the records; queries must be analysed in it."""
        counts: Counter[str] = Counter()
        for about, count in self._about.items():
            counts[about.decode().partition(" ")[2]] += count
        return max(sorted(counts), key=counts.__getitem__, default=DEFAULT_LANGUAGE)

    def part(self, part: int) -> tuple[Bytes, Longs]:
        """A part of all notes (codec.TITLE and so on) and how many bytes of it each note has. It can be taken once."""
        return self._texts.pop(part).taken(), self._lengths.pop(part).taken()

    def take(self, notes: Sequence[Packed]) -> None:
        """Add notes whose ids were not added before."""
        if not notes:
            return
        first, records = len(self.ids), RecordReader(notes)
        self.ids += [note.node_id for note in notes]
        self.stamps += [number for note in notes for number in (note.incarnation, note.version)]
        self._about.update(records.joined(codec.ABOUT).splitlines())
        for part in _KEPT:
            self._texts[part].add(np.frombuffer(records.joined(part), np.uint8))
            self._lengths[part].add(records.lengths(part))
        sizes, codes = records.lengths(codec.CODES), np.frombuffer(records.joined(codec.CODES), np.uint8)
        self.wide += (first + np.flatnonzero(sizes > NARROW)).tolist()
        forms = records.joined(codec.FORMS), records.lengths(codec.FORMS)
        variants = np.frombuffer(records.joined(codec.VARIANTS), "<u2").astype(np.uint16)
        numbers = self.words.number(records.joined(codec.WORDS), sizes, *forms)
        tagged: list[int] = []
        tags: list[int] = []
        aliases: list[tuple[int, list[str]]] = []
        for note in np.flatnonzero(records.lengths(codec.NAMED)).tolist():
            own, others = codec.named(records.of(codec.NAMED, note))
            tagged += [note] * len(own)
            tags += [self.words.tag(tag) for tag in own]
            aliases += [(first + note, alias) for alias in others]
        if tags:
            ends = np.cumsum(sizes)[tagged]
            numbers, codes = np.insert(numbers, ends, tags), np.insert(codes, ends, 0)
            variants = np.insert(variants, ends, 0)
            sizes = sizes + np.bincount(tagged, minlength=len(notes))
        self.numbers.add(numbers)
        self.codes.add(codes)
        self.variants.add(variants)
        self.sizes.add(sizes)
        self._take_aliases(aliases)

    def _take_aliases(self, aliases: Sequence[tuple[int, list[str]]]) -> None:
        sizes = np.array([len(alias) for _, alias in aliases], np.int64)
        text = " ".join([term for _, alias in aliases for term in alias])
        numbers = self.words.number(text.encode(), sizes)
        ends = np.cumsum(sizes).tolist()
        self.aliases += [
            (doc, numbers[end - len(alias) : end]) for (doc, alias), end in zip(aliases, ends, strict=True)
        ]


class Column(Generic[S]):
    """Values that come in pieces."""

    def __init__(self, dtype: type[S]) -> None:
        self._pieces: list[NDArray[S]] = [np.zeros(0, dtype)]

    def add(self, values: NDArray[S]) -> None:
        self._pieces.append(values)

    def taken(self) -> NDArray[S]:
        """All values; the column is empty afterwards."""
        pieces, self._pieces = self._pieces, self._pieces[:1]
        return np.concatenate(pieces)


class Words:
    """Terms and tags, numbered in the order of their arrival."""

    def __init__(self) -> None:
        self.words: list[str] = []
        # How words read, where that is not the word itself: (number, form), each once.
        self.forms: list[tuple[int, str]] = []
        # Whether some note has a word as it is.
        self.plain = Growing(np.bool_)
        self._tags: dict[str, int] = {}
        self._table = HashTable()
        # Forms that were noted.
        self._noted = HashTable()
        self._powers = np.ones(1, np.uint64)
        self._inverses = np.ones(1, np.uint64)
        self._mixed = np.ones(1, np.uint64)

    def tag(self, tag: str) -> int:
        """The number of a tag; it is a word to itself."""
        number = self._tags.get(tag)
        if number is None:
            number = self._tags[tag] = len(self.words)
            self.words.append(TAG_PREFIX + tag)
        return number

    def number(self, text: bytes, counts: Longs, forms: bytes = b"", sizes: Longs | None = None) -> Ints:
        """The numbers of the terms of the next notes, note after note. text, forms: codec.WORDS and codec.FORMS as
        codec.RecordReader joins them; counts: how many terms each note has; sizes: bytes of each note's forms,
        None where forms aren't known."""
        if not text:
            return np.zeros(0, np.int32)
        text += b" "
        begins, ends = _pieces(text, _SPACE)
        codes = self._hash(text, begins, ends)
        numbers = self._table.get_all(codes)
        missing = np.flatnonzero(numbers < 0)
        if not len(missing):
            self._note_forms(numbers, counts, forms, sizes)
            return numbers
        new, first, back = np.unique(codes[missing], return_index=True, return_inverse=True)
        order = np.argsort(first)
        given = np.empty(len(new), np.int32)
        given[order] = np.arange(len(self.words), len(self.words) + len(new), dtype=np.int32)
        self._table.set_all(new, given)
        numbers[missing] = given[back]
        places = missing[first[order]]
        bounds = zip(begins[places].tolist(), ends[places].tolist(), strict=True)
        self.words += [text[begin:end].decode() for begin, end in bounds]
        self._note_forms(numbers, counts, forms, sizes)
        return numbers

    def _hash(self, text: bytes, begins: Longs, ends: Longs) -> Hashes:
        if len(self._powers) < len(text):
            self._powers = _powers(_BASE, len(text))
            self._inverses = _powers(_INVERSE, len(text))
            self._mixed = np.empty(len(text), np.uint64)
        # Written into one array each time: a new one costs more than what is computed.
        mixed = np.take(_BYTES, np.frombuffer(text, np.uint8), out=self._mixed[: len(text)], mode="clip")
        mixed *= self._powers[: len(text)]
        sums = np.cumsum(mixed, out=mixed)[ends]
        codes: Hashes = np.diff(sums, prepend=np.uint64(0)) * self._inverses[begins]
        codes[codes == 0] = 1
        return codes

    def _note_forms(self, numbers: Ints, counts: Longs, text: bytes, sizes: Longs | None) -> None:
        """Keep the forms of the words that have none of the same letters yet, and which words read as they are."""
        self.plain.reach(len(self.words))
        if sizes is None:
            return
        if not text:
            self.plain.data[numbers] = True
            return
        text += b"\x1e"
        begins, ends = _pieces(text, _BETWEEN)
        # How many forms there are until the end of each note's.
        through = np.searchsorted(ends, np.cumsum(sizes + (sizes > 0)) - 1, "right")
        firsts = np.concatenate([np.zeros(1, np.int64), through[:-1]])
        shown = through - firsts
        row = np.repeat(np.arange(len(counts)), counts)
        local = np.arange(len(numbers)) - (np.cumsum(counts) - counts)[row]
        at = np.where(local < shown[row], firsts[row] + local, 0)
        has = (local < shown[row]) & (ends[at] > begins[at])
        # A note without any form has its words as they are; in others, nothing is known of words behind the last form.
        self.plain.data[numbers[~has & ((local < shown[row]) | (shown[row] == 0))]] = True
        places = np.flatnonzero(has)
        codes = self._hash(text, begins, ends)[at[places]] + numbers[places].astype(np.uint64) * _MIX
        codes[codes == 0] = 1
        unknown = np.flatnonzero(self._noted.get_all(codes) < 0)
        new, first = np.unique(codes[unknown], return_index=True)
        self._noted.set_all(new, np.zeros(len(new), np.int32))
        places = places[np.sort(unknown[first])]
        for number, begin, end in zip(
            numbers[places].tolist(), begins[at[places]].tolist(), ends[at[places]].tolist(), strict=True
        ):
            self.forms.append((number, text[begin:end].decode()))


def _pieces(text: bytes, separator: int) -> tuple[Longs, Longs]:
    """Where the pieces of a text begin and end, each ended by a separator."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == separator)
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    return begins, ends


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    found: NDArray[np.uint64] = np.cumprod(factors)
    return found
