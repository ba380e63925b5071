"""The part of a text that shows why it was found, and where in it the matches are."""

from collections.abc import Callable
from dataclasses import dataclass

from services.similarity_service.model.analysis import Analyser, normalise

LENGTH = 200
# Looking for the best place in more text than this would cost more than the search.
_MOST_TEXT = 65_536


@dataclass(frozen=True, slots=True)
class Snippet:
    """text: a part of the note, "…" where it was cut. highlights: (start, end) in characters of text, ascending."""

    text: str
    highlights: tuple[tuple[int, int], ...]


def snippet(analyser: Analyser, text: str, matches: Callable[[str], bool], length: int = LENGTH) -> Snippet:
    """The stretch of about `length` characters with the most different matching terms; else the beginning."""
    text = normalise(text[:_MOST_TEXT])
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


def _best_start(found: list[tuple[int, int, str]], length: int) -> int:
    best, best_worth = 0, 0.0
    first = 0
    for last, (_, end, _) in enumerate(found):
        while end - found[first][0] > length - 20:
            first += 1
            if first > last:
                break
        window = found[first : last + 1]
        # Different terms count most, then how often.
        worth = len({term for _, _, term in window}) + 0.1 * len(window)
        if worth > best_worth + 1e-9:
            best, best_worth = window[0][0], worth
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
