"""Many short numbered strings in little memory: their bytes in one array, and a table of hashes to find them.

A dict and a list of str cost about 150 bytes a string; this costs about 35 and its letters. Strings are compared by
Python's 64-bit hash: two of a million have the same hash with a probability of 3e-8, and then count as one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.engine.arrays import Ints, Rows

Hashes = NDArray[np.uint64]
_MASK = (1 << 64) - 1
_SPREAD = 0x9E3779B97F4A7C15
# At most this many are looked up one by one, which is faster.
_FEW = 12


class HashTable:
    """hash -> number, open addressing with steps that grow; at most half full.

    code_type: of the hashes, unsigned; 0 is no hash. number_type, none: of the numbers, and which of them means that
    there is no number.
    """

    __slots__ = ("_code_type", "_key", "_keys", "_none", "_number", "_number_type", "_numbers", "size")

    def __init__(
        self, code_type: type[np.unsignedinteger] = np.uint64, number_type: type[np.integer] = np.int32, none: int = -1
    ) -> None:
        self._code_type = code_type
        self._number_type = number_type
        self._none = none
        self._empty(256)
        # Hashes in the table, those of dropped numbers included.
        self.size = 0

    @property
    def nbytes(self) -> int:
        return int(self._keys.nbytes + self._numbers.nbytes)

    def get(self, code: int) -> int:
        """The number of one hash, `none` if there is none."""
        slot = self._slot(code)
        return self._number[slot] if self._key[slot] == code else self._none

    def set(self, code: int, number: int) -> None:
        """Give a hash a number; `none` takes it away."""
        slot = self._slot(code)
        if self._key[slot] != code:
            if 2 * self.size >= len(self._keys):
                self._make_room(1)
                slot = self._slot(code)
            self._key[slot] = code
            self.size += 1
        self._number[slot] = number

    def get_all(self, codes: Hashes) -> Ints:
        """The numbers of many hashes of 64 bits; -1 for none."""
        mask = len(self._keys) - 1
        slots = codes.view(np.int64) & mask
        keys = self._keys[slots]
        found: Ints = self._numbers[slots]
        other = keys != codes
        found[other] = -1
        left = (other & (keys != 0)).nonzero()[0]
        step = 0
        while len(left) > _FEW:
            step += 1
            slots = (slots[left] if step == 1 else slots) + step & mask
            keys, sought = self._keys[slots], codes[left]
            found[left] = np.where(keys == sought, self._numbers[slots], np.int32(-1))
            on = ((keys != sought) & (keys != 0)).nonzero()[0]
            left, slots = left[on], slots[on]
        for place, code in zip(left.tolist(), codes[left].tolist(), strict=True):
            found[place] = self.get(code)
        return found

    def set_all(self, codes: NDArray[np.unsignedinteger], numbers: NDArray[np.integer]) -> None:
        """Give numbers to many hashes that are new and different."""
        if len(codes) <= _FEW:
            for code, number in zip(codes.tolist(), numbers.tolist(), strict=True):
                self.set(code, number)
            return
        self._make_room(len(codes))
        self._place(codes, numbers)
        self.size += len(codes)

    def _slot(self, code: int) -> int:
        keys = self._key
        mask = len(keys) - 1
        slot = code & mask
        step = 0
        while True:
            key = keys[slot]
            if key == code or not key:
                return slot
            step += 1
            slot = (slot + step) & mask

    def _make_room(self, more: int) -> None:
        """Make the table large enough for so many more hashes, without those of dropped numbers."""
        size = len(self._keys)
        if 2 * (self.size + more) <= size:
            return
        used = self._numbers != self._none
        codes, numbers = self._keys[used], self._numbers[used]
        while 2 * (len(codes) + more) > size:
            size *= 2
        # A table that would soon be full again is not worth the work.
        if size == len(self._keys) and 4 * (len(codes) + more) > size:
            size *= 2
        self._empty(size)
        self._place(codes, numbers)
        self.size = len(codes)

    def _empty(self, size: int) -> None:
        self._keys: NDArray[Any] = np.zeros(size, self._code_type)
        self._numbers: NDArray[Any] = np.full(size, self._none, self._number_type)
        # The same numbers as Python's integers, which are read in a third of the time.
        self._key, self._number = self._keys.data, self._numbers.data

    def _place(self, codes: NDArray[Any], numbers: NDArray[Any]) -> None:
        mask = len(self._keys) - 1
        slots = (codes & self._code_type(mask)).astype(np.int64)
        step = 0
        while len(codes):
            free = np.flatnonzero(self._keys[slots] == 0)
            # Of the strings with one free slot, the one that is written last gets it; the others try the next slot.
            self._keys[slots[free]] = codes[free]
            other = self._keys[slots] != codes
            have, left = np.flatnonzero(~other), np.flatnonzero(other)
            self._numbers[slots[have]] = numbers[have]
            step += 1
            codes, numbers = codes[left], numbers[left]
            slots = slots[left] + step & mask


class Strings:
    """Strings by number and numbers by string. Numbers rise from 0 in the order of adding."""

    __slots__ = ("_letters", "_table")

    def __init__(self) -> None:
        self._table = HashTable()
        self._letters = Rows(np.uint8)

    def __len__(self) -> int:
        return len(self._letters)

    def __getitem__(self, number: int) -> str:
        return self._letters[number].tobytes().decode()

    @property
    def nbytes(self) -> int:
        return self._table.nbytes + self._letters.nbytes

    def number(self, string: str) -> int:
        """The number of a string; -1 if it is unknown or was dropped."""
        return self._table.get(code_of(string))

    def numbers(self, strings: Sequence[str]) -> Ints:
        """The numbers of many strings."""
        if len(strings) <= _FEW:
            return np.array([self.number(string) for string in strings], np.int32)
        return self._table.get_all(codes_of(strings))

    def add(self, string: str) -> int:
        """Add a string that number() doesn't know; returns its number."""
        number = len(self._letters)
        self._letters.append(np.frombuffer(string.encode(), np.uint8))
        self._table.set(code_of(string), number)
        return number

    def add_all(self, strings: Sequence[str]) -> None:
        """Add many strings that are new and different."""
        if not strings:
            return
        first = len(self._letters)
        letters = [string.encode() for string in strings]
        self._letters.load(np.frombuffer(b"".join(letters), np.uint8), [len(each) for each in letters])
        self._table.set_all(codes_of(strings), np.arange(first, first + len(strings), dtype=np.int32))

    def drop(self, string: str) -> None:
        """Remove the number of a string from the table; the letters stay."""
        self._table.set(code_of(string), -1)


