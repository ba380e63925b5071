"""Keywords: terms that are frequent in a note and rare in other notes, in a form that people read.

The weight is (1 + ln tf) * idf. The keyphrase extractors RAKE and YAKE were measured, and chose worse.
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from services.similarity_service.model.analysis import is_numeric, is_particle
from services.similarity_service.model.engine.arrays import Floats
from services.similarity_service.model.engine.index import LOG_TF, UserIndex
from services.similarity_service.model.engine.vocabulary import NUMBER, PARTICLE, STOP
from services.similarity_service.model.note import NARROW, WIDE, Note

SALIENT = 10
# Two words are one keyword when they stand together in at least this share of the rarer one's occurrences.
_TOGETHER = 0.6


@dataclass(frozen=True, slots=True)
class Keyword:
    """form: as a person writes it. term: as the index knows it. weight: in (0, 1], relative to the strongest."""

    form: str
    term: str
    weight: float
    df: int


def salient(index: UserIndex, note: Note, limit: int = SALIENT) -> tuple[tuple[int, int], ...]:
    """(local number, weight in 1..255) of a note's most telling terms, best first; the note may be in the index or
    not.
    """
    weights = _weights(index, note)
    order = weights.tolist()
    places = sorted(np.flatnonzero(weights > 0).tolist(), key=lambda n: (-order[n], note.terms[n]))
    chosen = list(islice((n for n in places if _is_word(note, n)), limit))
    if not chosen:
        return ()
    shares = weights[chosen] / weights[chosen[0]]
    return tuple((n, max(1, round(255 * share))) for n, share in zip(chosen, shares.tolist(), strict=True))


def keywords(index: UserIndex, note: Note, limit: int) -> list[Keyword]:
    """The keywords of a note or text, best first; neighbours that belong together are joined into a phrase."""
    best = salient(index, note, 2 * limit)
    weight = {number: value / 255 for number, value in best}
    pairs = _phrases(note, set(weight))
    found: list[Keyword] = []
    used: set[int] = set()
    for number, value in weight.items():
        if number in used:
            continue
        phrase = next((pair for pair in pairs if number in pair and not used & set(pair)), (number,))
        used.update(phrase)
        term = " ".join(note.terms[n] for n in phrase)
        df = min(_df(index, note.terms[n]) for n in phrase)
        found.append(Keyword(_joined([note.form(n) for n in phrase]), term, value, df))
        if len(found) == limit:
            break
    return found


def _weights(index: UserIndex, note: Note) -> Floats:
    vocabulary = index.vocabulary
    numbers = vocabulary.numbers(note.terms)
    known = numbers >= 0
    df = np.where(known, vocabulary.df.data[numbers], 0)
    inside = int(note.node_id in index)
    idf = np.log1p((index.live + 1 - inside) / (np.maximum(df - inside, 0) + 1))
    weights = LOG_TF[np.frombuffer(note.codes, np.uint8)] * idf
    weights[known & ((vocabulary.flags.data[numbers] & (STOP | NUMBER | PARTICLE)) > 0)] = 0
    silent = index.analyser.stop_terms
    for place in np.flatnonzero(~known).tolist():
        term = note.terms[place]
        if term in silent or is_numeric(term) or is_particle(term):
            weights[place] = 0
    found: Floats = weights.astype(np.float32)
    return found


def _df(index: UserIndex, term: str) -> int:
    number = index.vocabulary.number(term)
    return int(index.vocabulary.df.data[number]) if number >= 0 else 0


def _is_word(note: Note, number: int) -> bool:
    term = note.terms[number]
    if "@" in term:
        return False
    return len(term) > 1 or not term.isascii() or note.form(number).isupper()


def _phrases(note: Note, chosen: set[int]) -> list[tuple[int, ...]]:
    """Chosen terms that nearly always stand together, the most frequent pairs first."""
    counts: dict[int, int] = {}
    pairs: dict[tuple[int, int], int] = {}
    # The same with the title counted twice: a title that the text does not repeat may be a phrase, too.
    weighted: dict[tuple[int, int], int] = {}
    separator = WIDE if note.wide else NARROW
    last = separator
    times = 2
    for number in note.numbers():
        if number in chosen:
            counts[number] = counts.get(number, 0) + 1
            if last in chosen and last != number:
                pairs[last, number] = pairs.get((last, number), 0) + 1
                weighted[last, number] = weighted.get((last, number), 0) + times
        elif number == separator:
            times = 1
        last = number
    kept = [
        (weighted[pair], pair)
        for pair, count in pairs.items()
        if weighted[pair] >= 2 and count >= _TOGETHER * min(counts[pair[0]], counts[pair[1]])
        and not _contains(note.terms[pair[0]], note.terms[pair[1]])
    ]  # fmt: skip
    return [pair for _, pair in sorted(kept, key=lambda item: (-item[0], item[1]))]


def _contains(one: str, other: str) -> bool:
    """tcp/ip and tcp: a compound and its part."""
    return one in other or other in one


def _joined(forms: list[str]) -> str:
    if len(forms) == 2 and not forms[0].isascii() and forms[0][-1] == forms[1][0] and len(forms[0]) == 2:
        return forms[0] + forms[1][1:]  # bigrams of a language without spaces
    return " ".join(forms)
