"""Sentences that many notes share word by word: templates, signatures, legal lines. They carry no weight.

Counts are kept in a table of hashes without their sentences: two may fall together, so a count is at least the true
one; the table is large enough that few do.
"""

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.engine.arrays import Growing, Longs, Rows, distinct

Codes = NDArray[np.uint32]
Sizes = NDArray[np.uint16]
_PLACES_A_NOTE = 4
_LEAST_PLACES = 4096
# A sentence is boilerplate when at least so many notes have it, and at least this share of all.
LEAST_NOTES = 5
LEAST_SHARE = 0.005


class Repeats:
    """How many notes have each sentence. Rows beside the notes of the index, in the same order."""

    def __init__(self) -> None:
        self.hashes = Rows(np.uint32)
        # Beside hashes.values: how many occurrences of terms the sentence is long.
        self.sizes = Growing(np.uint16)
        self._counts = np.zeros(_LEAST_PLACES, np.int32)
        self._removed: set[int] = set()

    @property
    def nbytes(self) -> int:
        return self.hashes.nbytes + self.sizes.nbytes + int(self._counts.nbytes) + self._removed.__sizeof__()

    def add(self, hashes: Codes, sizes: Sizes) -> None:
        """Append the row of the next note: the hashes of its sentences and how long they are."""
        self._reserve(len(self.hashes) - len(self._removed) + 1)
        self.hashes.append(hashes)
        self.sizes.extend(sizes)
        self._count_one(hashes, 1)

    def load(self, hashes: Codes, lengths: Longs, sizes: Sizes) -> None:
        """As add() for many notes. lengths: how many sentences each has."""
        self._reserve(len(self.hashes) - len(self._removed) + len(lengths))
        self.hashes.load(hashes, lengths)
        self.sizes.extend(sizes)
        self._count_all(hashes, lengths)

    def remove(self, doc: int) -> None:
        """Forget the row of a note."""
        self._count_one(self.hashes[doc], -1)
        self._removed.add(doc)

    def is_boilerplate(self, hashes: NDArray[np.uint32], notes: int) -> NDArray[np.bool_]:
        """Which of the sentences (all long enough to have a hash) are boilerplate among so many notes."""
        least = max(LEAST_NOTES, LEAST_SHARE * notes)
        counts = self._counts[hashes & np.uint32(len(self._counts) - 1)]
        found: NDArray[np.bool_] = (hashes != 0) & (counts >= least)
        return found

    def rows_with_any(self, docs: Longs, notes: int) -> NDArray[np.bool_]:
        """Which of the notes have a boilerplate sentence."""
        places, lengths = self.hashes.places(docs)
        marks = self.is_boilerplate(self.hashes.values.data[places], notes)
        if not marks.any():
            return np.zeros(len(docs), np.bool_)
        found: NDArray[np.bool_] = np.bincount(np.repeat(np.arange(len(docs)), lengths)[marks], minlength=len(docs)) > 0
        return found

    def masked(self, doc: int, notes: int) -> NDArray[np.bool_] | None:
        """For each occurrence of a term in the text of a note: whether it stands in boilerplate. None: nowhere."""
        marks = self.is_boilerplate(self.hashes[doc], notes)
        if not marks.any():
            return None
        return np.repeat(marks, self.sizes.data[self.hashes.span(doc)])

    def _reserve(self, notes: int) -> None:
        """Make room for so many notes, counting again when the table grows."""
        if notes * _PLACES_A_NOTE <= len(self._counts):
            return
        size = len(self._counts)
        while size < notes * _PLACES_A_NOTE:
            size *= 2
        self._counts = np.zeros(size, np.int32)
        if len(self.hashes):
            lengths = self.hashes.lengths()
            hashes = self.hashes.values.view.copy()
            for doc in self._removed:
                hashes[self.hashes.span(doc)] = 0
            self._count_all(hashes, lengths)

    def _count_one(self, hashes: Codes, step: int) -> None:
        """Count a note's sentences; one that it has twice is still in one note."""
        mask = len(self._counts) - 1
        for code in {*hashes.tolist()} - {0}:
            self._counts[code & mask] += step

    def _count_all(self, hashes: Codes, lengths: Longs) -> None:
        """As _count_one() for many notes. lengths: how many hashes each has."""
        owned = np.repeat(np.arange(len(lengths), dtype=np.uint64) << np.uint64(32), lengths) | hashes
        places = distinct(owned[hashes != 0]) & np.uint64(len(self._counts) - 1)
        np.add.at(self._counts, places.view(np.int64), np.int32(1))
