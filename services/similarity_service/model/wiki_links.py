"""The wiki links in the text of a note: [[Name]], [[Name|label]], [[Name#part]], and the same with ! in front.

Dendron writes the label first: [[label|name]], and a name may have its vault in front: dendron://vault/name.

What stands in code (fenced, indented, inline, in <pre> and the like, or between #+BEGIN_SRC and #+END_SRC), in
comments (<!-- --> and %% %%) or in formulas ($ and $$) is no link.
The time is linear in the length of the text, whatever it holds.

Library considered: markdown-it-py needs about a second for 256 KiB, and this runs for each note that is written.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A name of more characters than this is no title, alias, id or path that a note can have.
LONGEST_NAME = 1024
_LINK = re.compile(r"(?<!\\)(!?)\[\[([^\[\]\n]+)\]\]")
_FENCE = re.compile(r"(?:[ \t]|>|[-*+][ \t]|\d{1,9}[.)][ \t])*(`{3,}|~{3,})([^\n]*)")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])(?:\s|$)")
# What can begin or end something that hides links, and what is escaped.
_MARK = re.compile(
    r"\\.|`+|<!--|-->|%%|\$\$|\$|\n[ \t]*\n|</?(?:pre|script|style|textarea|code)(?=[\s>])"
    r"|\#\+(?:BEGIN|END)_(?:QUERY|SRC|EXAMPLE|COMMENT)\b",
    re.DOTALL | re.IGNORECASE,
)
_ENDS = {"<!--": "-->", "%%": "%%", "$$": "$$"}
_ENDS |= {f"<{name}": f"</{name}" for name in ("pre", "script", "style", "textarea", "code")}
_ENDS |= {f"#+begin_{name}": f"#+end_{name}" for name in ("query", "src", "example", "comment")}
# What a name of Dendron may begin with.
_VAULT = re.compile(r"(?:dendron:)?//[^/\s]+/")
# ![[picture.png]] shows a file; a name with a dot may still be that of a note: ![[v1.2]].
_FILE = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|bmp|avif|pdf|mp[34]|m4a|ogg|wav|flac|mov|webm|mkv|zip|csv|docx?|xlsx?|pptx?|canvas|base"
    r"|excalidraw)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class WikiLink:
    """A link in a text.

    target: what it names, with its part, as written. start, end: the place of the whole link; target_start, target_end:
    that of the target in it. Places are counted in characters of the text.
    """

    target: str
    start: int
    end: int
    target_start: int
    target_end: int


def wiki_links(text: str, *, label_first: bool = False) -> list[WikiLink]:
    """The links in the order of the text. label_first: the text is one of Dendron."""
    if "[[" not in text:
        return []
    found = []
    for match in _LINK.finditer(hide(text)):
        inside = text[match.start(2) : match.end(2)]
        first, bar, second = inside.partition("|")
        start = match.start(2)
        if bar and label_first:
            name, start = second, start + len(first) + 1
        else:
            # In a table the bar is escaped.
            name = first[:-1] if bar and first.endswith("\\") else first
        if label_first and (vault := _VAULT.match(name.lstrip())):
            skipped = len(name) - len(name.lstrip()) + vault.end()
            name, start = name[skipped:], start + skipped
        target = name.strip()
        if not target or target.startswith("#") or len(target) > LONGEST_NAME or _FILE.search(target):
            continue
        start += name.index(target)
        found.append(WikiLink(target, match.start(), match.end(), start, start + len(target)))
    return found


def hide(text: str) -> str:
    """The text with spaces in the place of code, comments and formulas. Its length and its lines stay."""
    pieces: list[str] = []
    at = 0
    for start, end in _hidden(text):
        pieces += (text[at:start], re.sub(r"[^\n]", " ", text[start:end]))
        at = end
    return "".join((*pieces, text[at:]))


def _hidden(text: str) -> Iterator[tuple[int, int]]:
    """The ranges of code blocks, and of what is hidden between them, in order."""
    at = 0
    for start, end in _blocks(text):
        yield from _inline(text, at, start)
        yield start, end
        at = end
    yield from _inline(text, at, len(text))


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """The ranges of fenced and indented code."""
    at = 0
    fence, fenced_from = "", 0
    blank, in_list = True, False
    for line in text.splitlines(keepends=True):
        end = at + len(line)
        if fence:
            closing = _FENCE.match(line)
            if closing and closing[1].startswith(fence) and not closing[2].strip():
                yield fenced_from, end
                fence, blank = "", False
        elif (opening := _FENCE.match(line)) and not ("`" in opening[1] and "`" in opening[2]):
            fence, fenced_from = opening[1], at
        elif not line.strip():
            blank = True
        else:
            indented = line.startswith(("    ", "\t"))
            if indented and blank and not in_list:
                # The block goes on in the next line as if a blank line had come before it.
                yield at, end
            else:
                blank = False
                if _LIST_ITEM.match(line):
                    in_list = True
                elif not line.startswith((" ", "\t")):
                    in_list = False
        at = end
    if fence:
        yield fenced_from, len(text)


def _inline(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges of inline code, comments and formulas between two places."""
    marks = [(match.start(), match[0].lower()) for match in _MARK.finditer(text, start, end)]
    # The last place of each mark: a mark that is not closed any more opens nothing. This keeps the time linear.
    last: dict[str, int] = {}
    for number, (_, mark) in enumerate(marks):
        last["\n" if mark.startswith("\n") else mark] = number
    number, no_formula_until = 0, -1
    while number < len(marks):
        place, mark = marks[number]
        closing = mark if mark.startswith("`") or mark == "$" else _ENDS.get(mark, "")
        if mark == "$" and (number < no_formula_until or not _opens_formula(text, place)):
            closing = ""
        closed = -1
        if closing and last.get(closing, -1) > number:
            closed, seen = _closed(text, marks, number, closing)
            if closed < 0 and mark == "$":
                no_formula_until = seen  # a later sign before this place would find no end either
        if closed < 0:
            number += 1
            continue
        yield place, marks[closed][0] + len(marks[closed][1])
        number = closed + 1


def _closed(text: str, marks: list[tuple[int, str]], number: int, closing: str) -> tuple[int, int]:
    """The number of the mark that closes another, or -1; and the number up to which marks were looked at.

    Inline code and formulas end at a blank line at most.
    """
    whole = not closing.startswith("`") and closing != "$"
    for other in range(number + 1, len(marks)):
        place, mark = marks[other]
        if mark == closing and (closing != "$" or not text[place - 1].isspace()):
            return other, other
        if not whole and mark.startswith("\n"):
            return -1, other
    return -1, len(marks)


def _opens_formula(text: str, place: int) -> bool:
    """$x$ is a formula; in "5 $ and 6 $" the sign stands before a space, and in "$5 and $6" before a digit."""
    following = text[place + 1 : place + 2]
    return bool(following) and not following.isspace() and not following.isdigit()
