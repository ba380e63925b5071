"""The rule that decides which notes are linked automatically. It depends on the set of notes, not on their order.

Two notes a and b are linked if and only if
  - score(a, b) reaches the threshold, which is lower the stronger the evidence is, they aren't near-duplicates, and if
    they are tiny they have more than one word in common, and
  - b is among the `max_links` best of a, or a among those of b, and each is among the MOST_LINKS best of the other
    (so that a note that everybody mentions keeps its best links only).
Near-duplicates take no place in those lists. The score is the same from both sides and depends only on the notes in the
index, so every process that applies the rule to the same notes gets the same links.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.similarity_service.model import query, score
from services.similarity_service.model.analysis import is_unspaced
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.query import SearchQuery, counts_without_boilerplate
from services.similarity_service.model.score import Contribution, Match
from services.similarity_service.model.user_settings import MOST_LINKS, UserSettings

# The default threshold rises with the number of notes, see docs/adr/0033.
_THRESHOLD, _PER_DECADE = 0.20, 0.02
# What the threshold changes by: where each note mentions the other, or one mentions a name of several words; one strong
# word; a weaker word; no mention.
EVIDENCE = (-0.10, -0.02, 0.06, 0.12)
# The weight of a mention of one word that is strong.
STRONG_WORD = 0.6
# Two notes of at most so many terms are not linked because of one of them; of so many even if it is a name.
TINY = 8
TINIEST = 3
# A word of a script without spaces, a verb with its object, has up to so many pairs of characters.
_PAIRS_OF_A_WORD = 3
EXPLAINED = 8
# A link is written again, with its reasons, when its score differs by at least this much.
RENEWED = 0.02
# Queries that are kept while the index does not change: a note is asked for once as itself and once for each partner.
_KEPT_QUERIES = 256
# After so many ranked notes, the weights of all notes are computed at once: that takes as long as some of the queries.
_MANY_RANKED = 32


@dataclass(frozen=True, slots=True)
class Link:
    """An automatic link from one note to another, with the contributions to its score."""

    node_id: str
    score: float
    contributions: tuple[Contribution, ...]


class Linker:
    """Applies the rule to notes of one index. Ranked lists are kept until the index changes."""

    def __init__(self, index: UserIndex, settings: UserSettings) -> None:
        self.index = index
        self._settings = settings
        self._epoch = index.epoch
        self._best: dict[int, dict[int, tuple[int, Match]]] = {}
        self._asked: dict[int, SearchQuery] = {}

    def best(self, node_id: str) -> list[Link]:
        """The links that are due from the note's own side: some of links(), for a fraction of its time."""
        doc = self.index.doc(node_id)
        if doc < 0 or not self._settings.auto_link:
            return []
        ranked = list(self._ranks(doc).values())[: self._settings.links_wanted]
        return [self._link(doc, match) for _, match in ranked]

    def links(self, node_id: str, explained: Callable[[str, float], bool] = lambda *_: True) -> list[Link]:
        """Every automatic link that the note should have, best first; none if the note isn't in the index.

        explained: whether a link to this note, of this score, is to have its contributions: they take most of the time.
        """
        doc = self.index.doc(node_id)
        if doc < 0 or not self._settings.auto_link:
            return []
        wanted = self._settings.links_wanted
        found = []
        for other, (rank, match) in self._ranks(doc).items():
            back = self._ranks(other).get(doc)
            if back is None or min(rank, back[0]) >= wanted:
                continue
            if explained(self.index.id(other), match.score):
                found.append(self._link(doc, match))
            else:
                found.append(Link(self.index.id(other), match.score, ()))
        return found

    def _link(self, doc: int, match: Match) -> Link:
        found = score.explain(self.index, self._query(doc), match, EXPLAINED)
        return Link(self.index.id(match.doc), match.score, tuple(found))

    def _query(self, doc: int) -> SearchQuery:
        found = self._asked.get(doc)
        if found is None:
            if len(self._asked) >= _KEPT_QUERIES:
                self._asked.clear()
            found = self._asked[doc] = query.of_doc(self.index, doc)
        return found

    def _ranks(self, doc: int) -> dict[int, tuple[int, Match]]:
        """The notes that a note could be linked to, with their rank (0 = best)."""
        if self._epoch != self.index.epoch:
            self._best.clear()
            self._asked.clear()
            self._epoch = self.index.epoch
        if doc not in self._best:
            if len(self._best) == _MANY_RANKED:
                score.keep_weights(self.index)
            asked = self._query(doc)
            least = self._settings.link_threshold or default_threshold(self.index.live) + min(EVIDENCE)
            matches = score.find(self.index, asked, MOST_LINKS, least)
            kept = [
                match
                for match in matches
                if match.score >= threshold(self._settings, self.index.live, match)
                and not is_chance(self.index, asked, match)
                and not score.is_duplicate(self.index, asked, match)
            ]
            self._best[doc] = {match.doc: (rank, match) for rank, match in enumerate(kept)}
        return self._best[doc]


class Linkers:
    """The linker of an index, made anew only when the index is another object: the user was loaded again."""

    def __init__(self, settings: UserSettings) -> None:
        self._settings = settings
        self._linker: Linker | None = None

    def of(self, index: UserIndex) -> Linker:
        """The linker of this index."""
        if self._linker is None or self._linker.index is not index:
            self._linker = Linker(index, self._settings)
        return self._linker


def threshold(settings: UserSettings, notes: int, match: Match) -> float:
    """The score that two notes need to be linked: the user's, or by default one that follows the evidence."""
    if settings.link_threshold:
        return settings.link_threshold
    strong, plain, weak, none = EVIDENCE
    mention = max(match.mentions, match.mentioned_by)
    if not mention:
        change = none
    elif match.name_terms > 1 or (match.mentions and match.mentioned_by):
        change = strong
    else:
        change = plain if mention >= STRONG_WORD else weak
    # Among few notes, words that two of them share are not yet shared by chance.
    return default_threshold(notes) + (change * _crowd(notes) if change > 0 else change)


def default_threshold(notes: int) -> float:
    """The default for notes of which one mentions the other by one strong word: 0.25 of 300, 0.28 of 10,000.

    The best of many unrelated notes scores higher than the best of few, as the highest of many dice does.
    """
    return _THRESHOLD + _PER_DECADE * math.log10(max(10, notes))


def _crowd(notes: int) -> float:
    """0 for up to 10 notes, 1 from 300 on."""
    return min(1.0, max(0.0, math.log10(max(1, notes)) - 1) / 1.5)


def is_chance(index: UserIndex, query: SearchQuery, match: Match) -> bool:
    """Whether two tiny notes have but one word in common."""
    terms = index.forward.terms[match.doc]
    if max(len(query.numbers), len(terms)) > (TINIEST if match.name_terms else TINY):
        return False
    numbers, weights, _ = query.ascending
    other = terms[counts_without_boilerplate(index, match.doc) > 0]
    shared = numbers[weights > 0]
    words = [index.vocabulary.word(number) for number in shared[np.isin(shared, other)].tolist()]
    pairs = sum(map(is_unspaced, words))
    return len(words) - pairs + -(-pairs // _PAIRS_OF_A_WORD) < 2
