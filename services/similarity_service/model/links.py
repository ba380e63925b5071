"""Which notes are linked automatically: a rule about the set of notes, not about the order in which they came.

Two notes a and b are linked if and only if
  - score(a, b) reaches the threshold, and they aren't near-duplicates, and
  - b is among the `max_links` best of a, or a among those of b, and each is among the MOST_LINKS best of the other
    (so that a note that everybody mentions keeps its best links only).
Near-duplicates take no place in those lists. Since the score is the same from both sides and depends only on the notes
that are there, whoever applies the rule to the same notes comes to the same links.
"""

from dataclasses import dataclass

from services.similarity_service.model import query, similarity
from services.similarity_service.model.index import UserIndex
from services.similarity_service.model.settings import MOST_LINKS, Settings
from services.similarity_service.model.similarity import Match, Part

# The default threshold, see docs/adr/0033.
THRESHOLD = 0.22
EXPLAINED = 8


@dataclass(frozen=True, slots=True)
class Link:
    """An automatic link from the note that is asked about, and why."""

    node_id: str
    score: float
    parts: tuple[Part, ...]


class Linker:
    """Applies the rule to notes of one index as it is now; what it computes is kept until the index changes."""

    def __init__(self, index: UserIndex, settings: Settings) -> None:
        self._index = index
        self._settings = settings
        self._threshold = threshold(settings)
        self._epoch = index.epoch
        self._best: dict[int, dict[int, tuple[int, Match]]] = {}

    def links(self, node_id: str) -> list[Link]:
        """Every automatic link that the note should have, best first; none if the note isn't in the index."""
        if self._epoch != self._index.epoch:
            self._best.clear()
            self._epoch = self._index.epoch
        doc = self._index.docs.get(node_id)
        if doc is None or not self._settings.auto_link:
            return []
        wanted = self._settings.links_wanted
        asked = query.of_doc(self._index, doc)
        found = []
        for other, (rank, match) in self._ranks(doc).items():
            back = self._ranks(other).get(doc)
            if back is None or min(rank, back[0]) >= wanted:
                continue
            parts = similarity.explain(self._index, asked, match)[:EXPLAINED]
            found.append(Link(self._index.ids[other], match.score, tuple(parts)))
        return found

    def _ranks(self, doc: int) -> dict[int, tuple[int, Match]]:
        """The notes that a note could be linked to, with their rank (0 = best)."""
        if doc not in self._best:
            asked = query.of_doc(self._index, doc)
            matches = similarity.find(self._index, asked, MOST_LINKS, self._threshold)
            kept = [match for match in matches if not similarity.is_duplicate(self._index, asked, match)]
            self._best[doc] = {match.doc: (rank, match) for rank, match in enumerate(kept)}
        return self._best[doc]


def threshold(settings: Settings) -> float:
    """The score that a link needs."""
    return settings.link_threshold or THRESHOLD
