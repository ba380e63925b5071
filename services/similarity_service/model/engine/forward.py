"""The forward index: for each note its terms, how often each occurs, and the order in which they stand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.engine.arrays import Bytes, Growing, Ints, Longs, Rows
from services.similarity_service.model.note import NARROW, WIDE

Variants = NDArray[np.uint16]


class ForwardIndex:
    """One row for each note, in the order of adding. The row of a removed note stays, and alive is False there."""

    def __init__(self) -> None:
        self.terms = Rows(np.int32)
        # Occurrences of each term, in the same places as terms.values.
        self.codes = Growing(np.uint8, room=64)
        # Which words of each term occur (variants.py), in the same places.
        self.variants = Growing(np.uint16, room=64)
        # Sequences of local numbers of one byte. A note whose numbers take two bytes has an empty row here.
        self.narrow = Rows(np.uint8)
        self._wide: dict[int, NDArray[np.uint16]] = {}
        self.alive = Growing(np.bool_)
        self.live = 0

    @property
    def size(self) -> int:
        """Rows so far, those of removed notes included."""
        return self.alive.size

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        wide = sum(array.nbytes + 112 for array in self._wide.values()) + self._wide.__sizeof__()
        parts = (self.terms, self.codes, self.variants, self.narrow, self.alive)
        return sum(part.nbytes for part in parts) + wide

    def add(self, numbers: Ints, codes: Bytes, variants: Variants, sequence: bytes, *, wide: bool) -> None:
        """Append the row of a note. wide: the numbers in its sequence take two bytes."""
        if wide:
            self._wide[self.size] = np.frombuffer(sequence, np.uint16)
        self.terms.append(numbers)
        self.codes.extend(codes)
        self.variants.extend(variants)
        self.narrow.append(np.frombuffer(b"" if wide else sequence, np.uint8))
        self.alive.append(True)
        self.live += 1

    def remove(self, doc: int) -> None:
        """Mark a note's row as removed."""
        self.alive.data[doc] = False
        self._wide.pop(doc, None)
        self.live -= 1

    def load(self, numbers: Ints, codes: Bytes, variants: Variants, sizes: Longs, sequences: Bytes, lengths: Longs,
             wide: list[int]) -> Longs:  # fmt: skip
        """Append the rows of many notes to an empty forward index.

        sizes: how many terms each note has. lengths: bytes of each note's sequence. wide: the notes whose sequence
        takes two bytes a number.

        Returns how many occurrences of terms each note has.
        """
        self.terms.load(numbers, sizes)
        self.codes.extend(codes)
        self.variants.extend(variants)
        narrow = np.ones(len(lengths), np.bool_)
        narrow[wide] = False
        ends = np.cumsum(lengths)
        for doc in wide:
            row = sequences[ends[doc] - lengths[doc] : ends[doc]]
            self._wide[doc] = row.view("<u2").astype(np.uint16)
        occurrences: Longs = np.where(narrow, lengths, lengths // 2) - 1
        if wide:
            sequences, lengths = sequences[np.repeat(narrow, lengths)], np.where(narrow, lengths, 0)
        self.narrow.load(sequences, lengths)
        self.alive.extend(np.ones(len(lengths), np.bool_))
        self.live = len(lengths)
        return occurrences

    def codes_of(self, doc: int) -> Bytes:
        """How often each of a note's terms occurs."""
        return self.codes.data[self.terms.span(doc)]

    def variants_of(self, doc: int) -> Variants:
        """Which words of each of a note's terms occur."""
        return self.variants.data[self.terms.span(doc)]

    def wide_docs(self) -> list[int]:
        """The notes of more different terms than one byte can number."""
        return list(self._wide)

    def is_wide(self, doc: int) -> bool:
        """Whether the numbers in a note's sequence take two bytes."""
        return doc in self._wide

    def local(self, doc: int) -> NDArray[Any]:
        """A note's sequence as places in its row of terms, of one byte or two bytes each."""
        wide = self._wide.get(doc)
        return self.narrow[doc] if wide is None else wide

    def sequence(self, doc: int) -> Ints:
        """The numbers of a note's terms in their order, -1 between title and text."""
        local = self.local(doc)
        separator = WIDE if self.is_wide(doc) else NARROW
        places: Longs = local.astype(np.int64)
        row = self.terms[doc]
        if not len(row):
            return np.full(len(places), -1, np.int32)
        between = places == separator
        places[between] = 0
        found = row[places]
        found[between] = -1
        return found
