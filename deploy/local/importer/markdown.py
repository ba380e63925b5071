"""Notes from a folder of Markdown files: front matter (title, tags, date, aliases, id), [[wiki links]] become edges.

The text of a note stays as it is. Its id comes from its path, so importing the folder again finds the same notes. A
link is resolved by path, title, file name or alias, whatever the case; one that leads nowhere is mentioned.
"""

import itertools
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from deploy.local.importer.items import MAX_CONTENT_BYTES, Item, Link, Note, Problem, stable_id, tags_of, when
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2

# The type of edge that a wiki link becomes.
LINK_TYPE = "links_to"
_SUFFIXES = (".md", ".markdown")
_WIKI_LINK = re.compile(r"!?\[\[([^\[\]\n|#^]*)(?:[#^][^\[\]\n|]*)?(?:\|([^\[\]\n]*))?\]\]")
_CODE = re.compile(r"^(```|~~~).*?^\1[^\n]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
# What else such a folder holds: [[plan.pdf]] isn't a note that is missing.
_ATTACHMENT = re.compile(
    r"\.(png|jpe?g|gif|svg|webp|bmp|pdf|mp[34]|m4a|ogg|wav|mov|webm|zip|csv|docx?|xlsx?|pptx?|canvas|base)$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)


@dataclass
class _Page:
    path: PurePosixPath
    node: node_pb2.NewNode
    aliases: list[str]
    # (line, target as written, label)
    links: list[tuple[int, str, str]] = field(default_factory=list)


class MarkdownFolder:
    """The items of all Markdown files below a folder: every note first, then the links. Progress is in files."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        # Hidden folders are the editors' own (.obsidian, .trash, .git).
        self._paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in _SUFFIXES
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        self.total = len(self._paths)
        self.done = 0
        self._folder = folder

    def __iter__(self) -> Iterator[Item]:
        pages: list[_Page] = []
        seen: dict[str, str] = {}
        for path in self._paths:
            where = path.relative_to(self._folder).as_posix()
            self.done += 1
            try:
                page = _read(path, PurePosixPath(where))
            except (ValueError, OSError) as error:
                yield Problem(where, str(error))
                continue
            first = seen.setdefault(page.node.node_id, where)
            if first != where:
                yield Problem(where, f"the id {page.node.node_id!r} is already that of {first}")
                continue
            pages.append(page)
            yield Note(where, page.node)
        yield from _links(pages)


def _read(path: Path, relative: PurePosixPath) -> _Page:
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if len(text.encode()) > MAX_CONTENT_BYTES:
        raise ValueError(f"over {MAX_CONTENT_BYTES // 1024} KiB")
    front, body = _front_matter(text)
    heading = _HEADING.search(body)
    title = str(front.get("title") or (heading[1] if heading else "") or relative.stem)
    name = str(front["id"]) if front.get("id") else relative.with_suffix("").as_posix()
    node = node_pb2.NewNode(
        node_id=stable_id(name), title=title, content=body.strip(), tags=tags_of(_words(front.get("tags")))
    )
    node.metadata["path"] = relative.as_posix()
    created = front.get("date") or front.get("created")
    # Without a date, the file's own time is the best that is known of when it was written.
    node.create_time.FromDatetime(when(created) if created else datetime.fromtimestamp(path.stat().st_mtime, UTC))
    aliases = front.get("aliases") or front.get("alias") or []
    page = _Page(relative, node, [str(alias) for alias in (aliases if isinstance(aliases, list) else [aliases])])
    offset = text.count("\n", 0, len(text) - len(body))
    # Code shows what a link looks like; it isn't one. Blanked, not cut: line numbers stay.
    prose = _CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), body)
    for found in _WIKI_LINK.finditer(prose):
        if target := found[1].strip():
            page.links.append((offset + prose.count("\n", 0, found.start()) + 1, target, (found[2] or "").strip()))
    return page


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    found = re.match(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        return {}, text
    try:
        fields = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        raise ValueError(f"front matter, line {line}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    except ValueError as error:
        # A timestamp that looks right and isn't: 2024-02-31.
        raise ValueError(f"front matter: {error}") from None
    if fields is not None and not isinstance(fields, dict):
        raise ValueError("front matter is not a list of names and values")
    return fields or {}, text[found.end() :]


def _words(tags: object) -> object:
    """ "tea green" is two tags in front matter, where a list needs brackets; so is "tea, green"."""
    return re.split(r"[,\s]+", tags) if isinstance(tags, str) else tags


def _links(pages: list[_Page]) -> Iterator[Item]:
    """Edges for the links; two notes that link each other get one that has no direction."""
    directory = _Directory(pages)
    edges: dict[tuple[str, str], tuple[str, graph_pb2.NewEdge]] = {}
    for page in pages:
        for line, target, label in page.links:
            where = f"{page.path}:{line}"
            found = directory.find(target, page)
            if found is None:
                if not _ATTACHMENT.search(target):
                    yield Problem(where, f"[[{target}]] leads to no note", fatal=False)
                continue
            source_id, target_id = page.node.node_id, found.node.node_id
            if source_id == target_id or (source_id, target_id) in edges:
                continue
            if (target_id, source_id) in edges:
                edges[target_id, source_id][1].directed = False
                continue
            edge = graph_pb2.NewEdge(source_id=source_id, target_id=target_id, type=LINK_TYPE, directed=True, weight=1)
            if label:
                edge.metadata.labels["label"] = label.encode()[:512].decode(errors="ignore")
            edges[source_id, target_id] = where, edge
    yield from (Link(where, edge) for where, edge in edges.values())


class _Directory:
    """Pages by what a link may call them. Paths win over titles, titles over file names, these over aliases."""

    def __init__(self, pages: list[_Page]) -> None:
        self._by: list[dict[str, list[_Page]]] = [{}, {}, {}, {}]
        for page in pages:
            path = page.path.with_suffix("").as_posix()
            names = ([path], [page.node.title], [page.path.stem], page.aliases)
            for known, spelled in zip(self._by, names, strict=True):
                for name in spelled:
                    known.setdefault(_key(name), []).append(page)

    def find(self, target: str, source: _Page) -> _Page | None:
        """The page that a link of the source means: of several the one in its folder, else the one nearest the top."""
        plain = target[: -len(".md")] if target.lower().endswith(".md") else target
        beside = posixpath.normpath(source.path.parent / plain)
        for name, known in itertools.chain([(beside, self._by[0])], ((plain, known) for known in self._by)):
            if found := known.get(_key(name)):
                home = source.path.parent
                return min(found, key=lambda page: (page.path.parent != home, len(page.path.parts), page.path))
        return None


def _key(name: str) -> str:
    return " ".join(name.casefold().split()).removeprefix("./")
