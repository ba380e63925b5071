"""Which notes exist and what they are called: asked of the node service, remembered for a short while.

Only what exists is remembered: a note that is missing now may be created in a moment. Deletions arrive through the
channel of invalidations, and the hidden set is asked besides, so a remembered note that was deleted is no harm.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from services.graph_service.ports import NodeDirectory
from shared.ids import Clock


class Existence:
    """entries: notes remembered in all; ttl: seconds."""

    def __init__(self, directory: NodeDirectory, clock: Clock, *, entries: int = 50_000, ttl: float = 30.0) -> None:
        self._directory = directory
        self._clock = clock
        self._entries = entries
        self._ttl = ttl
        self._known: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    async def titles(self, user: str, notes: Collection[str]) -> Mapping[str, str]:
        """id -> title of those that exist and aren't deleted; one call for all that isn't remembered."""
        now = self._clock.monotonic()
        found: dict[str, str] = {}
        unknown: list[str] = []
        for note in dict.fromkeys(notes):
            known = self._known.get((user, note))
            if known is not None and now < known[0]:
                found[note] = known[1]
            else:
                unknown.append(note)
        if unknown:
            asked = await self._directory.live(user, unknown)
            for note, title in asked.items():
                self.remember(user, note, title)
            found.update(asked)
        return found

    async def missing(self, user: str, notes: Collection[str]) -> list[str]:
        """Those that don't exist or are deleted."""
        found = await self.titles(user, notes)
        return [note for note in dict.fromkeys(notes) if note not in found]

    def remember(self, user: str, note: str, title: str) -> None:
        key = (user, note)
        self._known[key] = (self._clock.monotonic() + self._ttl, title)
        self._known.move_to_end(key)
        while len(self._known) > self._entries:
            self._known.popitem(last=False)

    def forget(self, user: str, notes: Sequence[str]) -> None:
        for note in notes:
            self._known.pop((user, note), None)
