"""A note as the index needs it: its terms in order, its title and aliases, its sentences, and readable forms of words.

Long parts are packed bytes, in the form in which they are stored and loaded.
"""

import posixpath
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from services.similarity_service.model import analysis, markup
from services.similarity_service.model.analysis import Analyser
from services.similarity_service.model.link_index import NO_LINKS, NoteLinks, note_links
from services.similarity_service.model.wiki_links import wiki_links

# A phrase longer than this is a sentence, not a name that other notes would mention. In scripts without spaces a term
# is a pair of characters, so there such terms are counted apart.
LONGEST_TITLE = 6
LONGEST_UNSPACED = 40
# A note of at most NARROW different terms numbers them with one byte each, others with two bytes. Terms beyond WIDE
# cannot occur: see MOST_OCCURRENCES.
NARROW = 255
WIDE = 65_535
# A note is cut after this many words, aliases and forms, so that its memory is bounded.
MOST_OCCURRENCES = 50_000
_MOST_ALIASES = 4
_MOST_FORMS = 4_000
# The kind of a sentence, in the last two bits of its hash: they repeat by chance in different measure.
SENTENCE, SHORT_LINE, HEADING, QUIET = range(4)
KINDS = 3
# Terms of a sentence, and of a short line, that has a hash; shorter ones repeat by chance.
_SHORTEST_SENTENCE = 4
_SHORTEST_LINE = 2
# Most terms of a line in bold, or before a colon, that is taken for a heading.
_LONGEST_LABEL = 4
_LONGEST_SENTENCE = 65_535
_LONGEST_ALIAS = 60
_ACRONYM = re.compile(r"[(\"“]([A-Z][A-Za-z0-9/&-]{1,9})[)\"”]")
_WORDS = re.compile(r"[^\W_]+")
# A term, and how it reads in the text.
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept of a note.

    incarnation, version: which state of the note this is (compared in that order).
    codes: how often each term occurs, one byte each, the title counted twice, 255 = that or more; quiet occurrences
    (markup.py, dates) not counted, so a term that is quiet everywhere has 0.
    sequence: local numbers (places in `terms`) of the title, a separator (the highest number), the text; one byte each
    up to 255 terms, two beyond.
    sentence_hashes, sentence_sizes: of the consecutive pieces of the text, four bytes (0 for short ones, QUIET for
    quiet ones) and two bytes (occurrences of terms) each.
    forms: how each term reads, "" where that is the term itself.
    salient: local numbers of the most telling terms with their weight in (0, 255], best first, as they were when the
    note was indexed.
    links: what the wiki links of the text name.
    variants: the words of each term that occur (variants.py), two bytes each; b"" when they are not known.
    Numbers of several bytes are in the machine's order.
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
    links: NoteLinks = NO_LINKS
    variants: bytes = b""

    @property
    def stamp(self) -> tuple[int, int]:
        """Of two states of a note, the one with the higher stamp is newer."""
        return self.incarnation, self.version

    @property
    def wide(self) -> bool:
        """Whether local numbers take two bytes."""
        return len(self.terms) > NARROW

    @property
    def title_places(self) -> Sequence[int]:
        """The local numbers of the title's terms."""
        numbers = self.numbers() if self.wide else self.sequence
        return numbers[: numbers.index(WIDE if self.wide else NARROW)]

    @property
    def names(self) -> list[tuple[str, ...]]:
        """The terms of the title and of each alias that is short enough to be mentioned."""
        title = tuple([self.terms[n] for n in self.title_places])
        return [title, *self.aliases] if is_short(title) else list(self.aliases)

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
    aliases: Sequence[str] = (),
    path: str = "",
    properties: Sequence[str] = (),
    label_first: bool = False,
    most: int = MOST_OCCURRENCES,
) -> Note:
    """Analyse a note. The time is linear in the length of the text.

    path: of the file that it was imported from. Its name and the properties are searched as quiet text is.
    label_first: its wiki links are those of Dendron.
    most: the text is cut after this many words.
    """
    title_pairs = analyser.pairs(title)
    # The occurrences in quiet parts, which are searched only, and those in values, which also choose the form.
    quiet_pairs = [title_pairs[place] for place in analyser.quiet_places(title_pairs)] * 2
    value_pairs: list[Pair] = []
    text_pairs: list[Pair] = []
    pieces: list[tuple[int, int]] = []
    for parts in _sentences(analysis.normalise(text)):
        pairs, quiet, values = _read(analyser, parts, most - len(text_pairs))
        text_pairs += pairs
        pieces += _pieces(pairs, quiet, values, next((text for text, kind in parts if kind == markup.LOUD), ""))
        quiet_pairs += [pairs[place] for place in quiet]
        value_pairs += [pairs[place] for place in values]
        if len(text_pairs) >= most:
            break
    for value in (*properties, posixpath.splitext(posixpath.basename(path))[0]):
        found = analyser.pairs(analysis.normalise(value))[: most - len(text_pairs)]
        text_pairs += found
        pieces.append((QUIET, len(found)))
        quiet_pairs += found
    occurrences = Counter([*title_pairs, *text_pairs])
    not_quiet, counts, variants = _count(analyser, occurrences, title_pairs, quiet_pairs, value_pairs)
    numbers = {term: number for number, term in enumerate(counts)}
    separator = NARROW if len(numbers) <= NARROW else WIDE
    places = [numbers[term] for term, _ in title_pairs]
    places.append(separator)
    places += [numbers[term] for term, _ in text_pairs]
    joined = _joined(pieces)
    # A form that also stands outside of quiet parts is preferred.
    forms = analysis.surface_forms(
        {pair: (not_quiet[pair] > 0, times) for pair, times in occurrences.items()} if quiet_pairs else occurrences
    )
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
        aliases=_aliases(analyser, title, text, tuple([term for term, _ in title_pairs]), aliases),
        forms=shown if any(shown) else (),
        language=analyser.language,
        links=note_links(wiki_links(text, label_first=label_first), aliases, path),
        variants=array("H", variants.values()).tobytes(),
    )


