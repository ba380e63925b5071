"""Which note a wiki link leads to: the names of all notes of a user, and the names that their links say.

A link names a note by its title, an alias, its node_id, or the path or name of its file, in this order; a name in the
same case comes before one in another case, and the earlier titles and aliases of a note come last. So a link follows a
note that gets another title, until another note takes the name. Of several notes that bear the name equally, the one in
the folder of the linking note wins, then the one with the shortest path, then the one with the smallest node_id. What a
link leads to depends on the notes alone, not on the order in which they came.

In a note that was imported from a file, the names of files come first, in the same or in another case, because the
tools that write such files mean them: the file beside the note, then the one whose whole path is the name, then the one
below the note's folder with the shortest path, then the one with the shortest path. The import
(deploy/local/importer/directory.py) follows the same order.
"""

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from services.similarity_service.model.checkpoint import EVERY, checkpoint
from services.similarity_service.model.wiki_links import WikiLink

# Earlier names of a note that are kept, the latest first; and links of a note that are followed.
MOST_FORMER = 16
MOST_LINKS = 2_000
# A path of more folders than this can be named by its whole and by its last parts only.
_MOST_FOLDERS = 8
_SUFFIXES = (".md", ".markdown", ".mdown", ".mkd")
_TITLE, _ALIAS, _ID, _FILE, _FORMER = range(5)
# In how many different spellings the links of one note may say one name.
_MOST_SPELLINGS = 16
# A name that more notes than this bear gets a table: the time to choose one of them does not grow with their number.
_FEW = 8
# Which of the notes that bear a name is meant: the smallest, see _rank().
_Rank = tuple[bool, int, int, int, int, str, str]
# (whether it has no path, length or depth of the path, path, node id) of the two notes that come first.
_Place = tuple[bool, int, str, str]
# (whether for the links of files, spelling, kind) of a name, None for any spelling -> by where the file is: "= path",
# "< folder above it", None for all.
_Table = dict[tuple[bool, str | None, int], dict[str | None, list[_Place]]]


@dataclass(frozen=True, slots=True)
class NoteLinks:
    """The names of a note besides its title and its node_id, and what its links name.

    aliases: as its owner wrote them. path: of the file that it was imported from, or "". former: titles and aliases
    that it had earlier. targets: what its links say, each once, in the order of the text.
    """

    aliases: tuple[str, ...] = ()
    path: str = ""
    former: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def after(self, title: str, old: "NoteLinks", old_title: str) -> "NoteLinks":
        """These links as those of the next version of a note, which had other names: the lost ones become former."""
        now = {title, *self.aliases}
        lost = [name for name in (old_title, *old.aliases, *old.former) if name and name not in now]
        return replace(self, former=tuple(dict.fromkeys(lost))[:MOST_FORMER])


NO_LINKS = NoteLinks()


def note_links(links: Iterable[WikiLink], aliases: Iterable[str] = (), path: str = "") -> NoteLinks:
    """What is kept of the links of a text."""
    targets: list[str] = []
    spellings: Counter[str] = Counter()
    for target in dict.fromkeys(link.target for link in links):
        folded = _fold(_exact(target))
        if spellings[folded] < _MOST_SPELLINGS:
            spellings[folded] += 1
            targets.append(target)
    return NoteLinks(aliases=tuple(dict.fromkeys(aliases)), path=path, targets=tuple(targets[:MOST_LINKS]))


@dataclass(frozen=True, slots=True)
class LinkingNote:
    """A note as the index of links has it: spelled has its names in their exact case by kind."""

    node_id: str
    title: str
    links: NoteLinks
    spelled: Mapping[str, int]
    folder: str


