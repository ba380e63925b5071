"""The parts of a note's text that are not prose: code, formulas, markup, addresses, properties, embedded files.

A quiet part is searched, but is no reason for a link and gives no keyword. So is the value of a property, except that
it may name another note by several words ("author:: Ana Quartz"). A dropped part is not indexed at all: it is written
for programs (tags, encoded images). The scanner reads Markdown, the HTML in it, and the properties of Dataview
and Logseq. It goes through the text once; what does not close where it must is text.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

# The kinds of parts.
LOUD, VALUE, QUIET, DROPPED = range(4)
# A part of the text that is not LOUD: its start, its end and its kind.
Part = tuple[int, int, int]

_HTML_NAMES = """
    a abbr acronym address area article aside audio b base bdi bdo big blockquote body br button canvas caption
    center cite code col colgroup data datalist dd del details dfn dialog div dl dt em embed fieldset figcaption
    figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd
    label legend li link main map mark menu meta meter nav noscript object ol optgroup option output p param path
    picture pre progress q rect rp rt ruby s samp script section select small source span strike strong style sub
    summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr
"""
_HTML = frozenset(_HTML_NAMES.split())
# Elements whose text is code, and those whose text is for programs only.
_CODE_ELEMENTS = frozenset({"code", "pre", "kbd", "samp", "tt", "math"})
_PROGRAM_ELEMENTS = frozenset({"script", "style", "svg"})
_FILE = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|bmp|tiff?|heic|ico|avif|pdf|mp3|m4a|wav|ogg|flac|mp4|mov|mkv|webm|avi|zip|excalidraw"
    r"|canvas)(?:[#?|].*)?$",
    re.IGNORECASE,
)
# What can open a part, in the order in which it is tried at each place: the marks, of which each text with such a part
# has one, and the expression.
_STARTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("```", "~~~"), r"(?P<fence>^[ \t]{0,16}(?:(?:[-*+>]|\d{1,3}[.)])[ \t]+){0,4}(?:`{3,}|~{3,}))"),
    (("`",), r"(?P<ticks>`+)"),
    (("<",), r"(?P<tag></?(?P<name>[A-Za-z][A-Za-z0-9]{0,20})(?=[\s/>])|<!--)"),
    (("&",), r"(?P<entity>&(?:[A-Za-z][A-Za-z0-9]{1,31}|\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6});)"),
    (("$", "\\"), r"(?P<math>\$\$?|\\[(\[]|\\begin\{)|(?P<escape>\\.)"),
    (("![", "[["), r"(?P<image>!\[(?!\[))|(?P<embed>!?\[\[)"),
    (("](", "]:"), r"(?P<target>\]\()|(?P<definition>^[ ]{0,3}\[[^\[\]\n]{1,200}\]:[ \t])"),
    (("://", "www."), r"(?P<url>\b(?:(?:https?|ftps?|file|obsidian|mailto)://|www\.)(?=[^\s<>]))"),
    (("data:",), r"(?P<data>\bdata:(?=[\w.+-]{1,64}/[\w.+-]{1,64}[;,]))"),
    (
        ("::",),
        r"(?P<property>^[ \t]{0,16}(?:[-*+][ \t]+)?[^\W\d_][\w -]{0,60}::(?=\s|$))"
        r"|(?P<inline>[\[(](?=[^\W\d_][\w -]{0,60}::[ \t]))",
    ),
    (("\n:", " :", "\t:"), r"(?P<drawer>^[ \t]{0,16}:[A-Za-z_]{1,40}:(?=\s|$))"),
    (("\n    ", "\n\t"), r"(?P<indented>(?:(?<=\n)|\A)(?:[ \t]*\n|\A)(?=(?:[ ]{4}|\t)[ \t]*\S))"),
)
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(?:.*\n){0,400}?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_FENCE_END = re.compile(r"^[ \t>]*(`{3,}|~{3,})[ \t]*$", re.MULTILINE)
_TICKS = re.compile(r"`+")
_URL = re.compile(r"[^\s<>\"'\])}]+")
_DATA = re.compile(r"[^\s()<>\"'\]]*")
# What follows "](": an address, and perhaps a title, in which parentheses are closed.
_ADDRESS = re.compile(r"(?:[^()\n]++|\([^()\n]*+\))*+\)")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")
# What no name of a note has: code, formulas, addresses, tags, encoded data.
_NO_NAME = re.compile(r"[`<$\\]|://|www\.|data:")
# Most characters of a formula in a line of text.
_FORMULA = 400
_BLOCK = 20_000


def segments(text: str) -> Iterator[tuple[str, int]]:
    """The text without its dropped parts, in pieces, each with its kind: LOUD, VALUE or QUIET."""
    at = 0
    for start, end, kind in _parts(text):
        if start > at:
            yield text[at:start], LOUD
        if kind != DROPPED:
            yield text[start:end], kind
        at = end
    if at < len(text):
        yield text[at:], LOUD


def _parts(text: str) -> Iterator[Part]:
    at = 0
    if text.startswith(("---", "\ufeff---")) and (front := _FRONT_MATTER.match(text)):
        at = front.end()
        yield 0, at, QUIET
    # The first line, too, may begin with what stands at the beginning of a line.
    lines = f"\n{text}"
    possible = tuple([any(mark in lines for mark in marks) for marks, _ in _STARTS])
    if not any(possible):
        return
    start, scanner = _start(possible), _Scanner(text)
    while match := start.search(text, at):
        part = scanner.part(match)
        if part is None:
            at = max(match.end(), at + 1)
        else:
            yield part
            if scanner.next:
                part, scanner.next = scanner.next, None
                yield part
            at = max(part[1], at + 1)


@lru_cache(maxsize=512)
def _start(possible: tuple[bool, ...]) -> re.Pattern[str]:
    """What can open a part in a text with the marks of some of _STARTS. Each alternative takes time at each place."""
    found = [expression for here, (_, expression) in zip(possible, _STARTS, strict=True) if here]
    return re.compile("|".join(found), re.MULTILINE)


class _Scanner:
    """Finds where the parts of one text end. A closing mark that is missing is looked for once only."""

    def __init__(self, text: str) -> None:
        self._text = text
        # Closing marks of which there is none after a place.
        self._missing: dict[str, int] = {}
        # A part that follows the one that was found last.
        self.next: Part | None = None
        self._ticks: dict[int, list[int]] | None = None
        self._lower: str | None = None

    def part(self, match: re.Match[str]) -> Part | None:
        """The part that a mark opens, None when it opens none."""
        kind = match.lastgroup if match.lastgroup != "name" else "tag"
        start, end = match.span()
        if kind == "fence":
            return start, self._fence(match), QUIET
        if kind == "ticks":
            return self._code(start, end - start)
        if kind == "tag":
            return self._tag(start, match)
        if kind == "entity":
            return start, end, DROPPED
        if kind == "math":
            return self._math(start, match.group())
        if kind == "image":
            return self._image(start, end)
        if kind in ("embed", "inline"):
            return self._bracketed(start, end, kind)
        if kind == "target":
            close = self._target(end)
            return None if close < 0 else (start + 1, close, QUIET)
        if kind == "url":
            found = _URL.match(self._text, start)
            return (start, found.end() if found else end, QUIET)
        if kind == "data":
            found = _DATA.match(self._text, start)
            return start, found.end() if found else end, DROPPED
        if kind == "property":
            return self._property(start, end, self._line_end(end))
        if kind in ("definition", "drawer"):
            return start, self._line_end(end), QUIET
        if kind == "indented":
            return self._indented(end)
        return None

    def _find(self, mark: str, at: int, limit: int | None = None) -> int:
        """The place of a closing mark, -1 if there is none (within so many characters)."""
        if self._missing.get(mark, len(self._text) + 1) <= at:
            return -1
        found = self._text.find(mark, at, len(self._text) if limit is None else at + limit)
        if found < 0 and limit is None:
            self._missing[mark] = at
        return found

    def _line_end(self, at: int) -> int:
        found = self._text.find("\n", at)
        return len(self._text) if found < 0 else found

    def _fence(self, match: re.Match[str]) -> int:
        """The end of a fenced block: its closing fence, at least as long as the opening one, or the end of the text."""
        mark = match.group().lstrip(" \t>-*+.)0123456789")
        line = self._line_end(match.end())
        for close in _FENCE_END.finditer(self._text, line):
            if close[1][0] == mark[0] and len(close[1]) >= len(mark):
                return close.end()
        return len(self._text)

    def _code(self, start: int, length: int) -> Part | None:
        """Code in a line: it ends at the next run of as many ticks in the same paragraph."""
        if self._ticks is None:
            self._ticks = {}
            for run in reversed(list(_TICKS.finditer(self._text))):
                self._ticks.setdefault(run.end() - run.start(), []).append(run.start())
        runs = self._ticks.get(length, [])
        while runs and runs[-1] <= start:
            runs.pop()
        if not runs or runs[-1] - start > _BLOCK or _BLANK_LINE.search(self._text, start, runs[-1]):
            return None
        return start, runs[-1] + length, QUIET

    def _tag(self, start: int, match: re.Match[str]) -> Part | None:
        if match.group() == "<!--":
            close = self._find("-->", match.end())
            return None if close < 0 else (start, close + 3, DROPPED)
        name = match["name"].lower()
        if name not in _HTML and name not in _CODE_ELEMENTS:
            return None
        open_end = self._text.find(">", match.end(), match.end() + _BLOCK)
        data = "data:" in self._text[match.end() : match.end() + 200]
        if open_end < 0 and data:
            open_end = self._find(">", match.end())
        between = self._text.find("<", match.end(), open_end)
        if open_end < 0 or between >= 0:
            return None
        element = name in _CODE_ELEMENTS or name in _PROGRAM_ELEMENTS
        if element and self._text[start + 1] != "/" and self._text[open_end - 1] != "/":
            if self._lower is None:
                # Folding must not move the places of what follows.
                folded = self._text.lower()
                self._lower = folded if len(folded) == len(self._text) else self._text
            mark = f"</{name}"
            if self._missing.get(mark, len(self._text) + 1) > open_end:
                close = self._lower.find(mark, open_end)
                if close >= 0 and name in _PROGRAM_ELEMENTS:
                    return start, close, DROPPED
                if close >= 0:
                    self.next = open_end + 1, close, QUIET
                    return start, open_end + 1, DROPPED
                self._missing[mark] = open_end
        return start, open_end + 1, DROPPED

    def _math(self, start: int, mark: str) -> Part | None:
        text, after = self._text, start + len(mark)
        if mark == "\\begin{":
            name_end = text.find("}", after, after + 40)
            if name_end < 0:
                return None
            close = self._find("\\end{" + text[after : name_end + 1], name_end)
            return None if close < 0 else (start, close + name_end - after + 6, QUIET)
        if mark != "$":
            closing = {"$$": "$$", "\\(": "\\)", "\\[": "\\]"}[mark]
            close = self._find(closing, after)
            return None if close < 0 or close - after > _BLOCK else (start, close + 2, QUIET)
        # One dollar: no space inside of either, and no digit after the second, or it is money.
        if start and (text[start - 1].isalnum() or text[start - 1] == "$"):
            return None
        if after >= len(text) or text[after].isspace():
            return None
        line = min(self._line_end(after), after + _FORMULA)
        close = text.find("$", after, line)
        if close < 0 or text[close - 1].isspace() or text[close + 1 : close + 2].isdigit():
            return None
        return start, close + 1, QUIET

    def _target(self, after: int) -> int:
        """The end of a link's address that begins after "](", with its title; -1 if it has none."""
        found = _DATA.match(self._text, after) if self._text.startswith("data:", after) else None
        close = _ADDRESS.match(self._text, found.end() if found else after)
        return close.end() if close else -1

    def _image(self, start: int, after: int) -> Part | None:
        text = self._text
        close = text.find("](", after, after + 1_000)
        if close < 0 or text.find("\n", after, close) >= 0 or text.find("![", after, close) >= 0:
            return None
        end = self._target(close + 2)
        if end < 0:
            return None
        return start, end, DROPPED if text.startswith("data:", close + 2) else QUIET

    def _bracketed(self, start: int, after: int, kind: str) -> Part | None:
        """[[image.png]], which is quiet when it names a file, or [property:: value]."""
        text = self._text
        line = min(self._line_end(after), after + 1_000)
        if kind == "inline":
            close = text.find("]" if text[start] == "[" else ")", after, line)
            if close < 0:
                return None
            return self._property(start, text.find("::", after) + 2, close + 1)
        close = text.find("]]", after, line)
        if close < 0 or not _FILE.search(text[after:close].split("|", 1)[0]):
            return None
        return start, close + 2, QUIET

    def _property(self, start: int, value: int, end: int) -> Part:
        """The name of a property; its value, which begins at `value`, becomes the next part."""
        if value >= end or _NO_NAME.search(self._text, value, end):
            return start, end, QUIET
        self.next = value, end, VALUE
        return start, value, QUIET

    def _indented(self, after: int) -> Part | None:
        """A block that is indented by four spaces after a blank line, and does not continue a list."""
        text = self._text
        before = text[max(0, after - _BLOCK // 10) : after].rstrip()
        last = before.rsplit("\n", 1)[-1]
        if last and (_LIST_ITEM.match(last) or last[0] in " \t"):
            return None
        at = after
        while at < len(text):
            end = self._line_end(at)
            line = text[at:end]
            if line.strip() and not line.startswith(("    ", "\t")):
                break
            at = min(len(text), end + 1)
        return (after, at, QUIET) if at > after else None
