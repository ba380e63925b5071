"""Items that wait in one line for each user, and are taken user by user in turn: a long line delays no other one."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Lines(Generic[T]):
    """Lines of users. Every operation takes a time that does not depend on how much waits."""

    def __init__(self) -> None:
        # The user whose turn it is comes first.
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()
        self._size = 0
        # Length -> the users whose lines have it (a dict as an ordered set); none is empty. And the greatest length.
        self._by_length: dict[int, dict[str, None]] = {}
        self._longest = 0

    def __len__(self) -> int:
        return self._size

    def add(self, user_id: str, item: T) -> None:
        """Put an item at the end of the user's line."""
        line = self._lines.setdefault(user_id, deque())
        line.append(item)
        self._resized(user_id, len(line), by=1)

    def next(self) -> T:
        """The item whose turn it is. IndexError when nothing waits."""
        if not self._lines:
            raise IndexError("nothing waits")
        return self._lines[next(iter(self._lines))][0]

    def take(self) -> T:
        """Remove and return the item whose turn it is; then it is another user's turn. IndexError as next()."""
        item = self.next()
        user_id, line = self._lines.popitem(last=False)
        line.popleft()
        if line:
            self._lines[user_id] = line
        self._resized(user_id, len(line), by=-1)
        return item

    def waiting(self, user_id: str) -> int:
        """How many items of a user wait."""
        return len(self._lines.get(user_id, ()))

    def longest(self) -> str:
        """The user for whom most items wait, "" when nothing waits."""
        return next(iter(self._by_length[self._longest])) if self._longest else ""

    def drop_last(self, user_id: str) -> T:
        """Remove and return the last item of a user's line. KeyError when the user has none."""
        line = self._lines[user_id]
        item = line.pop()
        if not line:
            del self._lines[user_id]
        self._resized(user_id, len(line), by=-1)
        return item

    def clear(self) -> None:
        """Remove all items."""
        self._lines.clear()
        self._by_length.clear()
        self._size = self._longest = 0

    def _resized(self, user_id: str, length: int, *, by: int) -> None:
        """Note that the user's line has this length, which was changed by 1 or -1."""
        self._size += by
        before = length - by
        if before:
            del self._by_length[before][user_id]
            if not self._by_length[before]:
                del self._by_length[before]
        if length:
            self._by_length.setdefault(length, {})[user_id] = None
        if length > self._longest or self._longest not in self._by_length:
            self._longest = length
