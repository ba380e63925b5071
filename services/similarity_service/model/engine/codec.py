"""A note's record as bytes, for the store: about 300 bytes for a note of 70 words, read back in about 10 microseconds.

Layout before compression: a head of eleven lengths, then language and version of the analysis, title, tags and aliases
(JSON), terms, forms, codes, sequence, hashes and sizes of sentences, salient terms, variants. Numbers are
little-endian. The first byte names the layout.
"""

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import astuple
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from services.similarity_service.model import analysis
from services.similarity_service.model.engine.arrays import Longs
from services.similarity_service.model.link_index import NO_LINKS, NoteLinks
from services.similarity_service.model.note import KINDS, NARROW, Note
from services.similarity_service.model.variants import ANY

# Still read: 2 is without variants; in 1, too, the last two bits of a sentence's hash are not its kind.
_LAYOUT = 3
_HEAD = struct.Struct("<11I")
_HEAD_OF_2 = struct.Struct("<10I")
_BETWEEN = "\x1e"
_LEVEL = 6


class UnknownLayout(ValueError):
    """A record that this version can't read: the note has to be analysed again."""


class Packed(NamedTuple):
    """A note as its record holds it, head and parts in one: what an index is loaded from (loading.py).

    links: stored beside the record, since the index of links needs nothing else of it but the title.
    """

    node_id: str
    incarnation: int
    version: int
    data: bytes
    links: NoteLinks = NO_LINKS


# The places of a record's parts, in their order.
ABOUT, TITLE, NAMED, WORDS, FORMS, CODES, SEQUENCE, HASHES, SIZES, SALIENT, VARIANTS = range(11)
PARTS = 11
# What stands between the parts of two notes.
_BETWEEN_NOTES = {ABOUT: b"\n", WORDS: b" ", FORMS: _BETWEEN.encode()}


class RecordReader:
    """Reads the parts (TITLE and so on) of the records of some notes."""

    def __init__(self, notes: Sequence[Packed]) -> None:
        self._data = [note.data for note in notes]
        heads = np.frombuffer(b"".join([data[: _HEAD.size] for data in self._data]), "<u4").reshape(-1, PARTS)
        self._lengths: Longs = heads.T.astype(np.int64)
        self._ends: Longs = np.cumsum(self._lengths, axis=0) + _HEAD.size

    def lengths(self, part: int) -> Longs:
        """How many bytes each note's part has."""
        lengths: Longs = self._lengths[part]
        return lengths

    def joined(self, part: int) -> bytes:
        """One part of all notes, one after the other.

        Between two notes stands the separator of words or forms, or a line break for ABOUT. Empty parts are left out.
        """
        bounds = zip(
            self._data, (self._ends[part] - self._lengths[part]).tolist(), self._ends[part].tolist(), strict=True
        )
        return _BETWEEN_NOTES.get(part, b"").join([data[a:b] for data, a, b in bounds if b > a])

    def of(self, part: int, note: int) -> bytes:
        """The part of one note."""
        end = int(self._ends[part, note])
        return self._data[note][end - int(self._lengths[part, note]) : end]


def pack(note: Note) -> bytes:
    """The record of a note, without its id and stamp, which the store keeps beside the record."""
    return bytes([_LAYOUT]) + zlib.compress(packed(note).data, _LEVEL)


def fits(note: Note, size: int) -> bool:
    """Whether the record and the links of a note have at most so many bytes. Compresses them where they may not."""
    links = json.dumps(astuple(note.links), ensure_ascii=False).encode()
    if len(packed(note).data) + len(links) < size:
        return True
    return len(pack(note)) + len(pack_links(note.links)) <= size


def packed(note: Note) -> Packed:
    """A note as inflate() gives it."""
    parts = _parts(note)
    data = _HEAD.pack(*map(len, parts)) + b"".join(parts)
    return Packed(note.node_id, note.incarnation, note.version, data, note.links)


def inflate(record: bytes, *, node_id: str, incarnation: int, version: int) -> Packed:
    """The note of a record, its parts still packed. UnknownLayout when another version of this program wrote it."""
    if not record or not 1 <= record[0] <= _LAYOUT:
        raise UnknownLayout(f"record layout {record[:1]!r}")
    data = zlib.decompress(memoryview(record)[1:])
    if record[0] == 1:
        data = _from_layout_1(data)
    return Packed(node_id, incarnation, version, data if record[0] == _LAYOUT else _from_layout_2(data))


