"""One Markdown file read as a note: its title, id, time, tags, names, metadata and links.

Nothing in its metadata is a reason to lose it: what does not fit the limits of brain2.node.v1 is cut or left out, what
has no meaning is ignored, and either is mentioned with its line.
"""

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from deploy.local.importer import exported, frontmatter, prose
from deploy.local.importer.dates import ambiguous, when
from deploy.local.importer.exported import Kept
from deploy.local.importer.files import MAX_FILE_BYTES
from deploy.local.importer.frontmatter import FrontMatter, Value
from deploy.local.importer.items import (
    MAX_CONTENT_BYTES,
    MAX_METADATA_BYTES,
    MAX_METADATA_ENTRIES,
    MAX_TAG_BYTES,
    MAX_TAGS,
    MAX_TITLE_BYTES,
    cut,
    has_control,
    one_line,
    stable_id,
)
from deploy.local.importer.prose import Found
from protos.node.v1 import node_pb2

# The entry of the metadata by which the similarity service knows that a note has the wiki links of Dendron.
WIKI_LINKS, LABEL_FIRST = "wiki_links", "label|name"
# Of each property, if not all of them fit as a whole.
_LONGEST_VALUE_BYTES = 1024
_MAX_ALIASES = 64
_MOST_OF_A_NOTE = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Names of properties, without case, spaces and marks; of several the first that can be read counts.
_TIME_NAMES = (
    "date", "created", "createdat", "creationdate", "datecreated", "createddate", "createtime", "creationtime",
    "createdtime", "timecreated", "ctime",
)  # fmt: skip
_TAG_NAMES = ("tags", "tag")
_ALIAS_NAMES = ("aliases", "alias")
_WIKI = re.compile(r"!?\[\[([^\[\]]{1,1000})\]\]")
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|<%.*%>")
# As Zettlr writes it; within [[ ]] it is a link to another note.
_WRITTEN_ID = re.compile(r"(?<![\d\[])\d{14}(?!\d)")
# The marks with which a file may begin, the longer ones first.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
# A text of which a larger part is zero bytes is none.
_MOST_ZEROS = 0.1
_NAMESPACE = re.compile(r"(?<=[^_])___(?=[^_])")


@dataclass
class Dialect:
    """Which tool a folder was written with, as far as links and names depend on it."""

    logseq: bool = False
    dendron: bool = False
    obsidian: bool = False


@dataclass
class Page:
    """A note and what finds it.

    given_id: its own id, as it is written. remarks: (line, text), line 0: the file."""

    path: PurePosixPath
    node: node_pb2.NewNode
    stem: str
    given_id: str = ""
    # The digits of a time that stand in the text as the note's id, where its file's name has none.
    written_id: str = ""
    aliases: list[str] = field(default_factory=list)
    links: list[Found] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    # The ids of its blocks, in Logseq.
    blocks: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)
    remarks: list[tuple[int, str]] = field(default_factory=list)
    # Of an export of Brain2: the links that the property `links` lists, and what the export keeps of the note.
    listed: list[Found] = field(default_factory=list)
    kept: Kept | None = None
    # A note of Dendron has its own kind of front matter: times in milliseconds.
    dendron: bool = False


def read_pages(data: bytes, path: str, file_time: float, now: datetime, dialect: Dialect) -> list[Page]:
    """Read a file: one page, or several if its text is longer than that of a note.

    path: below the folder. file_time: of its last change, in seconds since 1970; now: the latest time a note can have.
    Raises ValueError only if it holds no text, or more bytes than a file can have.
    """
    text, remark = _decode(data)
    front = frontmatter.split(text)
    try:
        kept = exported.read(front.fields, front.body)
    except ValueError as error:
        kept = None
        front.problems.append((1, str(error)))
    if remark:
        front.problems.insert(0, (0, remark))
    content = front.body.lstrip("\n").rstrip() if kept is None else kept.text
    if len(content.encode()) <= MAX_CONTENT_BYTES:
        return [_read_page(front, kept, content, PurePosixPath(path), file_time, now, dialect)]
    if kept is not None:
        raise ValueError(f"an exported note of over {MAX_CONTENT_BYTES // 1024} KiB")
    texts = _parts(front.body.lstrip("\n").rstrip())
    front.problems.insert(
        0, (0, f"over {MAX_CONTENT_BYTES // 1024} KiB: it becomes {len(texts)} notes, each linked to the next")
    )
    pages: list[Page] = []
    line = front.lines + len(front.body) - len(front.body.lstrip("\n"))
    for number, part in enumerate(texts, 1):
        own = replace(front, body=part, lines=line) if number == 1 else FrontMatter(part, lines=line)
        relative = PurePosixPath(path)
        if number > 1:
            relative = relative.with_name(f"{relative.stem} ({number}){relative.suffix}")
        page = _read_page(own, None, part.strip("\n").rstrip(), relative, file_time, now, dialect)
        if pages:
            ending = f" ({number})"
            page.node.title = cut(pages[0].node.title, MAX_TITLE_BYTES - len(ending)) + ending
            page.node.create_time.CopyFrom(pages[0].node.create_time)
        line += part.count("\n")
        pages.append(page)
    return pages


