"""What the text of a note says: its links, its tags and its first heading, read by markdown-it-py.

Rules are added for what note-taking tools have beside CommonMark: [[wiki links]], #tags, %% comments %% and $math$.
Code, comments and math hold no links and no tags. The rest follows CommonMark, with two exceptions for the sake of
links: a table is read as a paragraph, so that a pipe in a wiki link needs no backslash, and so is a block of HTML.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate, zip_longest
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin

# Lists may be nested half as deep; links in what is deeper are not read.
_MAX_NESTING = 100
_MAX_INLINE_NESTING = 20
# A longer paragraph is read in pieces of this many characters, so that the time stays proportional to its length.
_PIECE = 4_096
# A line that is longer is no prose (an image as text, a program's output), and is not read.
_LONGEST_LINE = 65_536
_LONGEST_LINK = 1_000
_LONGEST_TAG = 200
# Regions that begin at the start of a line and may hold blank lines: how they begin and end.
_REGIONS = (
    ("%%", "%%"),
    ("<!--", "-->"),
    ("$$", "$$"),
    # Blocks of Logseq that are code or a query.
    *((f"#+BEGIN_{name}", f"#+END_{name}") for name in ("QUERY", "SRC", "EXAMPLE", "COMMENT")),
)
_RAW_HTML = ("pre", "script", "style", "textarea", "code")
_RAW_OPEN = re.compile(r"<(pre|script|style|textarea)(?=[\s>])", re.IGNORECASE)
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)")
# In Logseq a tag goes on until a space or one of these marks (those of Chinese and Japanese last).
_LOGSEQ_TAG = re.compile(r"[^\s,;:!?'\"#\u3001\u3002\u300a-\u3011\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f]+")
_LOGSEQ_TAG_AFTER = re.compile(r"[^A-Za-z0-9/&\\#%=_.:-]")
_TAG_ENDS = {")": "(", "]": "[", "}": "{", ">": "<"}
# A block of Logseq, by its id.
_UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_BLOCK = re.compile(rf"\(\(({_UUID})\)\)")
_BLOCK_ID = re.compile(rf"[ \t]*(?:[-*+][ \t]+)?id::[ \t]+({_UUID})[ \t]*", re.IGNORECASE)
_USER = re.compile(r"[A-Za-z][\w.-]{0,100}(?<![.-])")
_BRACKET = re.compile(r"[\[\]]")
_EXTERNAL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# The id of a block (^abc) or attributes ({#id .class}) behind a heading.
_HEADING_END = re.compile(r"\s+(?:\^[A-Za-z0-9-]+|\{[#.][^{}]*\})\s*$")
_PROPERTY = re.compile(r"(?:[-*][ \t]+)?([^\s:#`\[\]][^:\n`\[\]]{0,99})::(?:[ \t]+(.*))?$")


@dataclass(frozen=True)
class Found:
    """A link as it is written.

    line: counted from 1 in the text; target: a name or a path, or the id of a block; wiki: how it is written.
    """

    line: int
    target: str
    label: str = ""
    wiki: bool = True
    block: bool = False


@dataclass
class Prose:
    """What was read in a text. heading: the text of a first line that is a heading of level 1, else empty.

    definitions: targets of link definitions by their label, folded. deep: something was nested too deep to be read.
    blocks: the ids of the blocks of a page of Logseq.
    """

    links: list[Found] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    heading: str = ""
    definitions: dict[str, str] = field(default_factory=dict)
    deep: bool = False
    long_lines: list[int] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)


def read(text: str, *, dotted_tags: bool = False, outline: bool = False) -> Prose:
    """Read a text whose lines end with a line feed. Linear in its length.

    dotted_tags: whether a tag may hold dots. outline: the text is one of Logseq, where an indented line is no code,
    whatever stands above it, and a tag may hold most marks (#c++).
    """
    prose = Prose()
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if len(line) > _LONGEST_LINE:
            prose.long_lines.append(number + 1)
            lines[number] = ""
    env: dict[str, Any] = {"regions": _regions(lines), "lines": lines, "dotted": dotted_tags, "outline": outline}
    tokens = (_OUTLINE if outline else _TEXT).parse("\n".join(lines), env)
    first = next((number for number, line in enumerate(lines) if line.strip()), -1)
    for token, following in zip_longest(tokens, tokens[1:]):
        if token.type == "inline":
            _collect(token, prose)
        elif (token.type, token.tag, token.level) == ("heading_open", "h1", 0) and (token.map or [-1])[0] == first:
            prose.heading = _plain(_HEADING_END.sub("", following.content)) if following else ""
    for label, reference in env.get("references", {}).items():
        prose.definitions[label.casefold()] = unquote(reference["href"])
    prose.deep = bool(env.get("deep"))
    prose.tags = list(dict.fromkeys(prose.tags))
    if outline:
        prose.blocks = [found[1].lower() for line in lines if (found := _BLOCK_ID.fullmatch(line))]
    return prose


def read_value(text: str) -> list[Found]:
    """The links in the value of a property."""
    prose = Prose()
    for token in _TEXT.parseInline(text[:_LONGEST_LINE], {"dotted": False}):
        _collect(token, prose)
    return prose.links


def properties(text: str) -> dict[str, str]:
    """The properties of a Logseq page: the lines `name:: value` with which it begins."""
    found: dict[str, str] = {}
    for line in text.lstrip("\n").split("\n", 101)[:100]:
        match = _PROPERTY.match(line.strip()) if len(line) <= _LONGEST_LINE else None
        if match is None:
            break
        found[match[1].strip()] = (match[2] or "").strip()
    return found


def _collect(token: Token, prose: Prose) -> None:
    """Links and tags of a paragraph. The children's places in its text tell their lines."""
    breaks = list(accumulate((len(line) + 1 for line in token.content.split("\n")), initial=0))
    above = token.map[0] if token.map else 0
    raw: list[str] = []
    label: list[str] | None = None
    href = ""
    for child in token.children or ():
        line = above + bisect_right(breaks, child.meta.get("at", 0))
        if child.type == "html_inline":
            _raw_html(child.content, raw)
        elif raw:
            continue
        elif child.type == "wiki_link":
            prose.links.append(Found(line, child.content, child.info))
            if label is not None:
                label.append(child.info or child.content)
        elif child.type == "block":
            prose.links.append(Found(line, child.content, wiki=False, block=True))
        elif child.type == "user":
            # Most people who are named have no note, which need not be mentioned: so it is no wiki link.
            prose.links.append(Found(line, child.content, wiki=False))
        elif child.type == "hashtag":
            prose.tags.append(child.content)
        elif child.type == "link_open":
            href, label = str(child.attrGet("href") or ""), []
        elif child.type == "link_close":
            _markdown_link(line, href, "".join(label or ()), prose)
            label = None
        elif child.type == "image":
            _markdown_link(line, str(child.attrGet("src") or ""), child.content, prose)
        elif label is not None and child.type in ("text", "code_inline"):
            label.append(child.content)
        elif label is not None and child.type in ("softbreak", "hardbreak"):
            label.append(" ")


def _raw_html(content: str, raw: list[str]) -> None:
    tag = _TAG.match(content)
    if tag is None or tag[1].lower() not in _RAW_HTML:
        return
    if content.startswith("</"):
        if raw and raw[-1] == tag[1].lower():
            raw.pop()
    elif not content.endswith("/>") and len(raw) < _MAX_NESTING:
        raw.append(tag[1].lower())


def _markdown_link(line: int, href: str, label: str, prose: Prose) -> None:
    target = unquote(href)
    if target.startswith("[[") and target.endswith("]]"):
        # Logseq and Zettlr: [label]([[page]]).
        prose.links.append(Found(line, target[2:-2].strip(), label.strip()))
    elif block := _BLOCK.fullmatch(target):
        prose.links.append(Found(line, block[1].lower(), label.strip(), wiki=False, block=True))
    elif target.startswith("dendron://"):
        prose.links.append(Found(line, target, label.strip()))
    elif target and not target.startswith(("#", "//")) and not _EXTERNAL.match(target):
        # The path is encoded, so a # or ? that is written as such ends it.
        path = unquote(re.split(r"[#?]", href, maxsplit=1)[0])
        if path.strip():
            prose.links.append(Found(line, path.strip(), label.strip(), wiki=False))


def _plain(text: str) -> str:
    """A heading's text without its marks."""
    words: list[str] = []
    for token in _HEADING.parseInline(text[:_PIECE], {"dotted": False}):
        for child in token.children or ():
            if child.type == "wiki_link":
                words.append(child.info or child.content)
            elif child.type == "hashtag":
                words.append(f"#{child.content}")
            elif child.type in ("text", "code_inline", "image", "math_inline"):
                words.append(child.content)
            elif child.type in ("softbreak", "hardbreak"):
                words.append(" ")
    return "".join(words).strip()


##### Rules of markdown-it


def _wiki_link(state: StateInline, silent: bool) -> bool:
    src, start = state.src, state.pos
    if src.startswith("![[", start):
        begin = start + 3
    elif src.startswith("[[", start):
        begin = start + 2
    else:
        return False
    if src.startswith("[", begin):
        # Of [[[Name]]] the inner part is the link.
        return False
    end = src.find("]]", begin, min(state.posMax, begin + _LONGEST_LINK))
    inner = src[begin:end] if end > 0 else ""
    if not inner.strip() or "[[" in inner or "\n" in inner:
        return False
    if not silent:
        target, _, label = inner.replace("\\|", "|").partition("|")
        token = state.push("wiki_link", "", 0)
        token.content, token.info, token.meta = target.strip(), label.strip(), {"at": start}
    state.pos = end + 2
    return True


def _hashtag(state: StateInline, silent: bool) -> bool:
    src, start = state.src, state.pos
    outline = state.env.get("outline", False)
    if src[start] != "#" or (start and not _before_tag(src[start - 1], outline)):
        return False
    if src.startswith("#[[", start):
        end = src.find("]]", start, min(state.posMax, start + _LONGEST_LINK))
        name = src[start + 3 : end] if end > 0 else ""
        if not name.strip() or "[" in name or "\n" in name:
            return False
        if not silent:
            state.push("hashtag", "", 0).content = name.strip()
            token = state.push("wiki_link", "", 0)
            token.content, token.meta = name.strip(), {"at": start}
        state.pos = end + 2
        return True
    most = min(state.posMax, start + _LONGEST_TAG)
    if outline:
        name = _logseq_tag(src, start + 1, most)
    else:
        end = start + 1
        while end < most and _in_tag(src[end], state.env.get("dotted", False)):
            end += 1
        name = src[start + 1 : end].rstrip("/.")
    if not name or not (outline or any(_is_word(char) for char in name)):
        return False
    if not silent:
        state.push("hashtag", "", 0).content = name
    state.pos = start + 1 + len(name)
    return True


def _before_tag(char: str, outline: bool) -> bool:
    """Whether a tag may begin after a character: in Logseq also after a word in a script without spaces."""
    if outline:
        return bool(_LOGSEQ_TAG_AFTER.match(char))
    return char.isspace() or char in '(*~="|'


def _logseq_tag(src: str, start: int, most: int) -> str:
    """The name of a tag; a closing bracket that it does not open, and a mark of emphasis at its end, are text."""
    found = _LOGSEQ_TAG.match(src, start, most)
    name = found[0] if found else ""
    while name and (name[-1] in "./*~^|" or (name[-1] in _TAG_ENDS and _TAG_ENDS[name[-1]] not in name)):
        name = name[:-1]
    return name if any(map(str.isalnum, name)) or not name.isascii() else ""


def _block(state: StateInline, silent: bool) -> bool:
    """Logseq: ((id)) is a link to a block, and {{embed ((id))}} shows it."""
    found = _BLOCK.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        token = state.push("block", "", 0)
        token.content, token.meta = found[1].lower(), {"at": state.pos}
    state.pos = found.end()
    return True


def _user_tag(state: StateInline, silent: bool) -> bool:
    """Dendron: @name is a link to the note user.name."""
    src, start = state.src, state.pos
    if not state.env.get("dotted") or src[start] != "@" or (start and not src[start - 1].isspace()):
        return False
    found = _USER.match(src, start + 1, state.posMax)
    if found is None:
        return False
    if not silent:
        token = state.push("user", "", 0)
        token.content, token.meta = f"user.{found[0]}", {"at": start}
    state.pos = found.end()
    return True


def _in_tag(char: str, dotted: bool) -> bool:
    return char in "_-/\u200d" or (dotted and char == ".") or char.isalnum() or _is_word(char)


def _is_word(char: str) -> bool:
    """Whether a character makes a tag of what would otherwise be a number."""
    if char.isalpha() or char == "_":
        return True
    # Emoji with their modifiers (a colour of the skin, a frame around a digit), and marks on letters.
    return ord(char) > 127 and unicodedata.category(char) in ("So", "Sk", "Mn", "Mc", "Me")


def _comment(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith("%%", state.pos):
        return False
    end = state.src.find("%%", state.pos + 2, state.posMax)
    if end < 0:
        return False
    state.pos = end + 2
    return True


def _region(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A comment or a formula that goes over lines, or a block of raw HTML: nothing in it is read."""
    if state.level >= _MAX_NESTING - 3:
        state.env["deep"] = True
    if state.is_code_block(start_line):
        return False
    begin, end = state.bMarks[start_line] + state.tShift[start_line], state.eMarks[start_line]
    if state.src[begin : begin + 1] not in ("%", "<", "$", "#"):
        return False
    regions: _Regions = state.env.get("regions") or {}
    for number, (opening, closing) in enumerate(_REGIONS):
        if not state.src.startswith(opening, begin, end):
            continue
        if state.src.find(closing, begin + len(opening), end) >= 0:
            return False
        return _skip_to(state, _next(regions[number], start_line + 1), closing, end_line, silent, start_line)
    if found := _RAW_OPEN.match(state.src, begin, end):
        closing = f"</{found[1].lower()}>"
        if closing in state.src[begin:end].lower():
            return False
        return _skip_to(state, _next(regions[closing], start_line + 1), closing, end_line, silent, start_line)
    return False


_Regions = dict[Any, list[int]]
_BlockRule = Callable[[StateBlock, int, int, bool], bool]


def _regions(lines: list[str]) -> _Regions:
    """The numbers of the lines in which each kind of region can end: found once, so that no line is searched twice."""
    found: _Regions = {
        number: [at for at, line in enumerate(lines) if closing in line] for number, (_, closing) in enumerate(_REGIONS)
    }
    for name in _RAW_HTML[:-1]:
        closing = f"</{name}>"
        found[closing] = [at for at, line in enumerate(lines) if closing in line.lower()]
    return found


def _next(numbers: list[int], at_least: int) -> int:
    place = bisect_left(numbers, at_least)
    return numbers[place] if place < len(numbers) else -1


def _skip_to(state: StateBlock, last: int, closing: str, end_line: int, silent: bool, start_line: int) -> bool:
    if last < 0 or last >= end_line:
        return False
    if silent:
        return True
    line = state.src[state.bMarks[last] : state.eMarks[last]]
    rest = line[line.lower().rfind(closing) + len(closing) :].strip()
    if rest:
        token = state.push("inline", "", 0)
        token.content, token.map, token.children = rest, [last, last + 1], []
    state.line = last + 1
    return True


def _inline_in_pieces(state: StateCore) -> None:
    """Read each paragraph, a long one in pieces that end with a line if possible; children know their place."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        text, start = token.content, 0
        while start < len(text):
            end = len(text) if len(text) - start <= _PIECE else _break(text, start)
            children: list[Token] = []
            _INLINE.inline.parse(text[start:end], _INLINE, state.env, children)
            for child in children:
                if "at" in child.meta:
                    child.meta["at"] += start
            token.children += children
            start = end


def _break(text: str, start: int) -> int:
    """Where a piece of a long paragraph ends: at a white space, and not within brackets if possible."""
    most = start + _PIECE
    for mark in ("\n", " "):
        end = most
        for _ in range(50):
            end = text.rfind(mark, start + _PIECE // 2, end)
            if end < 0:
                break
            if all(text.rfind(one, start, end) <= text.rfind(other, start, end) for one, other in ("[]", "()")):
                return end + 1
    return most


def _bracketed(rule: Callable[[StateInline, bool], bool]) -> Callable[[StateInline, bool], bool]:
    """The rule for links, not tried at a bracket that is never closed: it would read the rest again for each of them.

    The last token that it makes also knows where in the text it begins.
    """

    def bracketed(state: StateInline, silent: bool) -> bool:
        start = state.pos
        opening = start + (state.src[start] == "!")
        if not state.src.startswith("[", opening):
            return False
        if not hasattr(state, "closed"):
            state.closed = _closed(state.src)  # type: ignore[attr-defined]
        if opening not in state.closed or not rule(state, silent):  # type: ignore[attr-defined]
            return False
        if not silent and state.tokens:
            state.tokens[-1].meta["at"] = start
        return True

    return bracketed


def _closed(text: str) -> set[int]:
    """The places of all brackets that are closed again, and nested no deeper than links can be."""
    found: set[int] = set()
    opened: list[int] = []
    for match in _BRACKET.finditer(text):
        if match[0] == "[":
            opened.append(match.start())
        elif opened:
            place = opened.pop()
            if len(opened) < _MAX_INLINE_NESTING:
                found.add(place)
    return found


def _siblings(rule: _BlockRule) -> _BlockRule:
    """The rule for lists of an outline, in which an indented item below another one is its sibling, never its text.

    CommonMark takes an item that is indented by 4 columns more than the outer list for a paragraph that goes on.
    """

    def siblings(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
        indent, state.listIndent = state.listIndent, -1
        try:
            return rule(state, start_line, end_line, silent)
        finally:
            state.listIndent = indent

    return siblings


def _parser(*, nesting: int, disable: Iterable[str]) -> MarkdownIt:
    md = MarkdownIt("commonmark", {"maxNesting": nesting})
    md.use(dollarmath_plugin, allow_labels=False, allow_space=False, allow_digits=False, double_inline=True)
    md.use(footnote_plugin)
    md.disable(["html_block", "math_block", "footnote_tail", "footnote_inline", *disable], ignoreInvalid=True)
    md.block.ruler.before("fence", "region", _region, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    for name, rule in (
        ("comment", _comment), ("wiki_link", _wiki_link), ("hashtag", _hashtag), ("user", _user_tag), ("block", _block),
    ):  # fmt: skip
        md.inline.ruler.before("link", name, rule)
    # A block's id begins with it, where the rule for text would go on.
    md.inline.add_terminator_char("(")
    for name in ("link", "image"):
        found = next(rule for rule in md.inline.ruler.__rules__ if rule.name == name)
        md.inline.ruler.at(name, _bracketed(found.fn))
    return md


_INLINE = _parser(nesting=_MAX_INLINE_NESTING, disable=["emphasis", "entity"])
_TEXT = _parser(nesting=_MAX_NESTING, disable=())
_OUTLINE = _parser(nesting=_MAX_NESTING, disable=["code"])
_list = next(rule for rule in _OUTLINE.block.ruler.__rules__ if rule.name == "list")
_OUTLINE.block.ruler.at("list", _siblings(_list.fn), {"alt": _list.alt})
for _reader in (_TEXT, _OUTLINE):
    _reader.core.ruler.at("inline", _inline_in_pieces)
_HEADING = _parser(nesting=_MAX_INLINE_NESTING, disable=["comment"])
