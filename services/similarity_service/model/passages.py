"""The sentences of a text around places in it."""

import re
from dataclasses import dataclass

# A passage has at most so many characters before and after its place.
_AROUND = 150
# The end of a sentence in Latin, Chinese or Japanese text.
_END = re.compile(r"[.!?][\"')\]]*\s+|[\u3002\uff01\uff1f]|\n+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence. start, end: the place in it, in characters. "…" stands where the sentence was cut."""

    text: str
    start: int
    end: int


def passage(text: str, start: int, end: int) -> Passage:
    """The sentence around a place in a text."""
    low, high = max(0, start - _AROUND), min(len(text), end + _AROUND)
    first, last = low, high
    before = after = ""
    ends = [match.end() for match in _END.finditer(text, low, start)]
    if ends:
        first = ends[-1]
    elif low > 0:
        space = text.find(" ", low, start)
        first, before = (space + 1 if space >= 0 else low), "…"
    following = _END.search(text, end, high)
    if following:
        last = following.end()
    elif high < len(text):
        space = text.rfind(" ", end, high)
        last, after = (space if space >= 0 else high), "…"
    first += len(text[first:start]) - len(text[first:start].lstrip())
    shown = text[first:end] + text[end:last].rstrip()
    shift = len(before) - first
    return Passage(before + shown + after, start + shift, end + shift)