def _parts(text: str) -> list[str]:
    """A text in parts that notes can hold: cut before a heading if possible, else at a line or a space."""
    data, start = text.encode(), 0
    parts: list[str] = []
    while start < len(data):
        part = data[start : start + MAX_CONTENT_BYTES].decode(errors="ignore")
        if len(data) - start > MAX_CONTENT_BYTES:
            places = (part.rfind(mark, len(part) // 2) for mark in ("\n#", "\n\n", "\n", " "))
            part = part[: next((place + 1 for place in places if place > 0), len(part))]
        parts.append(part)
        start += len(part.encode())
    return parts


def _read_page(
    front: FrontMatter,
    kept: Kept | None,
    content: str,
    relative: PurePosixPath,
    file_time: float,
    now: datetime,
    dialect: Dialect,
) -> Page:
    """The page of a text with its properties. content: the text as the note has it."""
    path = relative.as_posix()
    stem = _stem(relative, dialect)
    page = Page(relative, node_pb2.NewNode(content=content), stem, kept=kept)
    page.remarks += front.problems
    # Every tag and, while its text is unchanged, every link of an exported note stands in its properties.
    found = prose.Prose()
    logseq = _is_logseq(relative, dialect)
    if kept is None or kept.changed:
        found = prose.read(front.body, dotted_tags=dialect.dendron, outline=logseq)
    if logseq and kept is None:
        frontmatter.keep_hashes(front)
    fields: dict[str, Value] = dict(front.fields)
    for name, value in (prose.properties(front.body) if kept is None else {}).items():
        # Logseq adds the id of a block when somebody refers to it: it is not the note's.
        if name != "id":
            fields.setdefault(name, value)
    known = {_plain_name(name): name for name in reversed(list(fields))}
    reader = _Reader(page, front, fields, known, logseq=logseq)
    page.node.title = reader.title(found.heading)
    reader.id(path)
    page.aliases = reader.aliases()
    # A note of the service has fewer of them than a page may have; one of invisible characters is no name.
    names = [alias for alias in page.aliases if kept is not None or any(map(str.isalnum, alias))]
    page.node.aliases.extend(names[:_MOST_OF_A_NOTE])
    written_time = reader.time(file_time, now)
    page.tags = reader.tags(found.tags if kept is None else [])
    page.node.tags.extend(reader.within_limits(page.tags))
    page.links = [
        *reader.links(),
        *(replace(link, line=link.line + front.lines) for link in found.links),
    ]
    page.blocks = found.blocks
    page.definitions = found.definitions
    if not re.search(r"\d{14}", stem) and (written := _WRITTEN_ID.search(front.body)):
        page.written_id = written[0]
    if found.deep:
        page.remarks.append((0, "is nested very deep: links in the deepest parts are not read"))
    page.remarks += [
        (front.lines + line, "the line is very long: links in it are not read") for line in found.long_lines
    ]
    page.dendron = {"created", "updated"} <= fields.keys() and all(
        isinstance(fields[name], str) and re.fullmatch(r"\d{13}", str(fields[name])) for name in ("created", "updated")
    )
    reader.metadata(written_time, label_first=dialect.dendron or page.dendron)
    return page


class _Reader:
    """Takes what a note needs out of its properties; what is left becomes metadata."""

    def __init__(
        self, page: Page, front: FrontMatter, fields: dict[str, Value], known: dict[str, str], *, logseq: bool
    ) -> None:
        self._page = page
        self._logseq = logseq
        self._front = front
        self._fields = fields
        self._known = known
        # What an export has written is taken as it stands.
        self._exact = page.kept is not None
        self._used: set[str] = set()

    def _take(self, plain: str) -> Value | None:
        name = self._known.get(plain)
        if name is None:
            return None
        self._used.add(name)
        return self._fields[name]

    def _line(self, plain: str) -> int:
        """The line of a property, 0 where it is not known."""
        name = self._known.get(plain, plain)
        for number, line in enumerate(self._front.raw.split("\n"), 2):
            if line.strip().strip("\"'").startswith(name):
                return number
        return 0

    def _mention(self, plain: str, text: str) -> None:
        self._page.remarks.append((self._line(plain), text))

    def title(self, heading: str) -> str:
        given = self._take("title")
        if self._exact and isinstance(given, str) and self._is_exact(given, MAX_TITLE_BYTES):
            return given
        if given is None and self._page.kept and self._page.kept.untitled and self._page.node.content.strip():
            return ""
        written = _unlinked(given) if isinstance(given, str) else ""
        if given is not None and not isinstance(given, str):
            self._mention("title", "the title is not a text: the file's name is used")
        if _PLACEHOLDER.fullmatch(written):
            # A template's {{title}}, which was never filled in.
            written = ""
        if _PLACEHOLDER.fullmatch(heading):
            heading = ""
        found = one_line(written) or one_line(heading) or one_line(self._page.stem)
        short = cut(found, MAX_TITLE_BYTES).rstrip()
        if short != found:
            self._mention("title", f"the title is over {MAX_TITLE_BYTES} bytes: it is cut")
        return short or "untitled"

    def _is_exact(self, text: str, most_bytes: int) -> bool:
        """Whether a text of an export is one that the service accepts, so that nothing of it has to be changed."""
        return self._exact and not has_control(text) and len(text.encode()) <= most_bytes

    def id(self, path: str) -> None:
        given = self._take("id")
        own = given.strip() if isinstance(given, str) else ""
        if given is not None and not own:
            self._mention("id", "the id is not a text: the note's id comes from its path")
        if len(own.encode()) > 64:
            self._mention("id", "the id is over 64 bytes: the note's id is a short form of it")
        self._page.given_id = own
        self._page.node.node_id = stable_id(own) if own else path_id(path)

    def aliases(self) -> list[str]:
        found: list[str] = []
        for plain in _ALIAS_NAMES:
            value = self._take(plain)
            for text in _texts(value):
                if isinstance(value, list) and self._is_exact(text, MAX_TITLE_BYTES):
                    found.append(text)
                    continue
                parts = _names(text) if isinstance(value, str) else [_unlinked(text)]
                found += [short for part in parts if (short := cut(one_line(part), MAX_TITLE_BYTES).rstrip())]
        if len(found) > _MAX_ALIASES:
            self._mention("aliases", f"more than {_MAX_ALIASES} aliases: the rest is left out")
        title = None if self._exact else self._page.node.title
        return [alias for alias in dict.fromkeys(found) if alias != title][:_MAX_ALIASES]

    def time(self, file_time: float, now: datetime) -> str:
        """Set the note's time; the date as it is written where the note's time is another one or may be."""
        written = ""
        for plain in ("created", *_TIME_NAMES) if self._exact else _TIME_NAMES:
            value = self._take(plain)
            texts = _texts(value)
            if not texts:
                if isinstance(value, dict) and value:
                    self._mention(plain, "the date is not a text: it is not used")
                    written = written or _shown(value)
                continue
            try:
                found = when(texts[0])
            except ValueError as error:
                self._mention(plain, f"{error}: it is not used")
                written = written or texts[0]
                continue
            if not _EPOCH <= found <= now:
                self._mention(plain, f"the date {texts[0][:100]!r} is before 1970 or in the future: it is not used")
                written = written or texts[0]
                continue
            if ambiguous(texts[0]):
                self._mention(plain, f"the date {texts[0][:100]!r} is read with the month first")
                written = texts[0]
            self._page.node.create_time.FromDatetime(found)
            break
        else:
            try:
                found = datetime.fromtimestamp(file_time, UTC)
            except (ValueError, OverflowError, OSError):
                found = now
            self._page.node.create_time.FromDatetime(found if _EPOCH <= found <= now else now)
        return written

    def tags(self, inline: list[str]) -> list[str]:
        found: list[str] = []
        exact: dict[str, None] = {}
        for plain in _TAG_NAMES:
            value = self._take(plain)
            if value is None:
                continue
            if isinstance(value, str):
                found += _logseq_tags(value) if self._logseq else _words(value)
                continue
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and self._is_exact(item, MAX_TAG_BYTES) and item.strip():
                    exact.setdefault(item)
                elif isinstance(item, str):
                    found.append(_unlinked(item))
                elif isinstance(item, list) and item:
                    found.append(_unlinked(str(item[0])))
                else:
                    self._mention(plain, "a tag is not a text: it is left out")
        tags = list(exact)
        # Tags in other capitals are the same ones: the first spelling stays.
        seen = {tag.casefold() for tag in tags}
        for tag in [*found, *inline]:
            plain_tag = one_line(tag).removeprefix("#").strip()
            if plain_tag and plain_tag.casefold() not in seen:
                seen.add(plain_tag.casefold())
                tags.append(plain_tag)
        return tags

    def within_limits(self, tags: list[str]) -> list[str]:
        """The tags that the note can have; a link may be any of them."""
        fitting: dict[str, None] = {}
        for tag in tags:
            short = cut(tag, MAX_TAG_BYTES)
            short = short if short == tag else short.rstrip()
            if short != tag:
                self._mention("tags", f"the tag {tag[:40]!r} is over {MAX_TAG_BYTES} bytes: it is cut")
            if short:
                fitting.setdefault(short)
        if len(fitting) > MAX_TAGS:
            self._mention("tags", f"{len(fitting)} tags: only the first {MAX_TAGS} are kept")
        return list(fitting)[:MAX_TAGS]

    def links(self) -> list[Found]:
        """Links in the values of properties, with the lines in which their names stand."""
        lines: dict[str, int] = {}
        for number, line in enumerate(self._front.raw.split("\n"), 2):
            for match in _WIKI.finditer(line):
                lines.setdefault(re.split(r"\\?\||#", match[1])[0].strip(), number)
        found: list[Found] = []
        for name, value in self._front.fields.items():
            plain = _plain_name(name)
            if plain in ("title", "id", exported.PROPERTY, *_ALIAS_NAMES) or (self._exact and plain in _TAG_NAMES):
                continue
            into = self._page.listed if name == "links" and self._exact else found
            begin = self._line(name) or 1
            for text in _link_texts(value):
                if into is self._page.listed and (one := exported.listed(text)):
                    into.append(Found(lines.get(one[0], begin), *one, wiki=True))
                elif "[[" in text or "](" in text:
                    for link in prose.read_value(text):
                        number = lines.get(link.target.split("#")[0].strip(), begin)
                        into.append(replace(link, line=number))
        return found

    def metadata(self, written_time: str, *, label_first: bool) -> None:
        """Properties that are left, within the limits; what does not fit is named."""
        kept = self._page.kept
        wanted: list[tuple[str, str]] = [] if kept else [("path", _utf8(self._page.path.as_posix()))]
        if label_first and not kept:
            wanted.append((WIKI_LINKS, LABEL_FIRST))
        if self._page.aliases and not kept:
            wanted.append(("aliases", ", ".join(self._page.aliases)))
        if self._page.given_id and self._page.given_id != self._page.node.node_id:
            wanted.append(("imported_id", self._page.given_id))
        if written_time:
            wanted.append(("written_date", written_time))
        for name, value in self._fields.items():
            own = kept is not None and name in exported.OWN_PROPERTIES
            if name not in self._used and not own and (text := _shown(value)):
                wanted.append((one_line(name), text))
        whole = sum(len(name.encode()) + len(text.encode()) for name, text in wanted) <= MAX_METADATA_BYTES
        most = MAX_METADATA_BYTES if whole else _LONGEST_VALUE_BYTES
        entries = dict(kept.metadata) if kept else {}
        size = sum(len(name.encode()) + len(text.encode()) for name, text in entries.items())
        lost: list[str] = []
        for name, text in wanted:
            key = cut(name, 128)
            if not key or key in entries:
                continue
            short = cut(text, most)
            grown = size + len(key.encode()) + len(short.encode())
            if len(entries) == MAX_METADATA_ENTRIES or grown > MAX_METADATA_BYTES:
                lost.append(key)
                continue
            if short != text:
                lost.append(f"{key} (cut)")
            entries[key] = short
            size = grown
        self._page.node.metadata.update(entries)
        if lost:
            what = ", ".join(lost[:10]) + (f" and {len(lost) - 10} more" if len(lost) > 10 else "")
            self._page.remarks.append((1, f"properties that do not fit into the metadata: {what}"))


def path_id(path: str) -> str:
    """The id of a note without an own one: from its path without the suffix, the same whatever the Unicode form."""
    return stable_id(PurePosixPath(nfc(path)).with_suffix("").as_posix())


def nfc(text: str) -> str:
    """A text in Unicode's composed form."""
    return unicodedata.normalize("NFC", text)


def _decode(data: bytes) -> tuple[str, str]:
    """A file's text, and what is to be mentioned about it. ValueError."""
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"over {MAX_FILE_BYTES >> 20} MiB")
    text, remark = _text(data)
    if "\0" in text:
        if text.count("\0") > len(text) * _MOST_ZEROS:
            raise ValueError("not a text: it holds zero bytes")
        # As CommonMark asks.
        text = text.replace("\0", "\ufffd")
        remark = "holds zero bytes: each is replaced by \ufffd"
    return text.replace("\r\n", "\n").replace("\r", "\n"), remark


def _text(data: bytes) -> tuple[str, str]:
    """The text in a file's encoding, with what is to be mentioned about it. Bytes that have no meaning are replaced."""
    encoding = _encoding(data)
    try:
        return data.decode(encoding), ""
    except UnicodeDecodeError:
        text = data.decode(encoding, errors="replace")
    marked = any(data.startswith(mark) for mark, _ in _MARKS)
    if b"\0" in data and not marked:
        raise ValueError("not UTF-8")
    wrong = text.count("\ufffd")
    if not marked and wrong * 2 > sum(1 for char in text if char > "\x7f"):
        # Most of what is not ASCII has no meaning in UTF-8.
        return data.decode("cp1252", errors="replace"), "not UTF-8: it is read as Windows-1252"
    name = encoding.upper().removesuffix("-SIG")
    return text, f"holds {wrong} errors in {name}: each is replaced by \ufffd"


def _encoding(data: bytes) -> str:
    """The encoding of a file: by its byte order mark, or by where its zero bytes stand; else UTF-8."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    some = data[:4096]
    even, odd = some[::2].count(0), some[1::2].count(0)
    # In UTF-16 every second byte of most texts is zero.
    if max(even, odd) > len(some) // 4 and not min(even, odd):
        return "utf-16-le" if odd else "utf-16-be"
    return "utf-8-sig"


def _stem(path: PurePosixPath, dialect: Dialect) -> str:
    """The name of a file as its tool shows it: Logseq writes a/b as a___b or a%2Fb."""
    stem = path.stem
    if _is_logseq(path, dialect):
        if "%" in stem:
            decoded = unquote(stem, errors="strict") if _decodable(stem) else stem
            stem = decoded if decoded.strip() else stem
        stem = _NAMESPACE.sub("/", stem)
    return nfc(stem)


def _is_logseq(path: PurePosixPath, dialect: Dialect) -> bool:
    return dialect.logseq or "pages" in path.parts[:-1]


def _decodable(stem: str) -> bool:
    try:
        unquote(stem, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _plain_name(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _unlinked(text: str) -> str:
    """A text without the brackets of its wiki links, each read as its name."""
    return _WIKI.sub(lambda found: re.split(r"\\?\|", found[1])[-1], text).strip()


def _names(text: str) -> list[str]:
    """Names separated by commas; a comma in [[a, b]] is part of the name."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[1])
        return f"\0{len(kept) - 1}\0"

    parts = _WIKI.sub(keep, text).split(",")
    return [re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], part).strip() for part in parts]