def is_short(name: Sequence[str]) -> bool:
    """Whether a name of these terms is short enough to be mentioned."""
    if not 0 < len(name) <= LONGEST_UNSPACED:
        return False
    return len(name) <= LONGEST_TITLE or sum(not analysis.is_unspaced(term) for term in name) <= LONGEST_TITLE


def called(title: str) -> list[str]:
    """A title and the names in it: "Foo Bar (FB)" is also Foo Bar and FB."""
    whole = title.rstrip()
    if not whole.endswith((")", "]")):
        return [title]
    start = max(whole.rfind("("), whole.rfind("["))
    name, alias = whole[:start].rstrip(), whole[start + 1 : -1]
    if start < 0 or not name or not 1 <= len(alias) <= _LONGEST_ALIAS or ")" in alias or "]" in alias:
        return [title]
    return [title, name, alias]


def _sentences(text: str) -> Iterator[list[tuple[str, int]]]:
    """The sentences and lines of a text, each as its parts; with each part its kind (markup.py)."""
    parts: list[tuple[str, int]] = []
    for segment, kind in markup.segments(text):
        if kind != markup.LOUD:
            parts.append((segment, kind))
            continue
        first, *others = analysis.sentences(segment)
        if first:
            parts.append((first, markup.LOUD))
        for other in others:
            if parts:
                yield parts
            parts = [(other, markup.LOUD)] if other else []
    if parts:
        yield parts


def _read(
    analyser: Analyser, parts: Sequence[tuple[str, int]], most: int
) -> tuple[list[tuple[str, str]], Set[int], Set[int]]:
    """The terms of a sentence with their forms, at most so many, and the places of quiet ones and of values."""
    if len(parts) == 1 and parts[0][1] == markup.LOUD:
        pairs = analyser.pairs(parts[0][0])[:most]
        return pairs, set(analyser.quiet_places(pairs)), set()
    pairs = []
    places: dict[int, set[int]] = {markup.LOUD: set(), markup.VALUE: set(), markup.QUIET: set()}
    for text, kind in parts:
        start = len(pairs)
        pairs += analyser.pairs(text)
        places[kind].update(range(start, len(pairs)))
    quiet = places[markup.QUIET] | set(analyser.quiet_places(pairs))
    return pairs[:most], quiet, places[markup.VALUE] - quiet


