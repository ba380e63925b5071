"""Growable numpy arrays, and many lists in one array, so that an index of a million notes is few pieces of memory.

A Python list of small numpy arrays costs over 100 bytes a term before the first posting; here a term costs 9.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
S = TypeVar("S", bound=np.generic)

# Capacities of a list of postings. They grow by about a third, so on average at most a quarter of the space is unused.
_SIZES = [0, 1, 2, 3, 4, 6, 8]
while _SIZES[-1] < 1 << 30:
    _SIZES += [_SIZES[-2] * 2, _SIZES[-1] * 2]
# Arrays of more values than this grow by a smaller share.
_LARGE = 1 << 16
_SIZE_ARRAY = np.array(_SIZES, np.int64)


def distinct(values: NDArray[S]) -> NDArray[S]:
    """The different values, ascending. np.unique() of many integers takes ten times as long."""
    found = np.sort(values)
    new = np.ones(len(found), np.bool_)
    new[1:] = found[1:] != found[:-1]
    return found[new]


def order_of(numbers: Ints) -> Longs:
    """np.argsort(numbers, kind="stable") of numbers that aren't negative, in half of the time: by radix."""
    low = np.argsort(numbers.astype(np.uint16), kind="stable")
    high = (numbers >> 16).astype(np.uint16)[low]
    return low[np.argsort(high, kind="stable")] if high.any() else low


class Growing(Generic[S]):
    """An array with room at its end. `data` is replaced when it grows: read it again after each call."""

    __slots__ = ("data", "fill", "size")

    def __init__(self, dtype: type[S], fill: int | float = 0, room: int = 16) -> None:
        self.data: NDArray[S] = np.full(room, fill, dtype)
        self.fill = fill
        self.size = 0

    @property
    def view(self) -> NDArray[S]:
        """The part that is in use."""
        return self.data[: self.size]

    def reach(self, size: int) -> None:
        """Make the array at least `size` long; new places hold the fill value."""
        if size > len(self.data):
            self._grow(size)
        if size > self.size:
            self.size = size

    def append(self, value: int | float | bool) -> int:
        """Add one value; returns its place."""
        place = self.size
        if place == len(self.data):
            self._grow(place + 1)
        self.data[place] = value
        self.size = place + 1
        return place

    def extend(self, values: Any) -> int:
        """Add many values; returns the place of the first."""
        place = self.size
        end = place + len(values)
        if end > len(self.data):
            self._grow(end)
        self.data[place:end] = values
        self.size = end
        return place

    def _grow(self, size: int) -> None:
        # Room for a large array is a large part of an index, and it is copied seldom enough.
        grown = np.empty(size + (size >> (3 if size < _LARGE else 5)) + 16, self.data.dtype)
        grown[: self.size] = self.data[: self.size]
        grown[self.size :] = self.fill
        self.data = grown

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)


