"""The words of one user: a number for each term, and what is counted of it.

Title phrases of several words and tags are terms too: "relational databas" (terms hold no spaces) and "\\x00tag".
"""

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np

from services.similarity_service.model.arrays import Growing, Ints

STOP, TAG, PHRASE = 1, 2, 4
TAG_PREFIX = "\x00"


class _Numbers(dict[str, int]):
    """term -> number; asking for an unknown one makes its number. (Looked up in C unless the term is new.)"""

    __slots__ = ("words",)

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def __missing__(self, word: str) -> int:
        number = len(self.words)
        self[word] = number
        self.words.append(word)
        return number


class Vocabulary:
    """Terms, numbered in the order of their arrival; numbers mean nothing outside of this process."""

    def __init__(self, stop_terms: frozenset[str]) -> None:
        self._numbers = _Numbers()
        self.words = self._numbers.words
        self._stop_terms = stop_terms
        self._forms: dict[int, str] = {}
        # Live notes that have the term; that have it among their salient ones.
        self.df = Growing(np.int32)
        self.salient = Growing(np.int32)
        self.flags = Growing(np.uint8)
        self._registered = 0
        self._object_bytes = 0
        self._sorted: list[str] = []

    def __len__(self) -> int:
        return len(self.words)

    @property
    def nbytes(self) -> int:
        tables = self._numbers.__sizeof__() + self.words.__sizeof__() + self._forms.__sizeof__()
        tables += self._sorted.__sizeof__()
        return tables + self._object_bytes + self.df.nbytes + self.salient.nbytes + self.flags.nbytes

    def number(self, term: str) -> int:
        """-1 if no note ever had it."""
        return self._numbers.get(term, -1)

    def number_all(self, terms: Iterable[str]) -> list[int]:
        """Numbers of terms, new ones made; register() must follow before counts are touched."""
        return list(map(self._numbers.__getitem__, terms))

    def register(self) -> int:
        """Make room for the counts of new terms; returns the first new number."""
        first = self._registered
        size = len(self.words)
        if size > first:
            for array in (self.df, self.salient, self.flags):
                array.reach(size)
            for number in range(first, size):
                word = self.words[number]
                # A str of ASCII takes 49 bytes and its characters, an int 28.
                self._object_bytes += 77 + len(word)
                if word in self._stop_terms:
                    self.flags.data[number] = STOP
                elif word[0] == TAG_PREFIX:
                    self.flags.data[number] = TAG
                elif " " in word:
                    self.flags.data[number] = PHRASE
            self._registered = size
        return first

    def set_form(self, number: int, form: str) -> None:
        """How a new term reads."""
        self._forms[number] = form
        self._object_bytes += 49 + len(form)

    def form(self, number: int) -> str:
        """A term as a person would write it."""
        form = self._forms.get(number)
        if form is not None:
            return form
        word = self.words[number]
        if self.flags.data[number] & PHRASE:
            return " ".join(self.form(self._numbers[part]) for part in word.split(" "))
        return word

    def with_prefix(self, prefix: str, most: int) -> list[int]:
        """Numbers of the terms (no phrases, no tags) that begin so, the most frequent first."""
        words = self.words
        if len(self._sorted) < len(words) * 0.98 - 100:
            self._sorted = sorted(words)
        first = bisect_left(self._sorted, prefix)
        found: dict[int, None] = {}
        for word in self._sorted[first : first + 50_000]:
            if not word.startswith(prefix):
                break
            found[self._numbers[word]] = None
        known = len(self._sorted)
        for number in range(known, len(words)):
            if words[number].startswith(prefix):
                found[number] = None
        numbers = [n for n in found if self.df.data[n] > 0 and not self.flags.data[n] & (TAG | PHRASE)]
        numbers.sort(key=lambda n: (-int(self.df.data[n]), words[n]))
        return numbers[:most]

    def idf(self, numbers: Ints, notes: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        """ln(1 + N / df) of live terms; 0 for stop words, tags and terms that no live note has."""
        df = self.df.data[numbers]
        weights = np.log1p(max(1, notes) / np.maximum(df, 1)).astype(np.float32)
        weights[(df <= 0) | ((self.flags.data[numbers] & (STOP | TAG)) != 0)] = 0
        return weights
