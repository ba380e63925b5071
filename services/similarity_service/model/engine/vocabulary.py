"""The terms of one user: a number for each, and the counts of each.

Title phrases of several words and tags are terms too: "relational databas" (terms hold no spaces) and "\\x00tag".
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.analysis import Analyser, fold_tag, is_numeric, is_particle, is_unspaced
from services.similarity_service.model.engine.arrays import Floats, Growing, Ints
from services.similarity_service.model.engine.forward import Variants
from services.similarity_service.model.engine.strings import SparseStrings, Strings
from services.similarity_service.model.variants import ANY, VARIANTS

# NUMBER: of digits (analysis.is_numeric()): searched, but of no weight. UNSPACED: of a script without spaces.
# PLAIN: the term is a word that some note has.
# PARTICLE: of no weight, but part of names (analysis.is_particle()).
STOP, TAG, PHRASE, NUMBER, UNSPACED, PLAIN, PARTICLE = 1, 2, 4, 8, 16, 32, 64
# Terms that make no name and have no weight.
WEIGHTLESS = STOP | TAG | NUMBER
TAG_PREFIX = "\x00"
# Weights are computed as if the user had this many more notes without the term: among five notes no term is rare.
OTHERS = 100


class Vocabulary:
    """Terms, numbered in the order in which they were added; numbers have no meaning outside of the index."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self._strings = Strings()
        # How each variant of a term reads, by number << 4 | bit (variants.py), where that is not the term itself.
        self._forms = SparseStrings()
        # The variants of each term that have a form.
        self._formed = Growing(np.uint16)
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
        parts = (self._strings, self._forms, self._formed, self.df, self.salient, self.flags)
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

    def number_all(self, terms: Sequence[str]) -> Ints:
        """Numbers of terms, new ones made."""
        numbers = self._strings.numbers(terms)
        missing = np.flatnonzero(numbers < 0).tolist()
        if missing:
            first = len(self)
            new: dict[str, int] = {}
            numbers[missing] = [new.setdefault(terms[place], first + len(new)) for place in missing]
            if len(new) == 1:
                self.add(terms[missing[0]])
            else:
                self.add_all(list(new))
        return numbers

    def number_notes(
        self, terms: Sequence[Sequence[str]], forms: Sequence[Sequence[str]], variants: Sequence[Variants]
    ) -> list[Ints]:
        """number_all() of the terms of each of some notes.

        forms: how the first ones of them read in their note, "" for as the term itself. variants: the words of each
        that occur in the note (variants.py), 0 where that is not known.
        """
        numbers = self.number_all([term for each in terms for term in each])
        ends = np.cumsum([len(each) for each in terms]).tolist()
        found = [numbers[end - len(each) : end] for end, each in zip(ends, terms, strict=True)]
        for each in zip(found, terms, forms, variants, strict=True):
            self._read_note(*each)
        return found

    def _read_note(self, numbers: Ints, terms: Sequence[str], forms: Sequence[str], variants: Variants) -> None:
        """Note how the terms of a note read."""
        shown = np.fromiter(map(bool, forms), np.bool_, len(forms))
        self.flags.data[numbers[: len(forms)][~shown]] |= PLAIN
        places = np.flatnonzero(shown)
        numbers, words = numbers[places], variants[places]
        # A term of which one word occurs reads as this word does.
        several = np.flatnonzero((words & (words - 1) != 0) | (words == 0))
        if len(several):
            variant = self._analyser.variant
            words[several] = [variant((terms[place], forms[place])) for place in places[several].tolist()]
        new = np.flatnonzero(self._formed.data[numbers] & words == 0)
        if len(new):
            found = zip(numbers[new].tolist(), words[new].tolist(), places[new].tolist(), strict=True)
            self._read([(number, word, forms[place]) for number, word, place in found])

    def add(self, term: str) -> int:
        """Number a term that is new."""
        number = self._strings.add(term)
        self._register([term], number)
        return number

    def add_all(
        self, words: Sequence[str], forms: Collection[tuple[int, str]] = (), plain: Collection[int] = ()
    ) -> int:
        """Number many terms that are new and different; the number of the first, the others follow.

        forms: (number, how the term reads) where that is not the term itself. plain: the terms that read as they are.
        """
        first = len(self._strings)
        self._strings.add_all(words)
        self._register(words, first)
        self.flags.data[np.array(plain, np.int64)] |= PLAIN
        variant = self._analyser.variant
        self._read([(number, variant((words[number - first], form)), form) for number, form in forms])
        return first

    def form(self, number: int, variants: int = ANY) -> str:
        """A term (no phrase) as a person would write it. variants: of which words, if it has any of them."""
        word = self.word(number)
        own = self._analyser.variant((word, word)) if self.flags.data[number] & PLAIN else 0
        for bit in range(VARIANTS):
            if variants >> bit & 1:
                if own >> bit & 1:
                    return word
                if form := self._forms.get(number << 4 | bit):
                    return form
        return word if variants == ANY else self.form(number)

    def _read(self, forms: Sequence[tuple[int, int, str]]) -> None:
        """Note how words read: (number of the term, variant, form). Of each the first form is kept."""
        # The same numbers as Python's integers, which are read in a third of the time.
        formed = self._formed.data.data
        new: dict[int, str] = {}
        for number, variant, form in forms:
            if not formed[number] & variant:
                formed[number] |= variant
                new[number << 4 | variant.bit_length() - 1] = form
        self._forms.add_all(new)

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
        """ln(1 + (N + OTHERS) / df) of live terms; 0 for terms that no live note has, WEIGHTLESS ones and particles."""
        df = self.df.data[numbers]
        weights: Floats = np.log1p((notes + OTHERS) / np.maximum(df, 1)).astype(np.float32)
        weights *= (df > 0) & ((self.flags.data[numbers] & (WEIGHTLESS | PARTICLE)) == 0)
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
        for array in (self.df, self.salient, self.flags, self._formed):
            array.reach(size)
        stop_terms = self._analyser.stop_terms
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
                self.flags.data[number] = UNSPACED | (PARTICLE if is_particle(word) else 0)