class Postings:
    """For each term the notes that have it, ascending, with a small code for each (how often)."""

    def __init__(self) -> None:
        self.docs = Growing(np.int32, room=1024)
        self.codes = Growing(np.uint8, room=1024)
        self._offset = Growing(np.uint32)
        self._length = Growing(np.int32)
        # Places in _SIZES, 0 for none.
        self._room = Growing(np.uint8)
        self._free: dict[int, list[int]] = {}

    @property
    def nbytes(self) -> int:
        parts = (self.docs, self.codes, self._offset, self._length, self._room)
        return sum(part.nbytes for part in parts) + 40 * sum(len(free) for free in self._free.values())

    def reach(self, lists: int) -> None:
        """Make room for `lists` lists."""
        self._offset.reach(lists)
        self._length.reach(lists)
        self._room.reach(lists)

    def length(self, number: int) -> int:
        return int(self._length.data[number])

    def of(self, number: int) -> tuple[Ints, Bytes]:
        """The postings of one list, as views that hold until the next change."""
        start = int(self._offset.data[number])
        end = start + int(self._length.data[number])
        return self.docs.data[start:end], self.codes.data[start:end]

    def append(self, numbers: Ints, docs: Ints, codes: Bytes) -> None:
        """Add notes to lists: (list, note, code) triples. A list's new notes are ascending, and above those it has."""
        order = order_of(numbers)
        lists, runs = _runs_of(numbers[order])
        lengths = self._lengthen(lists, runs)
        at = _places(self._offset.data[lists] + lengths, runs)
        self.docs.data[at] = docs[order]
        self.codes.data[at] = codes[order]

    def append_one(self, lists: Ints, doc: int, codes: Bytes) -> None:
        """append() for one note, which is in each list once: nothing is to be put in order."""
        lengths = self._lengthen(lists, 1)
        at = self._offset.data[lists] + lengths
        self.docs.data[at] = doc
        self.codes.data[at] = codes

    def _lengthen(self, lists: Ints, runs: Longs | int) -> Longs:
        """Make room for so many more notes in different lists, and count them. Returns the lengths until now."""
        lengths = self._length.data[lists].astype(np.int64)
        needed = lengths + runs
        full = np.flatnonzero(needed > _SIZE_ARRAY[self._room.data[lists]])
        if len(full):
            self._move(lists[full], lengths[full], np.searchsorted(_SIZE_ARRAY, needed[full]))
        self._length.data[lists] = needed
        return lengths

    def put(self, number: int, docs: Ints, codes: Bytes) -> None:
        """Set a whole list that is empty; notes ascending."""
        room = int(np.searchsorted(_SIZE_ARRAY, len(docs)))
        start = self._take(room)
        self.docs.data[start : start + len(docs)] = docs
        self.codes.data[start : start + len(docs)] = codes
        self._offset.data[number], self._length.data[number], self._room.data[number] = start, len(docs), room

    def load(self, lengths: Longs, pieces: Iterable[tuple[Ints, Ints, Bytes]]) -> None:
        """Set everything at once. lengths: of each list; pieces: (list, note, code) triples, a list's notes ascending.

        What is computed of a piece should fit into the processor's cache.
        """
        self.reach(len(lengths))
        classes = np.searchsorted(_SIZE_ARRAY, lengths)
        rooms = _SIZE_ARRAY[classes]
        starts = np.cumsum(rooms) - rooms
        total = int(rooms.sum())
        self.docs.reach(total)
        self.codes.reach(total)
        ends = starts.copy()
        for numbers, docs, codes in pieces:
            order = order_of(numbers)
            lists, runs = _runs_of(numbers[order])
            at = _places(ends[lists], runs)
            ends[lists] += runs
            self.docs.data[at] = docs[order]
            self.codes.data[at] = codes[order]
        known = slice(0, len(lengths))
        self._offset.data[known], self._length.data[known], self._room.data[known] = starts, lengths, classes

    def _move(self, lists: Ints, lengths: Longs, rooms: Longs) -> None:
        """Move full lists of these lengths to larger places."""
        starts = np.array([self._take(room) for room in rooms.tolist()], np.int64)
        olds = self._offset.data[lists].astype(np.int64)
        source, target = _places(olds, lengths), _places(starts, lengths)
        self.docs.data[target] = self.docs.data[source]
        self.codes.data[target] = self.codes.data[source]
        for room, old in zip(self._room.data[lists].tolist(), olds.tolist(), strict=True):
            if room:
                self._free.setdefault(room, []).append(old)
        self._offset.data[lists], self._room.data[lists] = starts, rooms

    def _take(self, room: int) -> int:
        free = self._free.get(room)
        if free:
            return free.pop()
        start = self.docs.size
        self.docs.reach(start + _SIZES[room])
        self.codes.reach(start + _SIZES[room])
        return start


def _runs_of(ordered: Ints) -> tuple[Ints, Longs]:
    """The different numbers in an ascending sequence, and how often each occurs."""
    firsts = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[firsts], np.diff(firsts, append=len(ordered))


def _places(starts: Longs, lengths: Longs) -> Longs:
    """The places of runs that begin at `starts`, run after run."""
    places: Longs = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    places += np.arange(len(places))
    return places


class Rows(Generic[S]):
    """Rows of values in one array. The row of a removed note stays until the index is loaded again."""

    __slots__ = ("_starts", "values")

    def __init__(self, dtype: type[S]) -> None:
        self.values = Growing(dtype, room=64)
        # Where each row starts, and the end of the last.
        self._starts = Growing(np.uint32)
        self._starts.append(0)

    def __len__(self) -> int:
        return self._starts.size - 1

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self._starts.nbytes

    def append(self, values: Any) -> None:
        self.values.extend(values)
        self._starts.append(self.values.size)

    def load(self, values: NDArray[S], lengths: Longs | Sequence[int]) -> None:
        """Append many rows at once, one after the other."""
        start = self.values.extend(values)
        self._starts.extend(start + np.cumsum(np.asarray(lengths, np.int64)))

    def span(self, row: int, end: int | None = None) -> slice:
        """Where the values of a row are, or of those from it on to `end`."""
        starts = self._starts.data
        return slice(int(starts[row]), int(starts[row + 1 if end is None else end]))

    def __getitem__(self, row: int) -> NDArray[S]:
        return self.values.data[self.span(row)]

    def starts(self, rows: NDArray[Any]) -> Longs:
        """The first place of some rows."""
        found: Longs = self._starts.data[rows].astype(np.int64)
        return found

    def rows_of(self, places: Longs) -> Longs:
        """The rows in which some values are."""
        found: Longs = np.searchsorted(self._starts.view, places.astype(np.uint32), "right") - 1
        return found

    def lengths(self, first: int = 0) -> Longs:
        """The length of every row from this one on."""
        ends: Longs = self._starts.view[first:].astype(np.int64)
        return ends[1:] - ends[:-1]

    def places(self, rows: NDArray[Any]) -> tuple[Longs, Longs]:
        """Where the values of several rows are, row after row, and the number of values of each row."""
        starts = self._starts.data[rows].astype(np.int64)
        lengths = self._starts.data[np.asarray(rows) + 1].astype(np.int64) - starts
        return _places(starts, lengths), lengths