class SparseStrings:
    """Strings for some of many numbers from 0 on."""

    __slots__ = ("_letters", "_rows")

    def __init__(self) -> None:
        self._letters = Rows(np.uint8)
        # Place of the string, by the number times an odd number, which spreads them.
        self._rows = HashTable()

    @property
    def nbytes(self) -> int:
        return self._letters.nbytes + self._rows.nbytes

    def get(self, number: int) -> str:
        """ "" for none."""
        row = self._rows.get((number + 1) * _SPREAD & _MASK)
        return self._letters[row].tobytes().decode() if row >= 0 else ""

    def add_all(self, strings: Mapping[int, str]) -> None:
        """Give strings to numbers that have none."""
        if not strings:
            return
        codes = (np.fromiter(strings, np.uint64, len(strings)) + np.uint64(1)) * np.uint64(_SPREAD)
        letters = [string.encode() for string in strings.values()]
        first = len(self._letters)
        self._letters.load(np.frombuffer(b"".join(letters), np.uint8), [len(each) for each in letters])
        self._rows.set_all(codes, np.arange(first, first + len(letters), dtype=np.int32))


def code_of(string: str) -> int:
    """A string's hash, never 0."""
    return hash(string) & _MASK or 1


def codes_of(strings: Sequence[str]) -> Hashes:
    """The hashes of many strings, never 0."""
    codes = np.fromiter(map(hash, strings), np.int64, len(strings)).view(np.uint64)
    codes[codes == 0] = 1
    return codes
