"""Repeated sentences are counted exactly, and removing a note takes back all that adding it did."""

import itertools
import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.similarity_service.model import score
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.repeats import LEAST_NOTES, LEAST_SHARE, Repeats
from services.similarity_service.model.note import HEADING, KINDS, QUIET, SENTENCE, SHORT_LINE, Note
from tests.support.similarity_collections import index_of, loaded, state
from tests.support.similarity_fakes import note

BOW = note(
    "bow", "Instrument care", "Ordered a cello bow with horsehair, and rosin for the cello. The old bow lost it."
)
SUNDAY = note("sunday", "Sunday errands", "The cello needs rosin and the bow new horsehair. Cello lesson on Sunday.")
SYLLABLES = ["ba", "cos", "dre", "fel", "gan", "hu", "jim", "ke", "lo", "mi", "nu", "pra", "sto", "ti", "ve", "zor"]
WORDS = ["".join(each) for each in itertools.product(SYLLABLES, repeat=3)]

# Few different sentences in many notes, so that each crosses the bound of boilerplate in both directions.
TEMPLATES = ["Written at home in the evening.", "What went well today, and why?", "Call the plumber about the sink."]
sentences = st.lists(st.sampled_from(TEMPLATES), max_size=4)
steps = st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), sentences)), max_size=60)


def volumes(count: int, size: int) -> list[Note]:
    """Long notes of so many sentences each, all of them different."""
    rng = random.Random(7)
    texts = ["\n".join(" ".join(rng.choices(WORDS, k=6)) + "." for _ in range(size)) for _ in range(count)]
    return [note(f"book{number}", f"Volume {number}", text) for number, text in enumerate(texts)]


def masks(index: UserIndex) -> dict[str, list[bool] | None]:
    """For each note, which of its words stand in boilerplate."""
    found = {}
    for node_id in index.ids():
        masked = index.repeats.masked(index.doc(node_id), index.live)
        found[node_id] = None if masked is None else masked.tolist()
    return found


def test_long_notes_of_different_sentences_hold_no_boilerplate() -> None:
    books = volumes(5, 4_000)
    for index in (index_of(BOW, SUNDAY, *books), loaded(BOW, SUNDAY, *books)):
        assert set(masks(index).values()) == {None}
        alone = index_of(BOW, SUNDAY)
        before = score.compare(alone, alone.doc("bow"), alone.doc("sunday")).score
        after = score.compare(index, index.doc("bow"), index.doc("sunday")).score
        assert before > 0.15
        assert abs(after - before) < 0.03


@settings(max_examples=80)
@given(steps)
def test_any_history_ends_in_the_index_of_a_fresh_load(history: list[tuple[int, list[str] | None]]) -> None:
    index, known = UserIndex(), dict[str, Note]()
    for version, (number, text) in enumerate(history):
        node_id = f"n{number}"
        if text is None:
            index.remove(node_id)
            known.pop(node_id, None)
        else:
            known[node_id] = note(
                node_id, f"Page {number}", " ".join([f"Own words of {number}.", *text]), version=version
            )
            index.add(known[node_id])
        # Asking in between must not change what comes after.
        masks(index)
    fresh = loaded(*known.values())
    assert masks(index) == masks(fresh)
    assert state(index) == state(fresh)


def test_counts_are_exact_after_many_notes_came_and_went() -> None:
    rng = random.Random(3)
    repeats, rows = Repeats(), list[list[int]]()
    kept: set[int] = set()
    for doc in range(1_500):
        rows.append(
            [
                rng.choice([0, QUIET, 4 * rng.randrange(1, 20) + rng.randrange(3), 4 * rng.randrange(40, 1 << 30)])
                for _ in range(6)
            ]
        )
        repeats.add(np.array(rows[-1], np.uint32), np.full(6, 5, np.uint16))
        kept.add(doc)
        if rng.random() < 0.9:
            gone = rng.choice(sorted(kept))
            kept.remove(gone)
            repeats.remove(gone)
    counts = Counter(code for doc in kept for code in {*rows[doc]} - {0, QUIET})
    for notes in (len(kept), 40 * len(kept)):
        every = sorted({code for row in rows for code in row} - {QUIET})
        assert [bool(each) for each in repeats.is_boilerplate(np.array(every, np.uint32), notes)] == [
            counts[code] >= max(LEAST_NOTES[code & KINDS], LEAST_SHARE[code & KINDS] * notes) for code in every
        ]
    assert {code & KINDS for code, count in counts.items() if count >= 5} == {SENTENCE, SHORT_LINE, HEADING}


def test_headings_and_short_lines_of_a_template() -> None:
    day = "## Highlights\n{}\n**Wins so far**\n{}\nMood today:\n{}\nCall it a day\n"
    notes = [note(f"d{i}", f"Day {i}", day.format(f"heron{i}", f"garlic{i}", f"rye{i}")) for i in range(3)]
    for index in (index_of(*notes), loaded(*notes)):
        masked = index.repeats.masked(0, index.live)
        assert masked is not None
        words = [index.vocabulary.word(number) for number in index.forward.sequence(0).tolist() if number >= 0]
        kept = [word for word, repeated in zip(words[len(words) - len(masked) :], masked, strict=True) if not repeated]
        # A heading is a template in three notes, a sentence in five.
        assert kept == ["heron0", "garlic0", "rye0", "call", "it", "a", "day"]


def test_memory_follows_the_sentences_that_are_there() -> None:
    repeats = Repeats()
    sizes = np.full(40, 5, np.uint16)
    for doc in range(400):
        repeats.add(4 * np.arange(1 + 40 * doc, 41 + 40 * doc, dtype=np.uint32), sizes)
        repeats.remove(doc)
    # The rows of removed notes stay until the index is loaded again; their counts do not.
    assert repeats.nbytes - repeats.hashes.nbytes - repeats.sizes.nbytes < 40 * 100
