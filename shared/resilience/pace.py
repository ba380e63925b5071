"""Leaves out rounds of a poll that finds nothing, so that an idle process asks the stores for little."""


class IdlePace:
    """after: rounds that find nothing until further ones are left out. rests: rounds that are then left out each time.

    Call due() at each round, and found() with the result of a round that was made. busy() ends the rest at once.
    """

    def __init__(self, *, after: int, rests: int) -> None:
        self._after = after
        self._rests = rests
        self._empty = 0
        self._left = 0

    def due(self) -> bool:
        """Whether this round is to be made."""
        if self._left > 0:
            self._left -= 1
            return False
        return True

    def found(self, something: bool) -> None:
        """The result of a round."""
        self._empty = 0 if something else self._empty + 1
        self._left = self._rests if self._empty >= self._after else 0

    def busy(self) -> None:
        """There may be something to find: make the next rounds again."""
        self._empty = self._left = 0