def _from_layout_1(data: bytes) -> bytes:
    """The data of an older record, its sentences being of no other kind than SENTENCE."""
    lengths = _HEAD_OF_2.unpack_from(data)
    start = _HEAD_OF_2.size + sum(lengths[:HASHES])
    hashes = np.frombuffer(data, "<u4", lengths[HASHES] // 4, start)
    kept = hashes & np.uint32(0xFFFFFFFF ^ KINDS)
    kept[(kept == 0) & (hashes != 0)] = KINDS + 1
    return data[:start] + kept.astype("<u4").tobytes() + data[start + lengths[HASHES] :]


def _from_layout_2(data: bytes) -> bytes:
    """The data of an older record, with every variant of each term."""
    lengths = _HEAD_OF_2.unpack_from(data)
    variants = struct.pack("<H", ANY) * lengths[CODES]
    return b"".join([_HEAD.pack(*lengths, len(variants)), data[_HEAD_OF_2.size :], variants])


def title_of(note: Packed) -> str:
    """The title of a packed note."""
    about, title = _HEAD.unpack_from(note.data)[ABOUT : TITLE + 1]
    begin = _HEAD.size + about
    return note.data[begin : begin + title].decode()


def is_outdated(note: Packed) -> bool:
    """Whether an earlier release analysed the note, in another way than this one does."""
    version, _, _ = note.data[_HEAD.size : _HEAD.size + _HEAD.unpack_from(note.data)[ABOUT]].partition(b" ")
    return int(version) < analysis.VERSION


def pack_links(links: NoteLinks) -> bytes:
    """The links of a note, for the attribute beside its record."""
    return zlib.compress(json.dumps(astuple(links), ensure_ascii=False).encode(), _LEVEL)


def unpack_links(data: bytes) -> NoteLinks:
    """The links that pack_links() packed."""
    aliases, path, former, targets = json.loads(zlib.decompress(data))
    return NoteLinks(tuple(aliases), path, tuple(former), tuple(targets))


def named(part: bytes) -> tuple[list[str], list[list[str]]]:
    """Tags and aliases."""
    if not part:
        return [], []
    tags, aliases = json.loads(part)
    return tags, aliases


def _parts(note: Note) -> list[bytes]:
    called = json.dumps([note.tags, note.aliases], ensure_ascii=False) if note.tags or note.aliases else ""
    return [
        f"{note.analysis_version} {note.language}".encode(),
        note.title.encode(),
        called.encode(),
        " ".join(note.terms).encode(),
        _BETWEEN.join(note.forms).encode(),
        note.codes,
        _little("H", note.sequence) if note.wide else note.sequence,
        _little("I", note.sentence_hashes),
        _little("H", note.sentence_sizes),
        _little("H", array("H", [value for pair in note.salient for value in pair]).tobytes()),
        _little("H", note.variants) or struct.pack("<H", ANY) * len(note.codes),
    ]


def unpack(record: bytes, *, node_id: str, incarnation: int, version: int) -> Note:
    """The note of a record. UnknownLayout when another version of this program wrote it."""
    data = inflate(record, node_id=node_id, incarnation=incarnation, version=version).data
    ends = list(accumulate(_HEAD.unpack_from(data), initial=_HEAD.size))
    parts = [data[start:end] for start, end in pairwise(ends)]
    about, title, called, words, forms, codes, sequence, hashes, sizes, salient, variants = parts
    analysis_version, _, language = about.decode().partition(" ")
    tags, aliases = named(called)
    terms = tuple(words.decode().split(" ")) if words else ()
    listed = array("H", _little("H", salient))
    return Note(
        node_id=node_id,
        incarnation=incarnation,
        version=version,
        title=title.decode(),
        tags=tuple(tags),
        aliases=tuple([tuple(alias) for alias in aliases]),
        language=language,
        analysis_version=int(analysis_version),
        terms=terms,
        forms=tuple(forms.decode().split(_BETWEEN)) if forms else (),
        codes=codes,
        sequence=_little("H", sequence) if len(terms) > NARROW else sequence,
        sentence_hashes=_little("I", hashes),
        sentence_sizes=_little("H", sizes),
        salient=tuple(zip(listed[::2], listed[1::2], strict=True)),
        variants=_little("H", variants),
    )


def _little(code: str, data: bytes) -> bytes:
    """Numbers from the machine's order to little-endian, or back."""
    if sys.byteorder == "little":
        return data
    values = array(code, data)
    values.byteswap()
    return values.tobytes()
