"""A note as the index needs it: its terms in order, its title and aliases, its sentences, and readable forms of words.

Long parts are packed bytes, in the form in which they are stored and loaded.
"""

import re
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from services.similarity_service.model import analysis
from services.similarity_service.model.analysis import Analyser

# A phrase longer than this is a sentence, not a name that other notes would mention.
LONGEST_TITLE = 6
# A note of at most NARROW different terms numbers them with one byte each, others with two bytes. Terms beyond WIDE
# cannot occur: see _MOST_OCCURRENCES.
NARROW = 255
WIDE = 65_535
# A note is cut after this many words, aliases and forms, so that its memory is bounded.
_MOST_OCCURRENCES = 50_000
_MOST_ALIASES = 4
_MOST_FORMS = 4_000
# Sentences shorter than this repeat by chance.
_SHORTEST_SENTENCE = 4
_LONGEST_SENTENCE = 65_535
_ALIAS_AFTER = re.compile(r"(.+?)\s*[(\[]([^()\[\]]{1,60})[)\]]\s*")
_ACRONYM = re.compile(r"[(\"“]([A-Z][A-Za-z0-9/&-]{1,9})[)\"”]")
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept of a note.

    incarnation, version: which state of the note this is (compared in that order).
    codes: how often each term occurs, one byte each, the title counted twice, 255 = that or more.
    sequence: local numbers (places in `terms`) of the title, a separator (the highest number), the text; one byte each
    up to 255 terms, two beyond. sentence_hashes, sentence_sizes: of the consecutive pieces of the text, four bytes (0
    for short ones) and two bytes (occurrences of terms) each. forms: how each term reads, "" where that is the term
    itself. salient: local numbers of the most telling terms with their weight in (0, 255], best first, as they were
    when the note was indexed. Numbers of several bytes are in the machine's order.
    """

    node_id: str
    version: int
    title: str
    terms: tuple[str, ...]
    codes: bytes
    sequence: bytes
    sentence_hashes: bytes = b""
    sentence_sizes: bytes = b""
    aliases: tuple[tuple[str, ...], ...] = ()
    incarnation: int = 0
    tags: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    salient: tuple[tuple[int, int], ...] = ()
    language: str = "english"
    analysis_version: int = analysis.VERSION

    @property
    def stamp(self) -> tuple[int, int]:
        """Of two states of a note, the one with the higher stamp is newer."""
        return self.incarnation, self.version

    @property
    def wide(self) -> bool:
        """Whether local numbers take two bytes."""
        return len(self.terms) > NARROW

    @property
    def names(self) -> list[tuple[str, ...]]:
        """The terms of the title and of each alias that is short enough to be mentioned."""
        wide = len(self.terms) > NARROW
        numbers = self.numbers() if wide else self.sequence
        length = numbers.index(WIDE if wide else NARROW)
        names = list(self.aliases)
        if 0 < length <= LONGEST_TITLE:
            names.insert(0, tuple([self.terms[n] for n in numbers[:length]]))
        return names

    def numbers(self) -> Sequence[int]:
        """The sequence as integers."""
        return array("H", self.sequence) if self.wide else self.sequence

    def form(self, number: int) -> str:
        """A local term as a person wrote it."""
        return (self.forms[number] if number < len(self.forms) else "") or self.terms[number]


def analyse(
    analyser: Analyser,
    *,
    node_id: str,
    version: int,
    title: str,
    text: str,
    tags: Sequence[str] = (),
    incarnation: int = 0,
) -> Note:
    """Analyse a note. The time is linear in the length of the text."""
    title_pairs = analyser.pairs(title)
    text_pairs: list[tuple[str, str]] = []
    sentences: list[tuple[int, int]] = []
    for sentence in analysis.sentences(analysis.normalise(text)):
        pairs = analyser.pairs(sentence)[: _MOST_OCCURRENCES - len(text_pairs)]
        text_pairs += pairs
        sentences.append((_hash(pairs) if len(pairs) >= _SHORTEST_SENTENCE else 0, len(pairs)))
        if len(text_pairs) >= _MOST_OCCURRENCES:
            break
    counts: dict[str, int] = {}
    for term, _ in title_pairs:
        counts[term] = counts.get(term, 0) + 2
    for term, _ in text_pairs:
        counts[term] = counts.get(term, 0) + 1
    numbers = {term: number for number, term in enumerate(counts)}
    separator = NARROW if len(numbers) <= NARROW else WIDE
    places = [numbers[term] for term, _ in title_pairs]
    places.append(separator)
    places += [numbers[term] for term, _ in text_pairs]
    joined = _joined(sentences)
    forms = analysis.surface_forms([*title_pairs, *text_pairs])
    shown = tuple(["" if forms[term] == term else forms[term] for term in list(counts)[:_MOST_FORMS]])
    return Note(
        node_id=node_id,
        version=version,
        incarnation=incarnation,
        title=title,
        tags=tuple(dict.fromkeys(tags)),
        terms=tuple(counts),
        codes=bytes([min(count, 255) for count in counts.values()]),
        sequence=bytes(places) if separator == NARROW else array("H", places).tobytes(),
        sentence_hashes=array("I", [code for code, _ in joined]).tobytes(),
        sentence_sizes=array("H", [size for _, size in joined]).tobytes(),
        aliases=_aliases(analyser, title, text, tuple([term for term, _ in title_pairs])),
        forms=shown if any(shown) else (),
        language=analyser.language,
    )


def called(title: str) -> list[str]:
    """A title and the names in it: "Foo Bar (FB)" is also Foo Bar and FB."""
    match = _ALIAS_AFTER.fullmatch(title)
    return [title, match[1], match[2]] if match else [title]


def _hash(pairs: Sequence[tuple[str, str]]) -> int:
    return zlib.crc32(" ".join([term for term, _ in pairs]).encode()) or 1


def _joined(sentences: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join neighbouring sentences without a hash."""
    joined: list[tuple[int, int]] = []
    for code, length in sentences:
        if not code and joined and not joined[-1][0] and joined[-1][1] + length <= _LONGEST_SENTENCE:
            joined[-1] = (0, joined[-1][1] + length)
        elif length:
            joined.append((code, length) if length <= _LONGEST_SENTENCE else (0, _LONGEST_SENTENCE))
    return joined


def _aliases(analyser: Analyser, title: str, text: str, known: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """ "Foo Bar (FB)" is also Foo Bar and FB; so is Foo Bar whose text begins with (FB) or "FB"."""
    names = called(title)[1:]
    base = names[0] if names else title
    words = _WORDS.findall(base)
    if len(words) >= 2:
        names += [match[1] for match in _ACRONYM.finditer(text[:200]) if _abbreviates(match[1], words)]
    found = dict.fromkeys(tuple(analyser.terms(name)) for name in names)
    return tuple(alias for alias in found if 0 < len(alias) <= LONGEST_TITLE and alias != known)[:_MOST_ALIASES]


def _abbreviates(acronym: str, words: Sequence[str]) -> bool:
    """Whether each capital begins a word of the name, in order, and the first begins the first."""
    letters = [letter.lower() for letter in acronym if letter.isupper()]
    initials = [word[0].lower() for word in words]
    if len(letters) < 2 or len(letters) > len(initials) or letters[0] != initials[0]:
        return False
    rest = iter(initials)
    return all(letter in rest for letter in letters)
