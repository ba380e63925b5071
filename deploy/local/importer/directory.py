"""Which note a link means: notes by their paths, file names, titles, aliases and ids.

A file comes before a title, a title before an alias, an alias before an id, and in each the exact case first.
Of several files with a name, the one beside the note is meant, then the one below its folder, then the one with the
shortest path. Every look-up takes a time that does not depend on the number of notes.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from urllib.parse import unquote

from deploy.local.importer.files import SUFFIXES
from deploy.local.importer.page import Dialect, Page, nfc

# An id of Zettlr and others: the digits of a time, at the beginning of a file's name or in it.
_ID_FIRST = re.compile(r"(\d{8,17})(?!\d)")
_ID_WITHIN = re.compile(r"(?<!\d)(\d{10,17})(?!\d)")
_JOURNAL = re.compile(r"(\d{4})[_-](\d{2})[_-](\d{2})")
_VAULT = re.compile(r"(?:dendron:)?//[^/\s]+/")


class Directory:
    """All notes of a folder by what links may call them."""

    def __init__(self, pages: Sequence[Page], dialect: Dialect) -> None:
        self._dialect = dialect
        self._tables = [_Names(folded=False), _Names(folded=True)]
        for page in sorted(pages, key=lambda page: (len(page.path.as_posix()), page.path.as_posix())):
            for table in self._tables:
                table.add(page)
        for table in self._tables:
            table.drop_doubtful_ids()
        self._blocks: dict[str, Page] = {}
        for page in pages:
            for block in page.blocks:
                self._blocks.setdefault(block, page)

    def wiki(self, target: str, label: str, source: Page) -> tuple[Page, str] | None:
        """The note that [[target|label]] means in a note, and its label; None: there is none."""
        if target.startswith("#") and not self._dialect.dendron:
            # A part of the note itself.
            return None
        if self._dialect.dendron and label:
            # Dendron writes the label first, which names nothing.
            found = self._name(_VAULT.sub("", label, count=1), source)
            return (found, target) if found else None
        if self._dialect.logseq and label:
            # Logseq knows no labels: a bar is a part of the name.
            for bar in (" | ", "|"):
                if found := self._name(f"{target}{bar}{label}", source):
                    return found, ""
        target, other = _VAULT.sub("", target, count=1), _VAULT.sub("", label, count=1)
        if found := self._name(target, source):
            return found, label
        # Foam writes where a wiki link leads at the end of the note.
        url = source.definitions.get(target.casefold())
        if url and (found := self.markdown(url, source)):
            return found, label
        if other and not self._dialect.obsidian and (found := self._name(other, source)):
            return found, target
        return None

    def markdown(self, path: str, source: Page) -> Page | None:
        """The note that a Markdown link with a path means."""
        return self._find(("file",), path, source)

    def block(self, block_id: str) -> Page | None:
        """The note that holds a block of Logseq."""
        return self._blocks.get(block_id)

    def tag(self, tag: str, source: Page) -> Page | None:
        """The note that a tag means: a page in Logseq, a note tags.x in Dendron."""
        if self._dialect.logseq:
            return self._name(tag, source)
        return self._name(f"tags.{tag}", source) if self._dialect.dendron else None

    def _name(self, target: str, source: Page) -> Page | None:
        return self._find(("file", "title", "alias", "id"), target, source)

    def _find(self, kinds: Iterable[str], target: str, source: Page) -> Page | None:
        for spelling in _spellings(target):
            for kind in kinds:
                for table in self._tables:
                    if found := table.find(kind, spelling, source):
                        return found
        return None


class _Names:
    """One table of names, with the case as it is written or folded."""

    def __init__(self, *, folded: bool) -> None:
        self._folded = folded
        # By every end of a path: c, b/c, a/b/c. The first page that is added is the best one.
        self._ends: dict[str, Page] = {}
        self._paths: dict[str, Page] = {}
        # By a folder and the name of a file anywhere below it.
        self._below: dict[tuple[str, str], Page] = {}
        self._names: dict[tuple[str, str], Page] = {}
        self._doubtful: set[tuple[str, str]] = set()

    def add(self, page: Page) -> None:
        path = self._key(nfc(page.path.with_suffix("").as_posix()))
        parts = path.split("/")
        self._paths.setdefault(path, page)
        for start in range(len(parts)):
            self._ends.setdefault("/".join(parts[start:]), page)
            self._below.setdefault(("/".join(parts[:start]), parts[-1]), page)
        self._add("title", page.node.title, page)
        self._add("title", page.stem, page)
        for alias in (*page.aliases, *_journal_names(page)):
            self._add("alias", alias, page)
        stem = page.path.stem
        if page.given_id:
            self._add("id", page.given_id, page)
        ids = {found[1] for found in [_ID_FIRST.match(stem), *_ID_WITHIN.finditer(stem)] if found}
        if page.written_id and page.written_id != page.given_id:
            ids.add(page.written_id)
        for found_id in ids:
            key = "id", self._key(found_id)
            if self._names.setdefault(key, page) is not page:
                self._doubtful.add(key)

    def drop_doubtful_ids(self) -> None:
        """Forget the ids with which several files begin."""
        for key in self._doubtful:
            self._names.pop(key, None)

    def find(self, kind: str, target: str, source: Page) -> Page | None:
        key = self._key(target)
        if kind != "file":
            return self._names.get((kind, key))
        folder = self._key(nfc(source.path.parent.as_posix()))
        folder = "" if folder == "." else folder
        beside = posixpath.normpath(f"{folder}/{key}" if folder else key)
        absolute = key.startswith("/")
        if not absolute and (found := self._paths.get(beside)):
            return found
        plain = posixpath.normpath(key.lstrip("/")) if key.strip("/") else ""
        if found := self._paths.get(plain):
            return found
        if key.startswith(("./", "../")):
            # It says where the file is, and nothing is there.
            return None
        return self._below.get((folder, plain)) or self._ends.get(plain)

    def _add(self, kind: str, name: str, page: Page) -> None:
        if key := self._key(nfc(name)):
            self._names.setdefault((kind, key), page)

    def _key(self, name: str) -> str:
        plain = " ".join(name.split())
        return nfc(plain.casefold()) if self._folded else plain


def _spellings(target: str) -> Iterator[str]:
    """A target as it is written, without its heading or block, without its suffix, and decoded."""
    seen: set[str] = set()
    for whole in (target, unquote(target)):
        for part in (whole, whole.partition("#")[0], whole.partition("#")[0].partition("^")[0]):
            name = nfc(part.strip().rstrip("/"))
            suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
            # A name may end like a suffix: topic.markdown is the file topic.markdown.md.
            for spelling in (name, name[: len(name) - len(suffix)]):
                if spelling and spelling not in seen:
                    seen.add(spelling)
                    yield spelling


def _journal_names(page: Page) -> list[str]:
    """How Logseq calls the page of a day in its journal, in the date formats that it offers."""
    found = _JOURNAL.fullmatch(page.path.stem)
    if found is None or "journals" not in page.path.parts:
        return []
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return []
    ending = "th" if 11 <= day.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    short, long = day.strftime("%b"), day.strftime("%B")
    return [
        f"{short} {day.day}{ending}, {day.year}", f"{long} {day.day}{ending}, {day.year}", f"{day:%Y-%m-%d}",
        f"{day:%Y/%m/%d}", f"{day:%Y_%m_%d}", f"{day:%Y%m%d}", f"{day:%d-%m-%Y}", f"{day:%m/%d/%Y}", f"{day:%d.%m.%Y}",
        f"{day:%a}, {day:%d-%m-%Y}", f"{day:%a}, {day:%Y/%m/%d}", f"{day:%Y-%m-%d %A}", f"{day:%A}, {day:%d.%m.%Y}",
    ]  # fmt: skip
