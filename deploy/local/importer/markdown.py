"""Notes from Markdown files, of a folder, a zip or one file: each file becomes a note, each link an edge.

The text of a note stays as it is. Its id comes from its front matter or its path, so importing the folder again finds
the same notes. page.py reads one file, directory.py finds what a link means; this module goes through the folder.
"""

import posixpath
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path, PurePosixPath

from deploy.local.importer.directory import Directory
from deploy.local.importer.files import SUFFIXES, DiskFolder, Folder, Listing, readable_paths
from deploy.local.importer.items import Item, Link, Note, Owned, Problem, Rejection, cut, stable_id
from deploy.local.importer.page import LABEL_FIRST, WIKI_LINKS, Dialect, Page, nfc, path_id, read_pages
from deploy.local.importer.prose import Found
from protos.graph.v1 import graph_pb2
from services.similarity_service.model.link_index import LinkIndex, note_links
from services.similarity_service.model.wiki_links import wiki_links

# The type of edge that a link in a text becomes.
LINK_TYPE = "links_to"
# The type of edge from a part of a note that is too long for one to the next part.
PART_TYPE = "continues_in"
_LONGEST_LABEL_BYTES = 512
_MAX_REMARKS_A_FILE = 20
# What else such a folder holds: [[plan.pdf]] isn't a note that is missing.
_ATTACHMENT = re.compile(
    r"\.(avif|base|bmp|canvas|csv|docx?|epub|excalidraw|gif|html?|ipynb|jpe?g|json|m4a|mkv|mov|mp[34]|ogg|pdf|png|pptx?|svg|"
    r"tiff?|txt|wav|webm|webp|xlsx?|zip)$",
    re.IGNORECASE,
)


class MarkdownFolder:
    """The items of all Markdown files of a folder: every note first, then the links. Progress is in files."""

    def __init__(self, folder: Folder | Path, now: datetime | None = None) -> None:
        self._folder = DiskFolder(folder) if isinstance(folder, Path) else folder
        self.name = self._folder.name
        self._listing = self._folder.list()
        self._now = now or datetime.now(UTC)
        self.total = len(self._listing.files)
        self.done = 0

    @property
    def others(self) -> str:
        """The other files that the folder holds, counted by kind."""
        return _kinds(self._listing)

    def __iter__(self) -> Iterator[Item]:
        self.done = 0
        dialect = _dialect(self._listing, self.name)
        pages: list[Page] = []
        seen: dict[str, str] = {}
        texts = LinkIndex()
        # The parts of notes that are too long for one.
        following: list[tuple[str, str, str]] = []
        yield from self._listing.problems
        for file, where in readable_paths(self._listing):
            self.done += 1
            try:
                parts = read_pages(self._folder.read(file), where, file.time, self._now, dialect)
            except OSError as error:
                yield Problem(where, f"cannot be read: {error.strerror or error}")
                continue
            except ValueError as error:
                yield Problem(where, str(error))
                continue
            for page in parts:
                self._name(page, where, seen)
                yield from _remarks(page, where)
                yield Note(where, page.node, deleted=page.kept is not None and page.kept.deleted)
                metadata = page.node.metadata
                found = wiki_links(page.node.content, label_first=metadata.get(WIKI_LINKS) == LABEL_FIRST)
                links = note_links(found, page.node.aliases, metadata.get("path", ""))
                texts.add(page.node.node_id, page.node.title, links)
                # The text is not needed any more: a folder may be larger than the memory.
                page.node = type(page.node)(node_id=page.node.node_id, title=page.node.title)
                page.remarks = []
                pages.append(page)
            following += [(one.node.node_id, other.node.node_id, where) for one, other in pairwise(parts)]
        if kinds := _kinds(self._listing):
            others = len(self._listing.others)
            what = "1 file was" if others == 1 else f"{others:,} files were"
            yield Problem(self.name, f"{what} left out, not Markdown: {kinds}", fatal=False)
        ids = frozenset(page.node.node_id for page in pages)
        followed = frozenset(frozenset((node_id, target)) for node_id in ids for target in texts.targets(node_id))
        yield Owned(LINK_TYPE, ids, followed)
        if sum(page.dendron for page in pages) * 2 > len(pages):
            dialect.dendron = True
        yield from self._links(pages, dialect, texts)
        for one, other, where in following:
            yield Link(
                where, graph_pb2.NewEdge(source_id=one, target_id=other, type=PART_TYPE, directed=True, weight=1)
            )

    def _name(self, page: Page, where: str, seen: dict[str, str]) -> None:
        """Give a page an id of its own. seen: all ids, with their files; the page's is added."""
        if (first := seen.get(page.node.node_id)) is not None:
            taken = f"the id {page.node.node_id!r} is already that of {first}: it gets one from its path"
            page.remarks.append((0, taken))
            page.node.node_id = path_id(page.path.as_posix())
            while page.node.node_id in seen:
                page.node.node_id = stable_id(f"{where}/{page.node.node_id}")
        seen[page.node.node_id] = where

    def _links(self, pages: list[Page], dialect: Dialect, texts: LinkIndex) -> Iterator[Item]:
        """Edges for the links; two notes that link each other get one that has no direction."""
        directory = Directory(pages, dialect)
        others = {nfc(PurePosixPath(path).name).casefold() for path in self._listing.others}
        edges: dict[tuple[str, str], Link] = {}
        exact: set[tuple[str, str]] = set()
        for page in pages:
            yield from self._exported(page, directory, edges, exact)
            for link in page.links:
                where = f"{page.path}:{link.line}"
                label = link.label
                if link.block:
                    found = directory.block(link.target)
                elif not link.wiki:
                    found = directory.markdown(link.target, page)
                elif meant := directory.wiki(link.target, link.label, page):
                    found, label = meant
                else:
                    found = None
                if found is None:
                    if missing := _missing(link, others):
                        yield Problem(where, missing, fatal=False)
                    continue
                _add(edges, page, found, where, label)
            for tag in page.tags if (dialect.logseq or dialect.dendron) and page.kept is None else ():
                if found := directory.tag(tag, page):
                    _add(edges, page, found, str(page.path), "")
        for ends, made in edges.items():
            edge = made.edge
            forth, back = texts.leads(edge.source_id, edge.target_id), texts.leads(edge.target_id, edge.source_id)
            if ends not in exact and forth and back != edge.directed:
                # The similarity service makes the same edge, and keeps it equal to the texts when they change.
                edge.metadata.labels["source"] = "text"
            yield made

    def _exported(
        self, page: Page, directory: Directory, edges: dict[tuple[str, str], Link], exact: set[tuple[str, str]]
    ) -> Iterator[Item]:
        """What an export has listed: each link as it was, one that a person has added as any other, rejected ones.

        exact: the keys of `edges` that stay as the export has them are added to it.
        """
        if page.kept is None:
            return
        for target_id, edge_type in page.kept.rejected:
            yield Rejection(str(page.path), page.node.node_id, target_id, edge_type)
        for link in page.listed:
            where = f"{page.path}:{link.line}"
            # An export lists names of files.
            found = directory.markdown(link.target, page)
            if found is None:
                yield Problem(where, f"[[{link.target}]] leads to no note", fatal=False)
                continue
            known = page.kept.edges.pop(found.node.node_id, [])
            if not known:
                _add(edges, page, found, where, link.label)
            for edge in known:
                edge.source_id = page.node.node_id
                link_as_it_was = Link(where, edge, zero=not edge.weight)
                if edge.type != LINK_TYPE:
                    yield link_as_it_was
                    continue
                # The texts of the two notes may name each other, too: it is the same edge.
                edges.pop((edge.target_id, edge.source_id), None)
                edges[edge.source_id, edge.target_id] = link_as_it_was
                exact.add((edge.source_id, edge.target_id))


