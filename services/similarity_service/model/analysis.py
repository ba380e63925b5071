"""Turns text into index terms: it decides what counts as a word, and which words are the same word.

The text itself is cut (so that offsets into it stay true for highlights), then each piece is turned into one or more
terms: case-folded, compatibility forms unified (NFKC), stemmed by the user's language, accents dropped. Chinese,
Japanese, Korean and Thai become bigrams. Names that ordinary tokenisers destroy stay whole: C, R, C++, C#, .NET,
TCP/IP, Node.js, snake_case, camelCase, URLs, #hashtags, emoji; their parts are terms as well, so both ways of asking
find them. Days and months are parts of a date (2024, 202405, 20240501), whatever separates them in the text.

Every expression is linear in the text. VERSION goes into every stored record: raise it with each change of what is
analysed; a record of an older version is read, and made again by ReindexUser.
"""

import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import snowballstemmer

from services.similarity_service.model.calendar_words import words_beside_numbers
from services.similarity_service.model.checkpoint import EVERY, checkpoint
from services.similarity_service.model.stopwords import STOPWORDS
from services.similarity_service.model.variants import variant_of

VERSION = 3
DEFAULT_LANGUAGE = "english"
# Languages whose own words are pairs of characters; words in other scripts among them are analysed as English.
_UNSPACED_LANGUAGES = frozenset({"chinese", "japanese", "korean", "thai"})
LANGUAGES = frozenset({*snowballstemmer.algorithms(), *_UNSPACED_LANGUAGES, "none"})
# Terms longer than this are encoded data, not words.
LONGEST_TERM = 64
# A longer run of letters, digits and joints is no name of parts either.
_LONGEST_TOKEN = 256
_ADDRESSES = ("http://", "https://", "www.")
_CACHED_TOKENS = 200_000
# Characters of a text above which its tokens are found one by one.
_LONG_TEXT = 4_096


def _ranges(wanted: Iterable[int]) -> str:
    """Code points as the inside of a regular expression's character class."""
    parts: list[str] = []
    start = last = -2
    for point in [*sorted(wanted), sys.maxunicode + 2]:
        if point != last + 1:
            if start >= 0:
                parts.append(f"\\U{start:08x}-\\U{last:08x}")
            start = point
        last = point
    return "".join(parts)


# Python's \w leaves out combining marks, without which Hindi or decomposed accents fall to pieces.
_MARKS = _ranges(p for p in range(0x300, 0x10000) if unicodedata.category(chr(p)) in ("Mn", "Mc"))
_UNSPACED = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    "\uac00-\ud7a3\u3005\u3007"
)
_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff"
# Marks that normalisation sorts, as characters of all planes.
_SORTED_MARKS = _ranges(p for p in range(0x300, 0x20000) if unicodedata.combining(chr(p)))
_MARK_RUN = re.compile(f"([{_SORTED_MARKS}]{{30}})[{_SORTED_MARKS}]++")
_L = rf"[^\W_{_MARKS}]"  # a letter or digit
_W = rf"(?:{_L}++[{_MARKS}]*+)"  # letters with the marks of the last one
# Each alternative takes time in proportion to what it reads, and no text is read more than a few times: an address may
# begin only where its run of characters does, and a possessive quantifier (++) gives nothing back to try again.
_PLAIN_TOKENS = rf"""
    (?<![\w.)\]])\.[A-Z][A-Za-z]+
    | {_W}++(?:['\u2019./&_+-]++{_W}++)*+_*+
    | [{_EMOJI}](?:[\ufe0f\U0001f3fb-\U0001f3ff]|\u200d[{_EMOJI}])*+
    """
