"""Growable numpy arrays, and many lists in one array: what keeps an index of a million notes in one piece of memory.

A Python list of small numpy arrays costs over 100 bytes a term before the first posting; here a term costs 16.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
S = TypeVar("S", bound=np.generic)

# Room for a list of postings: steps of about a third, so that a quarter of the space is slack at worst on average.
_SIZES = [1, 2, 3, 4, 6, 8]
while _SIZES[-1] < 1 << 30:
    _SIZES += [_SIZES[-2] * 2, _SIZES[-1] * 2]
_SIZE_ARRAY = np.array(_SIZES, np.int64)


class Growing(Generic[S]):
    """An array with room at its end. `data` may move when it grows: don't keep it over a call."""

    __slots__ = ("data", "fill", "size")

    def __init__(self, dtype: type[S], fill: int | float = 0, room: int = 16) -> None:
        self.data: NDArray[S] = np.full(room, fill, dtype)
        self.fill = fill
        self.size = 0

    @property
    def view(self) -> NDArray[S]:
        """What is in use."""
        return self.data[: self.size]

    def reach(self, size: int) -> None:
        """Make it at least so long; new places hold the fill value."""
        if size > len(self.data):
            grown = np.full(max(size, len(self.data) * 5 // 4 + 16), self.fill, self.data.dtype)
            grown[: self.size] = self.data[: self.size]
            self.data = grown
        self.size = max(self.size, size)

    def append(self, value: int | float | bool) -> int:
        """Add one value; returns its place."""
        place = self.size
        self.reach(place + 1)
        self.data[place] = value
        return place

    def extend(self, values: Any) -> int:
        """Add many values; returns the place of the first."""
        place = self.size
        self.reach(place + len(values))
        self.data[place : place + len(values)] = values
        return place

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)


class Postings:
    """For each term the notes that have it, with a small code for each (how often)."""

    def __init__(self) -> None:
        self.docs = Growing(np.int32, room=1024)
        self.codes = Growing(np.uint8, room=1024)
        self._offset = Growing(np.int64)
        self._length = Growing(np.int32)
        self._room = Growing(np.int32)
        self._free: dict[int, list[int]] = {}

    @property
    def nbytes(self) -> int:
        parts = (self.docs, self.codes, self._offset, self._length, self._room)
        return sum(part.nbytes for part in parts) + 40 * sum(len(free) for free in self._free.values())

    def reach(self, lists: int) -> None:
        """Make room for so many lists."""
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

    def append(self, numbers: Ints, doc: int, codes: Bytes) -> None:
        """Add one note to several lists (each at most once)."""
        lengths = self._length.data[numbers]
        for number in numbers[lengths == self._room.data[numbers]].tolist():
            self._move(number)
        at = self._offset.data[numbers] + lengths
        self.docs.data[at] = doc
        self.codes.data[at] = codes
        self._length.data[numbers] = lengths + 1

    def put(self, number: int, docs: Ints, codes: Bytes) -> None:
        """Set a whole list that is empty."""
        room = int(_SIZE_ARRAY[np.searchsorted(_SIZE_ARRAY, max(1, len(docs)))])
        start = self._take(room)
        self.docs.data[start : start + len(docs)] = docs
        self.codes.data[start : start + len(docs)] = codes
        self._offset.data[number], self._length.data[number], self._room.data[number] = start, len(docs), room

    def load(self, numbers: Ints, docs: Ints, codes: Bytes, lists: int) -> None:
        """Set everything at once: (list, note, code) triples in any order, notes of a list kept in theirs."""
        self.reach(lists)
        order = np.argsort(numbers, kind="stable")
        lengths = np.bincount(numbers, minlength=lists)
        rooms = np.where(lengths == 0, 0, _SIZE_ARRAY[np.searchsorted(_SIZE_ARRAY, np.maximum(lengths, 1))])
        starts = np.cumsum(rooms) - rooms
        total = int(rooms.sum())
        within = np.arange(len(numbers)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        at = np.repeat(starts, lengths) + within
        self.docs.reach(total)
        self.codes.reach(total)
        self.docs.data[at] = docs[order]
        self.codes.data[at] = codes[order]
        self._offset.data[:lists], self._length.data[:lists], self._room.data[:lists] = starts, lengths, rooms

    def _move(self, number: int) -> None:
        """Give a full list more room."""
        room, length = int(self._room.data[number]), int(self._length.data[number])
        wider = int(_SIZE_ARRAY[np.searchsorted(_SIZE_ARRAY, room + 1)])
        start, old = self._take(wider), int(self._offset.data[number])
        if length:
            self.docs.data[start : start + length] = self.docs.data[old : old + length]
            self.codes.data[start : start + length] = self.codes.data[old : old + length]
            self._free.setdefault(room, []).append(old)
        self._offset.data[number], self._room.data[number] = start, wider

    def _take(self, room: int) -> int:
        free = self._free.get(room)
        if free:
            return free.pop()
        start = self.docs.size
        self.docs.reach(start + room)
        self.codes.reach(start + room)
        return start


class Rows(Generic[S]):
    """One row of values for each note, in one array; the row of a removed note is garbage until a rebuild."""

    __slots__ = ("lengths", "starts", "values")

    def __init__(self, dtype: type[S]) -> None:
        self.values = Growing(dtype, room=1024)
        self.starts = Growing(np.int64)
        self.lengths = Growing(np.int32)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.starts.nbytes + self.lengths.nbytes

    def append(self, values: Any) -> None:
        self.starts.append(self.values.extend(values))
        self.lengths.append(len(values))

    def load(self, values: NDArray[S], lengths: Sequence[int]) -> None:
        """Append many rows at once, one after the other."""
        sizes = np.array(lengths, np.int64)
        start = self.values.extend(values)
        self.starts.extend(start + np.cumsum(sizes) - sizes)
        self.lengths.extend(sizes)

    def span(self, row: int) -> slice:
        start = int(self.starts.data[row])
        return slice(start, start + int(self.lengths.data[row]))

    def __getitem__(self, row: int) -> NDArray[S]:
        return self.values.data[self.span(row)]

    def places(self, rows: NDArray[Any]) -> tuple[Longs, Longs]:
        """Where the values of several rows are, row after row, and the number of values of each row."""
        lengths = self.lengths.data[rows].astype(np.int64)
        shift = self.starts.data[rows] - (np.cumsum(lengths) - lengths)
        return np.arange(int(lengths.sum())) + np.repeat(shift, lengths), lengths