def _words(text: str) -> list[str]:
    """Tags in one text: "tea green" is two, and so is "tea, green"; [[green tea]] is one."""
    kept = [found[1] for found in _WIKI.finditer(text)]
    rest = _WIKI.sub(" ", text)
    return [*kept, *(word for part in re.split(r"[,;\s]+", rest) if (word := part.strip("[]\"'").lstrip("-")))]


def _logseq_tags(text: str) -> list[str]:
    """Tags of a page of Logseq in one text: only a comma or a # begins another one, so "green tea, hot" is two."""
    kept = [found[1] for found in _WIKI.finditer(text)]
    rest = re.sub(r"#?\0", ",", _WIKI.sub("\0", text))
    return [*kept, *(word for part in re.split(r",|(?:^|\s)#", rest) if (word := part.strip().lstrip("#")))]


def _texts(value: Value | None) -> list[str]:
    """The texts of a value: itself, or those of its list."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list):
        return [text for item in value for text in ([item] if isinstance(item, str) else _texts(item))]
    return []


def _link_texts(value: Value) -> Iterable[str]:
    """Texts that may hold links; the list in a list that YAML makes of [[name]] is one, too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _link_texts(inner)
    else:
        for inner in value:
            if isinstance(inner, list) and inner and all(isinstance(item, str) for item in inner):
                yield f"[[{', '.join(str(item) for item in inner)}]]"
            yield from _link_texts(inner)


def _shown(value: Any) -> str:
    """A value as a person would write it in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(_wiki_of_lists(item) or _shown(item) for item in value)
    return json.dumps(value, ensure_ascii=False) if value else ""


def _wiki_of_lists(value: Any) -> str:
    """[[name]], of which YAML makes a list in a list; nothing for any other value."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        return f"[[{_shown(value[0])}]]"
    return ""
