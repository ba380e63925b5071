"""The part of a text that shows why it was found, and where in it the matches are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.similarity_service.model.analysis import Analyser, normalise

LENGTH = 200
# Looking for the best place in more text than this would cost more than the search.
_MOST_TEXT = 65_536
# For all snippets of a page: half a second at most.
_MOST_TOGETHER = 400_000


@dataclass(frozen=True, slots=True)
class Snippet:
    """text: a part of the note, "…" where it was cut. highlights: (start, end) in characters of text, ascending."""

    text: str
    highlights: tuple[tuple[int, int], ...]


def snippet(
    analyser: Analyser, text: str, matches: Callable[[str], bool], length: int = LENGTH, most: int = _MOST_TEXT
) -> Snippet:
    """The stretch of about `length` characters with the most different matching terms; else the beginning.

    most: only so many characters of the text are looked at.
    """
    text = normalise(text[:most])
    found = [span for span in analyser.spans(text) if matches(span.term)]
    start = _best_start([(span.start, span.end, span.term) for span in found], length)
    start, end = _at_words(text, start, length)
    before, after = "…" if start else "", "…" if end < len(text) else ""
    shown = text[start:end].replace("\n", " ")
    shift = len(before) - start
    highlights: list[tuple[int, int]] = []
    for span in found:
        if span.start >= start and span.end <= end:
            first, last = span.start + shift, span.end + shift
            if highlights and first < highlights[-1][1]:
                highlights[-1] = (highlights[-1][0], max(last, highlights[-1][1]))
            elif not highlights or first >= highlights[-1][1]:
                highlights.append((first, last))
    return Snippet(before + shown + after, tuple(highlights))


def shares(lengths: Sequence[int], most: int = _MOST_TEXT, together: int = _MOST_TOGETHER) -> list[int]:
    """How many characters of each text are looked at, in their order: what a short text leaves, a later one may use."""
    found = []
    for index, length in enumerate(lengths):
        share = min(length, most, together // (len(lengths) - index))
        together -= share
        found.append(share)
    return found


def _best_start(found: list[tuple[int, int, str]], length: int) -> int:
    best, best_worth = 0, 0.0
    first = 0
    # How often each term is in the window, which is found[first : last + 1].
    counts: dict[str, int] = {}
    for last, (_, end, term) in enumerate(found):
        counts[term] = counts.get(term, 0) + 1
        while first <= last and end - found[first][0] > length - 20:
            left = found[first][2]
            counts[left] -= 1
            if not counts[left]:
                del counts[left]
            first += 1
        # Different terms count most, then how often.
        worth = len(counts) + 0.1 * (last + 1 - first)
        if worth > best_worth + 1e-9:
            best, best_worth = found[first][0], worth
    return best


def _at_words(text: str, start: int, length: int) -> tuple[int, int]:
    """A little before the match, and not through the middle of a word."""
    start = max(0, min(start - 40, len(text) - length))
    if start:
        space = text.find(" ", start, start + 40)
        start = space + 1 if space >= 0 else start
    end = min(len(text), start + length)
    if end < len(text):
        space = text.rfind(" ", start, end)
        end = space if space > start + length // 2 else end
    return start, end