class LinkIndex:
    """The links of one user's notes. Adding and removing a note costs what its names and links cost."""

    def __init__(self) -> None:
        self._notes: dict[str, LinkingNote] = {}
        # Folded name -> the notes that bear it; folded name -> the notes whose links say it, and how they spell it.
        self._bearers: dict[str, set[str]] = {}
        self._sayers: dict[str, dict[str, tuple[str, ...]]] = {}
        # Of names that many notes bear, made when they are asked for.
        self._tables: dict[str, _Table] = {}
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._notes)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._notes

    def note(self, node_id: str) -> LinkingNote | None:
        return self._notes.get(node_id)

    def add(self, node_id: str, title: str, links: NoteLinks) -> None:
        """Add a note, or replace it."""
        self.remove(node_id)
        note = linking_note(node_id, title, links)
        self._notes[node_id] = note
        for key in keys_of(note):
            self._bearers.setdefault(key, set()).add(node_id)
            self._tables.pop(key, None)
        for target in links.targets:
            for key in _target_keys(target, note.folder):
                spelled = self._sayers.setdefault(key, {})
                spelled[node_id] = (*spelled.get(node_id, ()), target)
        self.nbytes += _size(note)

    def remove(self, node_id: str) -> None:
        note = self._notes.pop(node_id, None)
        if note is None:
            return
        self.nbytes -= _size(note)
        for key in keys_of(note):
            _discard(self._bearers, key, node_id)
            self._tables.pop(key, None)
        for target in note.links.targets:
            for key in _target_keys(target, note.folder):
                _discard(self._sayers, key, node_id)

    def resolve(self, target: str, source: str, *, without: str = "") -> str | None:
        """The note that a link in the note `source` leads to; None: no note has the name.

        without: a note that is left out, as if it did not exist.
        """
        return self._resolve(target, self._home(source), without)

    def _home(self, source: str) -> str | None:
        """The folder of a note, None if it does not come from a file."""
        note = self._notes.get(source)
        return note.folder if note is not None and note.links.path else None

    def _resolve(self, target: str, home: str | None, without: str = "") -> str | None:
        for name in _names(target, home or ""):
            exact = _exact(name)
            best = self._best(_fold(exact), exact, home, without)
            if best is not None:
                return best[-1]
        return None

    def _best(self, key: str, exact: str, home: str | None, without: str) -> _Rank | None:
        """The rank of the note that is meant by a name; None: no note bears it."""
        bearers = self._bearers.get(key, ())
        if len(bearers) <= _FEW:
            ranks = [_rank(self._notes[each], key, exact, home) for each in bearers if each != without]
            return min(ranks, default=None)
        table = self._tables.get(key)
        if table is None:
            checkpoint()
            table = self._tables[key] = _table(key, [self._notes[each] for each in bearers])
        for spelling, kind, where in _search_order(key, exact, home):
            for place in table.get((home is not None, spelling, kind), {}).get(where, ()):
                if place[-1] != without:
                    return _rank(self._notes[place[-1]], key, exact, home)
        return None

    def targets(self, node_id: str) -> set[str]:
        """The notes that the links of a note lead to, itself left out."""
        note = self._notes.get(node_id)
        found = {self.resolve(target, node_id) for target in note.links.targets} if note else set()
        return {each for each in found if each is not None and each != node_id}

    def bearing(self, name: str) -> set[str]:
        """The notes that bear a name: as title, alias, id, name or path of their file, or earlier name; in any case."""
        plain = _exact(name).removeprefix("/")
        keys = {_fold(each) for each in (plain, _without_suffix(plain)) if each}
        return {node_id for key in keys for node_id in self._bearers.get(key, ())}

    def sources(self, node_id: str) -> set[str]:
        """The notes whose links lead to a note."""
        return {source for source, _ in self._leading(node_id, None)}

    def leading(self, node_id: str, sources: Collection[str]) -> set[tuple[str, str]]:
        """(source, target as it is written) of the links in some other notes that lead to a note."""
        return set(self._leading(node_id, sources))

    def _leading(self, node_id: str, sources: Collection[str] | None) -> Iterator[tuple[str, str]]:
        note = self._notes.get(node_id)
        resolve = self._resolver()
        for source, target in self._said(keys_of(note)) if note is not None else ():
            if source != node_id and (sources is None or source in sources) and resolve(target, source) == node_id:
                yield source, target

    def _resolver(self, without: str = "") -> Callable[[str, str], str | None]:
        """resolve() that does the same work once."""
        known: dict[tuple[str, str | None], str | None] = {}

        def resolve(target: str, source: str) -> str | None:
            key = target, self._home(source)
            if key not in known:
                known[key] = self._resolve(*key, without)
                if not len(known) % EVERY:
                    checkpoint()
            return known[key]

        return resolve

    def leads(self, source: str, target: str) -> bool:
        """Whether a link in one note leads to another."""
        note = self._notes.get(target)
        if note is None or source == target:
            return False
        said = (said for key in keys_of(note) for said in self._sayers.get(key, {}).get(source, ()))
        return any(self.resolve(each, source) == target for each in said)

    def leading_by(self, node_id: str, names: Iterable[str]) -> dict[str, set[str]]:
        """By note, the targets that lead to a note and say one of these names of it; its own links to itself, too."""
        found: dict[str, set[str]] = {}
        resolve = self._resolver()
        for source, target in self._said({_fold(_exact(name)) for name in names}):
            if resolve(target, source) == node_id:
                found.setdefault(source, set()).add(target)
        return found

    def would_lead(self, title: str, source: str, node_id: str) -> bool:
        """Whether a link in a note would lead to another one, if that one had this title."""
        note = self._notes.get(node_id)
        if note is None:
            return False
        home = self._home(source)
        exact = _exact(title)
        mine = _rank(replace(note, spelled={**note.spelled, exact: _TITLE}), _fold(exact), exact, home)
        best = self._best(_fold(exact), exact, home, node_id)
        return best is None or mine < best

    def is_said(self, note: LinkingNote) -> bool:
        """Whether the links of any other note say a name of a note, which need not be in the index."""
        return any(source != note.node_id for source, _ in self._said(keys_of(note)))

    def concerned(self, note: LinkingNote) -> set[tuple[str, str]]:
        """(source, target) of the links that may change when a note comes, goes, or changes its names.

        These are the notes whose links say a name of it, each with the note that the link leads to, and with the one
        that it would lead to without this note.
        """
        found: set[tuple[str, str]] = set()
        with_it, without_it = self._resolver(), self._resolver(note.node_id)
        for source, target in self._said(keys_of(note)):
            ends = {note.node_id, with_it(target, source), without_it(target, source)}
            found |= {(source, end) for end in ends if end is not None and end != source}
        return found

    def _said(self, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
        """(source, target as it is written) of the links that say one of these names."""
        for key in keys:
            for source, spelled in self._sayers.get(key, {}).items():
                for target in spelled:
                    yield source, target


def linking_note(node_id: str, title: str, links: NoteLinks) -> LinkingNote:
    """A note with its names."""
    spelled: dict[str, int] = {}
    path = _without_suffix(_exact(links.path))
    parts = [part for part in path.split("/") if part]
    files = ["/".join(parts[start:]) for start in range(max(0, len(parts) - _MOST_FOLDERS), len(parts))]
    for kind, names in (
        (_TITLE, (title,)),
        (_ALIAS, links.aliases),
        (_ID, (node_id,)),
        (_FILE, ["/".join(parts), *files]),
        (_FORMER, links.former),
    ):
        for name in names:
            if exact := _exact(name):
                spelled.setdefault(exact, kind)
    return LinkingNote(node_id, title, links, spelled, posixpath.dirname("/".join(parts)))


def keys_of(note: LinkingNote) -> set[str]:
    """The folded names of a note."""
    return {_fold(name) for name in note.spelled}


def base_of(target: str) -> str:
    """What a link names, without its part: Tea of [[Tea#Brewing]]."""
    return target.partition("#")[0].strip()


def same_name(one: str, other: str) -> bool:
    """Whether two spellings name the same note, whatever their case."""
    return _fold(_exact(one)) == _fold(_exact(other))


def _names(target: str, folder: str) -> Iterator[str]:
    """The names that a link may mean, the likeliest first: [[C# notes]] may name "C# notes", or a part of C."""
    for name in (target, base_of(target)):
        for plain in (name, _without_suffix(name)):
            if plain.startswith(("./", "../")):
                yield posixpath.normpath(posixpath.join(folder, plain))
            elif plain:
                yield plain.removeprefix("/")


def _target_keys(target: str, folder: str) -> set[str]:
    return {_fold(_exact(name)) for name in _names(target, folder)}


def _without_suffix(name: str) -> str:
    lowered = name.lower()
    return next((name[: -len(suffix)] for suffix in _SUFFIXES if lowered.endswith(suffix)), name)


def _exact(name: str) -> str:
    """A name in one form: composed characters (NFC), one space between words."""
    return " ".join(name.split()) if name.isascii() else " ".join(unicodedata.normalize("NFC", name).split())


def _fold(exact: str) -> str:
    return exact.lower() if exact.isascii() else unicodedata.normalize("NFC", exact.casefold())


def _rank(note: LinkingNote, key: str, exact: str, home: str | None) -> _Rank:
    """The order of the notes that bear a name: the smallest is meant.

    key: the folded name. home: the folder of the file with the link, None if it is in no file.
    """
    path = note.links.path
    if home is not None and (spelling := _file_name(note, key)) is not None:
        return False, 0, spelling != exact, _nearness(note, key, home), len(path), path, note.node_id
    names = [(kind, name != exact) for name, kind in note.spelled.items() if name == exact or _fold(name) == key]
    if home is None:
        former, other_case, kind = min((kind == _FORMER, other, kind) for kind, other in names)
        return former, other_case, kind, bool(note.folder) or not path, path.count("/"), "", note.node_id
    kind, other_case = min(names)
    return kind == _FORMER, 1 + kind, other_case, not path, len(path), path, note.node_id


def _file_name(note: LinkingNote, key: str) -> str | None:
    """The name or path of the note's file that is this one when it is folded; None: it has another name."""
    path = _without_suffix(_exact(note.links.path))
    name = "/".join(path.rsplit("/", key.count("/") + 1)[-1 - key.count("/") :])
    return name if name and _fold(name) == key else None


def _nearness(note: LinkingNote, key: str, home: str) -> int:
    """Where the file of a note is: 0 beside the link's, 1 at the path that is the name, 2 below it, 3 elsewhere."""
    path, folder = _fold(_without_suffix(_exact(note.links.path))), _fold(home)
    if path == _beside(folder, key):
        return 0
    if path == key:
        return 1
    return 2 if "/" not in key and (not folder or path.startswith(f"{folder}/")) else 3


def _beside(folder: str, key: str) -> str:
    return f"{folder}/{key}" if folder else key


def _search_order(key: str, exact: str, home: str | None) -> Iterator[tuple[str | None, int, str | None]]:
    """The entries of a table in the order of _rank(): spelling, kind, where the file is."""
    if home is None:
        for kinds in ((_TITLE, _ALIAS, _ID, _FILE), (_FORMER,)):
            for spelling in (exact, None):
                for kind in kinds:
                    yield spelling, kind, "< "
                    yield spelling, kind, None
        return
    folder = _fold(home)
    wheres = [f"= {_beside(folder, key)}", f"= {key}", *([f"< {folder}"] if "/" not in key else []), None]
    for spelling in (exact, None):
        for where in wheres:
            yield spelling, _FILE, where
    for kind in (_TITLE, _ALIAS, _ID, _FORMER):
        for spelling in (exact, None):
            yield spelling, kind, None


def _table(key: str, notes: Iterable[LinkingNote]) -> _Table:
    """What _rank() says of many notes that bear a name, so that the first one is found at once."""
    table: _Table = {}

    def add(filed: bool, name: str, kind: int, wheres: Iterable[str | None], place: _Place) -> None:
        for spelling in (name, None):
            places = table.setdefault((filed, spelling, kind), {})
            for where in wheres:
                _keep_first(places.setdefault(where, []), place)

    for note in notes:
        path = note.links.path
        names = [(name, kind) for name, kind in note.spelled.items() if _fold(name) == key]
        for name, kind in names:
            at_top = [None] if note.folder or not path else ["< ", None]
            add(False, name, kind, at_top, (False, path.count("/"), "", note.node_id))
        place = not path, len(path), path, note.node_id
        if (file_name := _file_name(note, key)) is not None:
            whole = _fold(_without_suffix(_exact(path)))
            parts = whole.split("/")
            above = [f"< {'/'.join(parts[:end])}" for end in range(len(parts))]
            add(True, file_name, _FILE, (f"= {whole}", *above, None), place)
        else:
            for name, kind in names:
                add(True, name, kind, (None,), place)
    return table


def _keep_first(places: list[_Place], place: _Place) -> None:
    """Two are enough, since one note at most is left out."""
    if place not in places:
        places.append(place)
        places.sort()
        del places[2:]


def _discard(index: dict[str, set[str]] | dict[str, dict[str, tuple[str, ...]]], key: str, node_id: str) -> None:
    entries = index.get(key)
    if entries is None:
        return
    if isinstance(entries, set):
        entries.discard(node_id)
    else:
        entries.pop(node_id, None)
    if not entries:
        del index[key]


def _size(note: LinkingNote) -> int:
    """About how many bytes a note takes here."""
    names = [*note.spelled, *note.links.targets]
    return 400 + sum(250 + len(name) for name in names)