def _remarks(page: Page, where: str) -> Iterator[Problem]:
    for line, text in page.remarks[:_MAX_REMARKS_A_FILE]:
        yield Problem(f"{where}:{line}" if line else where, text, fatal=False)
    if len(page.remarks) > _MAX_REMARKS_A_FILE:
        yield Problem(where, f"{len(page.remarks) - _MAX_REMARKS_A_FILE} more remarks", fatal=False)


def _add(edges: dict[tuple[str, str], Link], source: Page, target: Page, where: str, label: str) -> None:
    source_id, target_id = source.node.node_id, target.node.node_id
    if source_id == target_id or (source_id, target_id) in edges:
        return
    if (target_id, source_id) in edges:
        edges[target_id, source_id].edge.directed = False
        return
    edge = graph_pb2.NewEdge(source_id=source_id, target_id=target_id, type=LINK_TYPE, directed=True, weight=1)
    if label:
        edge.metadata.labels["label"] = cut(label, _LONGEST_LABEL_BYTES)
    edges[source_id, target_id] = Link(where, edge)


def _missing(link: Found, others: set[str]) -> str:
    """What is to be mentioned of a link that leads to no note; nothing if it leads to another file, or may."""
    name = nfc(link.target.partition("#")[0]).strip()
    if posixpath.basename(name).casefold() in others or not name:
        return ""
    if link.block:
        return f"(({name})) leads to no block"
    if link.wiki:
        return "" if _ATTACHMENT.search(name) else f"[[{name}]] leads to no note"
    return f"({name}) leads to no note" if name.lower().endswith(SUFFIXES) else ""


def _dialect(listing: Listing, name: str) -> Dialect:
    folders = {PurePosixPath(path).name for path in listing.folders} | {PurePosixPath(name).name}
    files = {PurePosixPath(path).name for path in listing.others}
    return Dialect(
        logseq="logseq" in folders or {"pages", "journals"} <= folders,
        dendron="dendron.yml" in files or any(path.endswith(".schema.yml") for path in files),
        obsidian=".obsidian" in folders,
    )


def _kinds(listing: Listing) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in listing.kinds().most_common(20))
