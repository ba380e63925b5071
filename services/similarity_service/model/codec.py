"""A note's record as bytes, for the store: about 300 bytes for a note of 70 words, read back in about 10 microseconds.

Layout before compression: a head of ten lengths, then language and version of the analysis, title, tags and aliases
(JSON), terms, forms, codes, sequence, hashes and sizes of sentences, salient terms. Numbers are little-endian. The
first byte names the layout.
"""

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from services.similarity_service.model.arrays import Longs
from services.similarity_service.model.note import NARROW, Note

_LAYOUT = 1
_HEAD = struct.Struct("<10I")
_BETWEEN = "\x1e"
_LEVEL = 6


class UnknownLayout(ValueError):
    """A record that this version can't read: the note has to be analysed again."""


class Packed(NamedTuple):
    """A note as its record holds it, head and parts in one: what an index is loaded from (loading.py)."""

    node_id: str
    incarnation: int
    version: int
    data: bytes

    @property
    def language(self) -> str:
        """The language that it was analysed in."""
        end = _HEAD.size + _HEAD.unpack_from(self.data)[ABOUT]
        return self.data[_HEAD.size : end].decode().partition(" ")[2]


# The places of a record's parts, in their order.
ABOUT, TITLE, NAMED, WORDS, FORMS, CODES, SEQUENCE, HASHES, SIZES, SALIENT = range(10)
PARTS = 10
# What stands between the parts of two notes.
_BETWEEN_NOTES = {WORDS: b" ", FORMS: _BETWEEN.encode()}
# Bytes of records that are taken apart at once.
_PIECE = 1 << 18


class Parts:
    """The records of many notes by parts (TITLE and so on).

    They are taken apart some hundred at once, which then are in the processor's cache: part by part over all of them
    would take three times as long.
    """

    def __init__(self, notes: Sequence[Packed]) -> None:
        self._data = [note.data for note in notes]
        heads = np.frombuffer(b"".join([data[: _HEAD.size] for data in self._data]), "<u4").reshape(-1, PARTS)
        self._lengths: Longs = heads.T.astype(np.int64)
        self._ends: Longs = np.cumsum(self._lengths, axis=0) + _HEAD.size
        # Which notes were taken apart together.
        self.pieces = [slice(first, end) for first, end in _pieces(self._ends[-1])]
        self._texts: list[list[bytes]] = [[] for _ in range(PARTS)]
        for piece in self.pieces:
            for part, texts in enumerate(self._texts):
                texts.append(_BETWEEN_NOTES.get(part, b"").join(filter(None, self._cut(part, piece))))

    def lengths(self, part: int) -> Longs:
        """How many bytes each note's part has."""
        lengths: Longs = self._lengths[part]
        return lengths

    def texts(self, part: int) -> Sequence[bytes]:
        """The parts of all notes, piece by piece: one after the other, words and forms with their separator between
        (none for an empty part)."""
        return self._texts[part]

    def joined(self, part: int) -> bytes:
        """The parts of all notes, one after the other."""
        return b"".join(self._texts[part])

    def of(self, part: int, note: int) -> bytes:
        """The part of one note."""
        return self._cut(part, slice(note, note + 1))[0]

    def _cut(self, part: int, notes: slice) -> list[bytes]:
        ends = self._ends[part, notes]
        bounds = zip(self._data[notes], (ends - self._lengths[part, notes]).tolist(), ends.tolist(), strict=True)
        return [data[start:end] for data, start, end in bounds]


def _pieces(sizes: Longs) -> Iterator[tuple[int, int]]:
    """First and end of runs of notes, each of about _PIECE bytes."""
    through = np.cumsum(sizes)
    cuts = np.searchsorted(through, np.arange(_PIECE, through[-1], _PIECE)) + 1 if len(sizes) else ()
    return pairwise(sorted({0, *map(int, cuts), len(sizes)}))


def pack(note: Note) -> bytes:
    """All of a note but its id and stamp, which the store keeps beside it."""
    return bytes([_LAYOUT]) + zlib.compress(packed(note).data, _LEVEL)


def packed(note: Note) -> Packed:
    """As inflating its record would give it."""
    parts = _parts(note)
    data = _HEAD.pack(*map(len, parts)) + b"".join(parts)
    return Packed(note.node_id, note.incarnation, note.version, data)


def inflate(record: bytes, *, node_id: str, incarnation: int, version: int) -> Packed:
    """The note of a record, its parts still packed. UnknownLayout when another version of this program wrote it."""
    if not record or record[0] != _LAYOUT:
        raise UnknownLayout(f"record layout {record[:1]!r}")
    return Packed(node_id, incarnation, version, zlib.decompress(memoryview(record)[1:]))


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
    ]


def unpack(record: bytes, *, node_id: str, incarnation: int, version: int) -> Note:
    """The note of a record. UnknownLayout when another version of this program wrote it."""
    data = inflate(record, node_id=node_id, incarnation=incarnation, version=version).data
    ends = list(accumulate(_HEAD.unpack_from(data), initial=_HEAD.size))
    parts = [data[start:end] for start, end in pairwise(ends)]
    about, title, called, words, forms, codes, sequence, hashes, sizes, salient = parts
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
    )


def _little(code: str, data: bytes) -> bytes:
    """Numbers from the machine's order to little-endian, or back."""
    if sys.byteorder == "little":
        return data
    values = array(code, data)
    values.byteswap()
    return values.tobytes()
