"""How the words that share a term differ: "program", "programs" and "programming" are one term to the likeness of two
notes, but a note that has "programs" mentions the note Program, and not the note Programming.

A note keeps for each of its terms a set of VARIANTS bits: which of the words occur in it. In English the bits are
pairs, one pair for each group of endings; the first bit of a pair is the singular and the second the plural. A word
mentions a name with a word of the same pair. In other languages a bit is a hash of the word, and all words of a term
mention each other.
"""

import zlib

VARIANTS = 16
# Every variant: of a note whose record does not say.
ANY = (1 << VARIANTS) - 1
# The group of a word by the end of its singular. Group 0 has the words whose singular is the term, the last all others.
_ENDINGS = {"ing": 1, "ed": 2, "er": 3, "or": 3, "ion": 4, "al": 5, "ic": 5, "iti": 6, "li": 6}
_OTHERS = 7
_LANGUAGES = ("english", "porter")


def variant_of(language: str, term: str, word: str) -> int:
    """The bit of a word of a term, as a set of one. word: in small letters and without accents."""
    if language not in _LANGUAGES:
        return 1 << (0 if word == term else 1 + zlib.crc32(word.encode()) % (VARIANTS - 1))
    single, plural = _singular(word)
    group = (
        0
        if single == _singular(term)[0]
        else next((_ENDINGS[end] for end in _ENDINGS if single.endswith(end)), _OTHERS)
    )
    return 1 << (2 * group + plural)


def mentioning(language: str, variant: int) -> int:
    """The variants that mention a name with a word of this variant."""
    if language not in _LANGUAGES:
        return ANY
    # Each pair of bits that has a bit.
    even = (variant | variant >> 1) & 0x5555
    return even | even << 1


def _singular(word: str) -> tuple[str, bool]:
    """An English word without the ending of the plural and a final e or y, and whether that ending was there."""
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    single = word[:-1] if plural else word
    if single.endswith("ie"):
        return single[:-1], plural
    if single.endswith("e"):
        return single[:-1], plural
    if single.endswith("y") and len(single) > 2:
        return single[:-1] + "i", plural
    return single, plural
