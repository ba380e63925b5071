"""Sentences, headings and short lines that many notes share word by word: templates, signatures, legal lines. They
carry no weight.

How many notes have a sentence is counted exactly for each 32-bit hash of a sentence. Sentences count as one only if
their hashes are the same: among four million different ones, the chance that any five are is below one in a million.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.engine.arrays import Growing, Longs, Rows, distinct
from services.similarity_service.model.engine.strings import HashTable
from services.similarity_service.model.note import KINDS, QUIET

Codes = NDArray[np.uint32]
Sizes = NDArray[np.uint16]
# By the kind of a sentence (note.py): it is boilerplate when at least so many notes have it, and this share of all.
LEAST_NOTES = (5, 5, 3)
LEAST_SHARE = (0.005, 0.05, 0.005)
_FEWEST = min(LEAST_NOTES)


class Repeats:
    """How many notes have each sentence. Rows beside the notes of the index, in the same order."""

    def __init__(self) -> None:
        self.hashes = Rows(np.uint32)
        # Beside hashes.values: how many occurrences of terms the sentence is long.
        self.sizes = Growing(np.uint16)
        # Counts up to _FEWEST; from there on they are in _often. Nearly all sentences are in one note.
        self._counts = HashTable(np.uint32, np.uint8, none=0)
        self._often: dict[int, int] = {}
        # The sentences of _often that are in at least so many notes, by kind, ascending; None: not known now.
        self._least: Sequence[int] = LEAST_NOTES
        self._boilerplate: Codes | None = np.zeros(0, np.uint32)
        # The number of notes for which _least and _boilerplate were computed.
        self._notes = 0

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.hashes.nbytes + self.sizes.nbytes + self._counts.nbytes + 100 * len(self._often)

    def add(self, hashes: Codes, sizes: Sizes) -> None:
        """Append the row of the next note: the hashes of its sentences (note.py) and how long they are."""
        self.hashes.append(hashes)
        self.sizes.extend(sizes)
        self._count(hashes, 1)

    def load(self, hashes: Codes, lengths: Longs, sizes: Sizes) -> None:
        """As add() for all notes of an index that is being filled. lengths: how many sentences each has."""
        self.hashes.load(hashes, lengths)
        self.sizes.extend(sizes)
        # A sentence that a note has twice is still in one note.
        owned = hashes | np.repeat(np.arange(len(lengths), dtype=np.uint64) << np.uint64(32), lengths)
        codes = np.sort(distinct(owned[(hashes != 0) & (hashes != QUIET)]).astype(np.uint32))
        firsts = np.flatnonzero(np.diff(codes, prepend=np.uint32(0)))
        codes, counts = codes[firsts], np.diff(firsts, append=len(codes))
        self._counts.set_all(codes, np.minimum(counts, _FEWEST).astype(np.uint8))
        often = counts >= _FEWEST
        self._often = dict(zip(codes[often].tolist(), counts[often].tolist(), strict=True))
        self._boilerplate = None

    def remove(self, doc: int) -> None:
        """Take the sentences of a note out of the counts."""
        self._count(self.hashes[doc], -1)

    def is_boilerplate(self, hashes: Codes, notes: int) -> NDArray[np.bool_]:
        """Which of the sentences are boilerplate among so many notes."""
        codes = self._boilerplate_of(notes)
        if not len(codes):
            return np.zeros(len(hashes), np.bool_)
        found: NDArray[np.bool_] = codes[np.minimum(np.searchsorted(codes, hashes), len(codes) - 1)] == hashes
        return found

    def rows_with_any(self, docs: Longs, notes: int) -> NDArray[np.bool_]:
        """Which of the notes have a boilerplate sentence."""
        if not len(self._boilerplate_of(notes)):
            return np.zeros(len(docs), np.bool_)
        places, lengths = self.hashes.places(docs)
        repeated = self.is_boilerplate(self.hashes.values.data[places], notes)
        found: NDArray[np.bool_] = (
            np.bincount(np.repeat(np.arange(len(docs)), lengths)[repeated], minlength=len(docs)) > 0
        )
        return found

    def has_boilerplate(self, doc: int, notes: int) -> bool:
        """Whether a note has a boilerplate sentence."""
        return bool(len(self._boilerplate_of(notes)) and self.is_boilerplate(self.hashes[doc], notes).any())

    def masked(self, doc: int, notes: int) -> NDArray[np.bool_] | None:
        """For each occurrence of a term in the text of a note: whether it is quiet or in boilerplate. None: nowhere."""
        hashes = self.hashes[doc]
        repeated = self.is_boilerplate(hashes, notes) | (hashes == QUIET)
        if not repeated.any():
            return None
        return np.repeat(repeated, self.sizes.data[self.hashes.span(doc)])

    def _boilerplate_of(self, notes: int) -> Codes:
        """The hashes of all boilerplate among so many notes, ascending."""
        if self._boilerplate is not None and notes == self._notes:
            return self._boilerplate
        self._notes = notes
        least = [max(few, math.ceil(share * notes)) for few, share in zip(LEAST_NOTES, LEAST_SHARE, strict=True)]
        if self._boilerplate is None or least != self._least:
            codes = [code for code, count in self._often.items() if count >= least[code & KINDS]]
            self._least, self._boilerplate = least, np.sort(np.array(codes, np.uint32))
        return self._boilerplate

    def _count(self, hashes: Codes, step: int) -> None:
        """Count a note's sentences once more (step 1) or once less (step -1)."""
        counts, often = self._counts, self._often
        for code in {*hashes.tolist()} - {0, QUIET}:
            count = counts.get(code)
            # The table counts up to _FEWEST only; from there on _often has the number.
            before = often[code] if count == _FEWEST else count
            after = before + step
            least = self._least[code & KINDS]
            if (before >= least) != (after >= least):
                self._boilerplate = None
            if after >= _FEWEST:
                often[code] = after
            elif before >= _FEWEST:
                del often[code]
            if min(after, _FEWEST) != count:
                counts.set(code, min(after, _FEWEST))
