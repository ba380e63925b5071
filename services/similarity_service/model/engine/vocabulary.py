"""The terms of one user: a number for each, and the counts of each.

Title phrases of several words and tags are terms too: "relational databas" (terms hold no spaces) and "\\x00tag".
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.analysis import fold_tag, is_numeric, is_unspaced
from services.similarity_service.model.engine.arrays import Floats, Growing, Ints
from services.similarity_service.model.engine.strings import SparseStrings, Strings

# NUMBER: of digits (analysis.is_numeric()): searched, but of no weight. UNSPACED: of a script without spaces.
STOP, TAG, PHRASE, NUMBER, UNSPACED = 1, 2, 4, 8, 16
# Terms that make no name and have no weight.
WEIGHTLESS = STOP | TAG | NUMBER
TAG_PREFIX = "\x00"
# Weights are computed as if the user had this many more notes without the term: among five notes no term is rare.
OTHERS = 100


class Vocabulary:
    """Terms, numbered in the order in which they were added; numbers have no meaning outside of the index."""

    def __init__(self, stop_terms: frozenset[str]) -> None:
        self._stop_terms = stop_terms
        self._strings = Strings()
        self._forms = SparseStrings()
        # How many live notes have the term, and how many have it among their salient terms.
        self.df = Growing(np.int32)
        self.salient = Growing(np.int32)
        self.flags = Growing(np.uint8)
        # The numbers of the terms, sorted by their words; newer terms are missing until it is sorted again.
        self._sorted: Ints = np.zeros(0, np.int32)
        # Tags folded, and the pairs of characters by each of their characters: of the terms up to a number.
        self._tags: dict[int, str] = {}
        self._pairs: dict[str, list[int]] = {}
        self._surveyed = 0

    def __len__(self) -> int:
        return len(self._strings)

    @property
    def nbytes(self) -> int:
        parts = (self._strings, self._forms, self.df, self.salient, self.flags)
        return sum(part.nbytes for part in parts) + int(self._sorted.nbytes)

    def word(self, number: int) -> str:
        """The term of a number."""
        return self._strings[number]

    def number(self, term: str) -> int:
        """The number of a term; -1 if no note ever had it."""
        return self._strings.number(term)

    def numbers(self, terms: Sequence[str]) -> Ints:
        """The numbers of many terms."""
        return self._strings.numbers(terms)

    def number_all(self, terms: Sequence[str], forms: Sequence[str] = ()) -> Ints:
        """Numbers of terms, new ones made. forms: how each reads, "" for as it is; kept of new ones."""
        numbers = self._strings.numbers(terms)
        missing = np.flatnonzero(numbers < 0).tolist()
        if missing:
            named = []
            for place in missing:
                number = self._strings.number(terms[place])  # it may stand twice among the new ones
                if number < 0:
                    number = self.add(terms[place])
                    if place < len(forms) and forms[place]:
                        named.append((number, forms[place]))
                numbers[place] = number
            if named:
                self._forms.set_all([number for number, _ in named], [form for _, form in named])
        return numbers

    def add(self, term: str) -> int:
        """Number a term that is new."""
        number = self._strings.add(term)
        self._register([term], number)
        return number

    def add_all(self, words: Sequence[str], forms: Mapping[int, str] = MappingProxyType({})) -> int:
        """Number many terms that are new and different; the number of the first, the others follow. forms: by number,
        how terms read, where that is not the term itself."""
        first = len(self._strings)
        self._strings.add_all(words)
        self._register(words, first)
        self._forms.set_all(list(forms), forms.values())
        return first

    def form(self, number: int) -> str:
        """A word (no phrase) as a person would write it."""
        return self._forms.get(number) or self.word(number)

    def with_prefix(self, prefix: str, most: int) -> list[int]:
        """Numbers of the terms (no phrases, no tags) that begin so and that live notes have, most frequent first."""
        if len(self._sorted) < len(self) * 0.98 - 100:
            words = [self.word(number) for number in range(len(self))]
            self._sorted = np.array(sorted(range(len(words)), key=words.__getitem__), np.int32)
        first, end = self._bisect(prefix), self._bisect(prefix + "\U0010ffff")
        late = [n for n in range(len(self._sorted), len(self)) if self.word(n).startswith(prefix)]
        numbers = np.concatenate([self._sorted[first:end], np.array(late, np.int32)])
        good = (self.df.data[numbers] > 0) & ((self.flags.data[numbers] & (TAG | PHRASE)) == 0)
        numbers = numbers[good]
        order = np.argsort(-self.df.data[numbers], kind="stable")
        return list(map(int, numbers[order[:most]]))

    def tagged(self, tag: str) -> list[int]:
        """Numbers of the tags that are the same but for capitals, or lie below it (project, Project/Alpha)."""
        self._survey()
        sought = fold_tag(tag)
        return [n for n, name in self._tags.items() if name == sought or name.startswith(sought + "/")]

    def with_character(self, character: str) -> list[int]:
        """Numbers of the terms with a character of a script without spaces, where terms are pairs of characters."""
        self._survey()
        return self._pairs.get(character, [])

    def _survey(self) -> None:
        flags = self.flags.view
        for number in (np.flatnonzero(flags[self._surveyed :] & (TAG | UNSPACED)) + self._surveyed).tolist():
            word = self.word(number)
            if flags[number] & TAG:
                self._tags[number] = fold_tag(word[1:])
            elif len(word) == 2:
                for character in {*word}:
                    self._pairs.setdefault(character, []).append(number)
        self._surveyed = len(self)

    def idf(self, numbers: NDArray[np.integer], notes: int) -> Floats:
        """ln(1 + (N + OTHERS) / df) of live terms; 0 for stop words, tags, numbers and terms that no live note has."""
        df = self.df.data[numbers]
        weights: Floats = np.log1p((notes + OTHERS) / np.maximum(df, 1)).astype(np.float32)
        weights *= (df > 0) & ((self.flags.data[numbers] & WEIGHTLESS) == 0)
        return weights

    def _bisect(self, word: str) -> int:
        low, high = 0, len(self._sorted)
        while low < high:
            middle = (low + high) // 2
            if self.word(int(self._sorted[middle])) < word:
                low = middle + 1
            else:
                high = middle
        return low

    def _register(self, words: Sequence[str], first: int) -> None:
        """Make room for the counts of new terms, the first of which has this number."""
        size = first + len(words)
        for array in (self.df, self.salient, self.flags):
            array.reach(size)
        stop_terms = self._stop_terms
        for number, word in enumerate(words, first):
            if word in stop_terms:
                self.flags.data[number] = STOP
            elif word[0] == TAG_PREFIX:
                self.flags.data[number] = TAG
            elif " " in word:
                self.flags.data[number] = PHRASE
            elif is_numeric(word):
                self.flags.data[number] = NUMBER
            elif not word.isascii() and is_unspaced(word):
                self.flags.data[number] = UNSPACED