def _count(
    analyser: Analyser,
    occurrences: Mapping[Pair, int],
    title: Sequence[Pair],
    quiet_pairs: Sequence[Pair],
    value_pairs: Sequence[Pair],
) -> tuple[Mapping[Pair, int], dict[str, int], dict[str, int]]:
    """How often each pair stands outside of quiet parts; how often each term counts, and its variants, in the order of
    the first occurrence.

    occurrences: of each pair in title and text. title: its pairs count twice. quiet_pairs: those in quiet parts, which
    add nothing. value_pairs: those in values, which add their variant only.
    """
    not_quiet = Counter(occurrences)
    not_quiet.update(title)
    not_quiet.subtract(quiet_pairs)
    counted = not_quiet
    if value_pairs:
        counted = not_quiet.copy()
        counted.subtract(value_pairs)
    counts: dict[str, int] = {}
    variants: dict[str, int] = {}
    variant = analyser.variant
    for pair, times in not_quiet.items():
        term = pair[0]
        counts[term] = counts.get(term, 0) + counted[pair]
        variants[term] = variants.get(term, 0) | (variant(pair) if times else 0)
    return not_quiet, counts, variants


def _pieces(
    pairs: Sequence[tuple[str, str]], quiet: Set[int], values: Set[int], beginning: str
) -> list[tuple[int, int]]:
    """A sentence as pieces (hash, occurrences of terms); the quiet ones have the hash QUIET, values have none.

    beginning: of its text.
    """
    left_out = quiet | values
    code = _hash([term for place, (term, _) in enumerate(pairs) if place not in left_out], beginning)
    if not quiet and not values:
        return [(code, len(pairs))]
    pieces: list[tuple[int, int]] = []
    for place in range(len(pairs)):
        kind = QUIET if place in quiet else 0 if place in values else code
        if pieces and pieces[-1][0] == kind:
            pieces[-1] = (kind, pieces[-1][1] + 1)
        else:
            pieces.append((kind, 1))
    return pieces


def _hash(terms: Sequence[str], text: str) -> int:
    """A hash of a sentence whose last two bits are its kind; 0 for a short one that may repeat by chance."""
    if not terms:
        return 0
    if _is_heading(text, len(terms)):
        kind = HEADING
    elif len(terms) >= _SHORTEST_SENTENCE:
        kind = SENTENCE
    elif len(terms) >= _SHORTEST_LINE:
        kind = SHORT_LINE
    else:
        return 0
    return zlib.crc32(" ".join(terms).encode()) & ~KINDS | kind or KINDS + 1


def _is_heading(text: str, terms: int) -> bool:
    """Whether a line is a heading of Markdown, in bold as a whole, or a few words before a colon."""
    line = text.strip()
    return (
        (line.startswith("#") and line.lstrip("#").startswith((" ", "\t")))
        or (line.startswith(("**", "__")) and line.endswith(("**", "__", ":")) and terms <= _LONGEST_LABEL)
        or (line.endswith((":", "\uff1a")) and terms <= _LONGEST_LABEL)
    )


def _joined(sentences: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Consecutive pieces without a hash, and consecutive quiet ones, become one piece."""
    joined: list[tuple[int, int]] = []
    for code, length in sentences:
        if code in (0, QUIET) and joined and joined[-1][0] == code and joined[-1][1] + length <= _LONGEST_SENTENCE:
            joined[-1] = (code, joined[-1][1] + length)
        elif length:
            joined.append((code, length) if length <= _LONGEST_SENTENCE else (0, _LONGEST_SENTENCE))
    return joined


def _aliases(
    analyser: Analyser, title: str, text: str, known: tuple[str, ...], given: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """ "Foo Bar (FB)" is also Foo Bar and FB; so is Foo Bar whose text begins with (FB) or "FB".

    given: the aliases that the owner of the note has set; they come first.
    """
    names = called(title)[1:]
    base = names[0] if names else title
    words = _WORDS.findall(base)
    if len(words) >= 2:
        names += [match[1] for match in _ACRONYM.finditer(text[:200]) if _abbreviates(match[1], words)]
    found = dict.fromkeys(tuple(analyser.terms(name)) for name in (*given, *names))
    most = len(given) + _MOST_ALIASES
    return tuple(alias for alias in found if is_short(alias) and alias != known)[:most]


def _abbreviates(acronym: str, words: Sequence[str]) -> bool:
    """Whether each capital begins a word of the name, in order, and the first begins the first."""
    letters = [letter.lower() for letter in acronym if letter.isupper()]
    initials = [word[0].lower() for word in words]
    if len(letters) < 2 or len(letters) > len(initials) or letters[0] != initials[0]:
        return False
    rest = iter(initials)
    return all(letter in rest for letter in letters)
