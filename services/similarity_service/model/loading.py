"""The terms of many notes, numbered without a Python object for each: what loading an index spends its time with.

A hundred thousand notes have five million terms, of which a quarter of a million are different. Their bytes are hashed
in numpy, all words of some hundred notes at once; only a word that is new becomes a string.
"""

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.arrays import Ints, Longs
from services.similarity_service.model.strings import Hashes, HashTable

_SPACE, _BETWEEN = 0x20, 0x1E
# A word's hash is the sum of a random number for each of its bytes times a power of an odd number, modulo 2**64.
_BASE = 0x9E3779B97F4A7C1B
_INVERSE = pow(_BASE, -1, 1 << 64)
_BYTES = np.random.default_rng(20_211).integers(1, 1 << 64, 256, np.uint64)
_BYTES[_SPACE] = 0


class Words:
    """Terms, numbered in the order of their arrival."""

    def __init__(self) -> None:
        self.words: list[str] = []
        # How words read, where that is not the word itself.
        self.forms: dict[int, str] = {}
        self._table = HashTable()
        self._powers = np.ones(1, np.uint64)
        self._inverses = np.ones(1, np.uint64)

    def number(self, text: bytes, counts: Longs, forms: bytes, sizes: Longs) -> Ints:
        """The numbers of the terms of the next notes, note after note. text, forms: codec.WORDS and codec.FORMS as
        codec.Parts joins them; counts: how many terms each note has; sizes: bytes of each note's forms."""
        if not text:
            return np.zeros(0, np.int32)
        text += b" "
        begins, ends = _pieces(text, _SPACE)
        codes = self._hash(text, begins, ends)
        numbers = self._table.get_all(codes)
        missing = np.flatnonzero(numbers < 0)
        if not len(missing):
            return numbers
        new, first, back = np.unique(codes[missing], return_index=True, return_inverse=True)
        order = np.argsort(first)
        given = np.empty(len(new), np.int32)
        given[order] = np.arange(len(self.words), len(self.words) + len(new), dtype=np.int32)
        self._table.set_all(new, given)
        numbers[missing] = given[back]
        places = missing[first[order]]
        self._note_forms(places, counts, forms, sizes)
        bounds = zip(begins[places].tolist(), ends[places].tolist(), strict=True)
        self.words += [text[begin:end].decode() for begin, end in bounds]
        return numbers

    def _hash(self, text: bytes, begins: Longs, ends: Longs) -> Hashes:
        if len(self._powers) < len(text):
            self._powers = _powers(_BASE, len(text))
            self._inverses = _powers(_INVERSE, len(text))
        mixed = _BYTES[np.frombuffer(text, np.uint8)]
        mixed *= self._powers[: len(text)]
        sums = np.cumsum(mixed)[ends]
        codes: Hashes = np.diff(sums, prepend=np.uint64(0)) * self._inverses[begins]
        codes[codes == 0] = 1
        return codes

    def _note_forms(self, places: Longs, counts: Longs, text: bytes, sizes: Longs) -> None:
        """Keep how the words at some places read; they are about to get the next numbers."""
        text += b"\x1e"
        begins, ends = _pieces(text, _BETWEEN)
        # How many forms there are until the end of each note's.
        through = np.searchsorted(ends, np.cumsum(sizes + (sizes > 0)) - 1, "right")
        firsts = np.concatenate([np.zeros(1, np.int64), through[:-1]])
        shown = through - firsts
        row = np.repeat(np.arange(len(counts)), counts)[places]
        local = places - (np.cumsum(counts) - counts)[row]
        at = np.where(local < shown[row], firsts[row] + local, 0)
        has = (local < shown[row]) & (ends[at] > begins[at])
        number = len(self.words)
        for which, begin, end in zip(
            np.flatnonzero(has).tolist(), begins[at[has]].tolist(), ends[at[has]].tolist(), strict=True
        ):
            self.forms[number + which] = text[begin:end].decode()


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