_TOKEN = re.compile(
    rf"""(?:https?://|www\.)[^\s<>"'\])}}]+
    | (?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++
    | (?<![\w&])[#@](?=[^\W\d]){_W}++(?:[_-]?{_W}++)*+
    | (?<![^\W_])[A-Za-z][A-Za-z0-9]*+(?:\+\+|\#)(?![\w#+])
    | {_PLAIN_TOKENS}""",
    re.VERBOSE,
)
# The same for a text without any of these marks, in a third of the time.
_MARKS_OF_NAMES = ("@", "#", "++", *_ADDRESSES)
_PLAIN_TOKEN = re.compile(_PLAIN_TOKENS, re.VERBOSE)
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# Chinese and Japanese particles that are rarely part of a word.
_PARTICLE = re.compile("[的了着吗呢吧啊嘛么を]")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CODE_NAME = re.compile(r"[a-z]+(?:[A-Z][a-z0-9]*)+|(?:[A-Z]+[a-z0-9]+){3,}")
_PLURAL_ACRONYM = re.compile(r"[A-Z]{2,}s")
# A term that is a number, with a unit or not, a week, a quarter, or a hash.
_NUMERIC = re.compile(
    r"[\d.,:/-]*\d[\d.,:/-]*(?:st|nd|rd|th|er|px|r?em|pt|[kcm]m|[km]g|ml|ms|min|hrs?|[ap]m|[kmgt]b|usd|eur|[xh]\d*)?"
    r"|\d{4}w\d{1,2}|(?:\d{4})?q[1-4]|0x[0-9a-f]+|(?=(?:[a-f]*\d){3})[0-9a-f]{12,}"
)
_DATE = re.compile(r"(\d{4})([-/.])(0?[1-9]|1[0-2])(?:\2(0?[1-9]|[12]\d|3[01]))?(?:[Tt]\d{1,2})?")
_DAY_FIRST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_MEASURE = re.compile(r"(\d+)((?!st|nd|rd|th)[^\W\d_]{1,4})")
# Letters that have no decomposition, but that people type as others.
_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "\u0131": "i", "đ": "d", "ð": "d", "þ": "th", "ħ": "h"}
)
_VARIANTS = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_SENTENCE_END = re.compile(r"\n+|(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


@dataclass(frozen=True, slots=True)
class Span:
    """One term and the characters of the text that it came from; compounds give several terms at one place."""

    term: str
    start: int
    end: int


class _Stemmer(threading.local):
    """The stemmer of a thread. Its __init__ runs once in each thread that uses it."""

    def __init__(self, language: str) -> None:
        self.stem: Callable[[str], str] = (
            snowballstemmer.stemmer(language).stemWord if language != "none" else lambda word: word
        )


class Analyser:
    """Analyses text of one language.

    Threads may share it: its cache is a dict of single operations, and each thread has a stemmer of its own, since a
    stemmer keeps the word that it works on.
    """

    def __init__(self, language: str = "english") -> None:
        if language not in LANGUAGES:
            raise ValueError(f"no stemmer for {language!r}")
        self.language = language
        # Whose words are stemmed.
        self.stemmed = "english" if language in _UNSPACED_LANGUAGES else language
        self.stopwords = STOPWORDS.get(self.stemmed, frozenset())
        self._own = _Stemmer(self.stemmed)
        # The English stemmer knows ASCII only, so "cafés" must lose its accent first; others need theirs for endings.
        self._accents_first = self.stemmed in ("english", "porter", "none")
        self._splits_apostrophes = language in ("french", "italian", "catalan")
        self._known: dict[str, tuple[tuple[str, str], ...]] = {}
        self._variants: dict[tuple[str, str], int] = {}
        self._stems: dict[str, str] = {}
        self.stop_terms = frozenset(term for word in self.stopwords for term, _ in self.resolve(word))
        self._beside_numbers = frozenset(
            term for word in words_beside_numbers(self.stemmed) for term, _ in self.resolve(word)
        )

    def terms(self, text: str) -> list[str]:
        """The terms of a text in their order, repeats included."""
        return [term for term, _ in self.pairs(text)]

    def pairs(self, text: str) -> list[tuple[str, str]]:
        """(term, its form in the text), in their order."""
        known = self._known.get
        found: list[tuple[str, str]] = []
        for count, token in enumerate(_tokens(normalise(text)), 1):
            found += known(token) or self.resolve(token)
            if not count % EVERY:
                checkpoint()
        return found

    def asked_terms(self, text: str) -> list[str]:
        """The terms of a search query: of a date or an address the whole only, since its parts find others, too."""
        found: list[str] = []
        for token in _tokens(normalise(text)):
            pieces = self.resolve(token)
            whole = _DATE.fullmatch(token) or _DAY_FIRST.fullmatch(token) or ("@" in token and token[0] != "@")
            found += [term for term, _ in (pieces[:1] if whole else pieces)]
        return found

    def quiet_places(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """The places of words that are parts of a date or a measure: months, weekdays and units beside a number."""
        beside = self._beside_numbers
        found = [place for place, (term, _) in enumerate(pairs) if term in beside]
        if not found:
            return found
        last = len(pairs) - 1
        return [
            place
            for place in found
            if (place and _dated(pairs[place - 1][0], beside)) or (place < last and _dated(pairs[place + 1][0], beside))
        ]

    def variant(self, pair: tuple[str, str]) -> int:
        """Which of the words of a term a (term, form) pair is, as a set of one (variants.py)."""
        found = self._variants.get(pair)
        if found is None:
            term, form = pair
            word = _fold(form)
            # A term that is not the stem of its form as a word, as "email" of "e-mail", has no other words.
            found = variant_of(self.stemmed, term, word if word.isalpha() and self._stemmed(word) == term else term)
            if len(self._variants) >= _CACHED_TOKENS:
                self._variants.clear()
            self._variants[pair] = found
        return found

    def spans(self, text: str) -> Iterator[Span]:
        """The terms with their offsets into normalise(text)."""
        for count, match in enumerate(_TOKEN.finditer(text), 1):
            if not count % EVERY:
                checkpoint()
            token, start = match.group(), match.start()
            if _HAS_UNSPACED.search(token):
                for run in _UNSPACED_RUN.finditer(token):
                    if _HAS_UNSPACED.match(run.group()):
                        at, word = start + run.start(), run.group()
                        for i in range(max(1, len(word) - 1)):
                            yield Span(_fold(word[i : i + 2]), at + i, at + min(i + 2, len(word)))
                    else:
                        for term, _ in self.resolve(run.group()):
                            yield Span(term, start + run.start(), start + run.end())
            else:
                for term, _ in self.resolve(token):
                    yield Span(term, start, match.end())

    def resolve(self, token: str) -> tuple[tuple[str, str], ...]:
        """The (term, surface form) pairs of one raw token."""
        found = self._known.get(token)
        if found is None:
            if len(token) > _LONGEST_TOKEN and not token.startswith(_ADDRESSES) and not _HAS_UNSPACED.search(token):
                return ()
            if token.isascii() and token.isalpha():
                pieces = self._word(token)
            else:
                # A few letters unfold into words with spaces (U+FDFA); terms never hold any.
                pieces = [("".join(term.split()), form) for term, form in self._pieces(token)]
            found = tuple([(sys.intern(term), form) for term, form in pieces if 0 < len(term) <= LONGEST_TERM])
            if len(self._known) >= _CACHED_TOKENS:
                self._known.clear()
            if len(token) <= LONGEST_TERM:
                self._known[token] = found
        return found

    def _pieces(self, token: str) -> list[tuple[str, str]]:
        first = token[0]
        if first in "#@" and len(token) > 1:
            name = _fold(token)
            return [(name, token), *self._pieces(token[1:])] if first == "#" else self._pieces(token[1:])
        if token.startswith(_ADDRESSES):
            return self._address(token)
        if "@" in token:
            name, _, host = token.partition("@")
            return [(_fold(token), token), *self._compound(name.strip("_.+-")), *self._compound(host.strip("_.-"))]
        if first == "." or token.endswith(("++", "#")):
            return [(_fold(token), token)]
        if _HAS_UNSPACED.search(token):
            return self._unspaced(token)
        if not token[0].isalnum() and token[0] != "_":
            return [(_fold(token), token)]
        return self._compound(token.strip("_"))

    def _address(self, token: str) -> list[tuple[str, str]]:
        rest = token.split("://", 1)[-1].removeprefix("www.").rstrip(".,;:!?")
        host, _, path = rest.partition("/")
        words = [w for w in re.findall(r"[^\W\d_]{3,}", path) if len(w) <= 24]
        return [(_fold(host), host), *(pair for word in words for pair in self._word(word))]

    def _unspaced(self, token: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for run in _UNSPACED_RUN.findall(token):
            if not _HAS_UNSPACED.match(run):
                found += self._compound(run)
            elif len(run) == 1:
                found.append((_fold(run), run))
            else:
                found += [(_fold(run[i : i + 2]), run[i : i + 2]) for i in range(len(run) - 1)]
        return found

    def _compound(self, token: str) -> list[tuple[str, str]]:
        """Pieces of a word that may be joined by / - . & _ + or apostrophes; the loosest joint is cut first."""
        if not token:  # what is left of a token that has only joints beside an @ or beside letters without spaces
            return []
        if token.isalnum():
            return self._word(token)
        if dated := _date(token):
            return dated
        for joint in "/&-_+.":
            if joint in token:
                parts = [part for part in token.split(joint) if part]
                if len(parts) < 2:
                    return self._compound(parts[0]) if parts else []
                pieces = [pair for part in parts for pair in self._compound(part)]
                whole = self._whole(token, parts, joint)
                if whole is None:
                    return pieces
                # Parts of one letter, as the "e" of e-mail, carry no meaning.
                return [whole] if _dense(parts) else [whole, *(pair for pair in pieces if len(pair[1]) > 1)]
        if "'" in token or "\u2019" in token:
            parts = re.split("['\u2019]+", token)
            if self._splits_apostrophes:
                return [pair for part in parts if part for pair in self._word(part)]
            if parts[-1] in ("s", "S") and len(parts) == 2:
                return self._word(parts[0])
            # O'Reilly's reads O'Reilly.
            shown = token[:-2] if parts[-1] in ("s", "S") and token[-2] in "'\u2019" else token
            joined = "".join(parts)
            return [(term, shown if form == joined else form) for term, form in self._word(joined)]
        return self._word(token)

    @staticmethod
    def _whole(token: str, parts: list[str], joint: str) -> tuple[str, str] | None:
        """The compound itself as a term, where it is a name of its own."""
        if joint == ".":
            return (_fold("".join(parts)), token) if all(len(p) == 1 for p in parts) else (_fold(token), token)
        if joint == "-":
            # e-mail = email, T-SQL = TSQL, but object-oriented is two words.
            return (_fold("".join(parts)), token) if any(len(p) <= 2 for p in parts) else None
        if joint == "+":
            return None
        if joint == "_":
            return (_fold(token), token)
        short = all(len(p) <= 6 for p in parts)
        named = any(p.isupper() or p[0].isdigit() for p in parts) or all(len(p) == 1 for p in parts)
        return (_fold(token), token) if short and named else None

    def _word(self, word: str) -> list[tuple[str, str]]:
        if len(word) > LONGEST_TERM:
            return []
        if _PLURAL_ACRONYM.fullmatch(word):
            word = word[:-1]
        folded = unicodedata.normalize("NFKC", word).casefold()
        if folded in self.stopwords:
            # IT, US, WHO in capitals are names.
            stop = (self._stemmed(folded), word)
            return [(word, word), stop] if len(word) > 1 and word.isupper() else [stop]
        found = [(self._stemmed(folded), word)]
        if word[:1].isdigit() and (measure := _MEASURE.fullmatch(word)):
            return [*found, (measure[1], measure[1]), *self._word(measure[2])]
        if len(word) > 3 and _CODE_NAME.fullmatch(word):
            parts = [part for part in _HUMPS.findall(word) if len(part) > 1]
            if len(parts) > 1:
                found += [(self._stemmed(part.casefold()), part) for part in parts]
        return found

    def _stemmed(self, folded: str) -> str:
        found = self._stems.get(folded)
        if found is None:
            found = self._stem(folded)
            if len(self._stems) >= _CACHED_TOKENS:
                self._stems.clear()
            self._stems[folded] = found
        return found

    def _stem(self, folded: str) -> str:
        if folded.isascii():
            return self._own.stem(folded) if len(folded) > 2 and folded.isalpha() else folded
        if self._accents_first:
            return str(self._own.stem(_unaccented(folded)))
        return _unaccented(self._own.stem(folded))


def normalise(text: str) -> str:
    """The form of a text that offsets refer to (NFC): the same characters to a reader.

    No more than 30 marks stand on one letter, as in Unicode's Stream-Safe Text Format: the time of normalisation grows
    with the square of their number.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", _MARK_RUN.sub(r"\1", text))


def _tokens(text: str) -> Iterable[str]:
    """The raw tokens of a text. Those of a long text are found one by one, so that other threads run in between."""
    expression = _TOKEN if any(mark in text for mark in _MARKS_OF_NAMES) else _PLAIN_TOKEN
    if len(text) > _LONG_TEXT:
        return map(re.Match.group, expression.finditer(text))
    return expression.findall(text)


def sentences(text: str) -> list[str]:
    """Lines and sentences, for finding what many notes repeat word by word. The first and the last may be empty: the
    text then begins or ends with a bound."""
    return _SENTENCE_END.split(text)


@lru_cache(maxsize=64)
def analyser(language: str) -> Analyser:
    """The shared analyser of a language (its cache of stems is worth sharing). ValueError for an unknown one."""
    return Analyser(language)


def surface_forms(counts: Mapping[tuple[str, str], Any]) -> dict[str, str]:
    """Term -> the form that a person would expect to read: the most frequent; small letters when both occur.

    counts: how often each (term, form) pair occurs, or what else the pairs are ordered by.
    """
    best: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for term, form in counts:
        # Nearly every term has one form.
        if best.setdefault(term, form) is not form:
            several.setdefault(term, [best[term]]).append(form)
    for term, forms in several.items():
        _, _, form = max((counts[term, each], each.islower(), each) for each in forms)
        small = form.lower()
        best[term] = small if small in forms else form
    return best


def is_numeric(term: str) -> bool:
    """Whether a term is a number, a date, a measure or a hash: a person searches for it, but it links nothing."""
    return _NUMERIC.fullmatch(term) is not None


def is_unspaced(term: str) -> bool:
    """Whether a term is of a script without spaces, where a term is two characters and no word."""
    return _HAS_UNSPACED.match(term) is not None


def is_particle(term: str) -> bool:
    """Whether a term is two characters of which one is a grammatical particle: a pair that is frequent, and no word."""
    return _PARTICLE.search(term) is not None and is_unspaced(term)


def fold_tag(tag: str) -> str:
    """A tag as it is compared: without regard to capitals and accents, and without its #."""
    return _fold(tag).strip("#/ ")


def fold_title(title: str) -> str:
    """A title as it is compared with a whole query: without regard to capitals, accents and spaces."""
    return " ".join(_fold(title).split())


def _dated(term: str, beside: frozenset[str]) -> bool:
    return term[0].isdigit() or term in beside


def _date(token: str) -> list[tuple[str, str]]:
    """A date as day, month and year, each a term; none if it is no date."""
    if not token[0].isdigit():
        return []
    if match := _DATE.fullmatch(token):
        year, _, month, day = match.groups()
        months = (f"{year}{month:0>2}", token[: match.end(3)])
        return (
            [(f"{months[0]}{day:0>2}", token[: match.end(4)]), months, (year, year)] if day else [months, (year, year)]
        )
    if match := _DAY_FIRST.fullmatch(token):
        day, dot, month, year = match.groups()
        if dot == "." and 0 < int(month) <= 12:
            return _date(f"{year}-{month}-{day}") or [(_fold(token), token), (year, year)]
        return [(_fold(token), token), (year, year)]
    return []


def _dense(parts: list[str]) -> bool:
    """Acronyms (U.S.A.) and numbers (3.14, 10.0.0.1): their parts mean nothing alone."""
    return all(len(p) == 1 for p in parts) or all(p.isdigit() for p in parts)


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Emoji of any skin colour are the same word.
    return folded if folded.isascii() else _unaccented(_VARIANTS.sub("", folded))


def _unaccented(text: str) -> str:
    # Only Latin, Greek and Cyrillic accents: the marks of other scripts are letters. й is not и with a hat.
    if text.isascii():
        return text
    kept = text.replace("й", "\0")
    plain = _ACCENTS.sub("", unicodedata.normalize("NFD", kept))
    return unicodedata.normalize("NFC", plain).replace("\0", "й").translate(_LETTERS)
