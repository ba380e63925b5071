"""The index: the same notes give the same answers, however they came in."""

import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.similarity_service.model import score
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.loading import Loading
from services.similarity_service.model.note import NARROW, Note
from tests.support.similarity_collections import collections, index_of, loaded, loading, state
from tests.support.similarity_fakes import note


@settings(max_examples=60)
@given(collections, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(notes: list[Note], rng: random.Random) -> None:
    shuffled = list(notes)
    rng.shuffle(shuffled)
    assert state(index_of(*notes)) == state(index_of(*shuffled)) == state(loaded(*shuffled))


@settings(max_examples=60)
@given(collections, st.integers(1, 8))
def test_adding_notes_together_is_adding_each(notes: list[Note], together: int) -> None:
    index = UserIndex()
    index.add(notes[0])  # it is replaced by itself
    for first in range(0, len(notes), together):
        index.add_all(notes[first : first + together])
    assert state(index) == state(index_of(*notes))


@settings(max_examples=20)
@given(collections)
def test_the_weights_of_terms_follow_the_notes(notes: list[Note]) -> None:
    index = UserIndex()
    for each in notes:
        index.add(each)
        every = np.arange(len(index.vocabulary), dtype=np.int32)
        for _ in range(3):  # computed for these terms, then kept for all
            assert index.idf(every).tolist() == index.vocabulary.idf(every, index.live).tolist()
    index.remove(notes[0].node_id)
    assert index.idf(every).tolist() == index.vocabulary.idf(every, index.live).tolist()


@settings(max_examples=60)
@given(collections, collections)
def test_what_was_removed_leaves_no_trace(notes: list[Note], others: list[Note]) -> None:
    index = index_of(*others)
    for other in others:
        assert index.remove(other.node_id)
    assert not index.remove("n0")
    assert index.live == 0
    for each in notes:
        index.add(each)
    index.add(notes[0])  # again: in place of itself
    assert state(index) == state(index_of(*notes))


def test_an_update_replaces() -> None:
    index = index_of(note("a", "Sea", "sea"), note("b", "Stone", "stone"))
    index.add(note("a", "Stone", "stone", version=2))
    assert index.live == 2
    assert index.stamp("a") == (0, 2)
    assert index.vocabulary.df.data[index.vocabulary.number("sea")] == 0
    assert index.title(index.doc("a")) == "Stone"


def test_load_fills_empty_indexes_only() -> None:
    with pytest.raises(ValueError, match="empty"):
        index_of(note("a", "x")).load(loading(note("b", "y")))


@settings(max_examples=60)
@given(collections)
def test_loading_notes_is_adding_them(notes: list[Note]) -> None:
    one, other = index_of(*notes), loaded(*notes)
    for node_id in one.ids():
        a, b = one.doc(node_id), other.doc(node_id)
        assert words_of(one, one.forward.terms[a]) == words_of(other, other.forward.terms[b])
        assert words_of(one, one.forward.sequence(a)) == words_of(other, other.forward.sequence(b))
        assert set(words_of(one, one.titles.names[a])) == set(words_of(other, other.titles.names[b]))
        assert one.forward.codes_of(a).tolist() == other.forward.codes_of(b).tolist()
        assert one.stamp(node_id) == other.stamp(node_id)
        assert one.inverse_norm.data[a] == pytest.approx(other.inverse_norm.data[b])


def words_of(index: UserIndex, numbers: Any) -> list[tuple[str, str]]:
    """Terms and how they read; no term (-1) is ""."""
    vocabulary = index.vocabulary
    return [(vocabulary.word(n), vocabulary.form(n)) if n >= 0 else ("", "") for n in numbers.tolist()]


def test_long_notes() -> None:
    text = " ".join(f"word{n}" for n in range(400)) + " relational database"
    index = index_of(note("long", "Long", text), note("db", "Relational database", "tables"))
    assert index.forward.is_wide(index.doc("long"))
    assert state(index) == state(loaded(note("db", "Relational database", "tables"), note("long", "Long", text)))
    match = score.compare(index, index.doc("long"), index.doc("db"))
    assert match.mentions > 0


def test_memory_is_accounted() -> None:
    index = UserIndex()
    empty = index.nbytes
    for n in range(300):
        index.add(note(f"n{n}", f"Title {n}", f"text number {n} about thing{n} and word{n % 7}"))
    assert empty < index.nbytes < empty + 300 * 2_000


def test_loading_takes_little_more_memory_than_the_index() -> None:
    def measured(count: int) -> tuple[int, int]:
        """Bytes at the peak of loading, and of the index."""
        tracemalloc.start()
        try:
            taken = Loading()
            for first in range(0, count, 200):
                taken.take([codec.packed(each) for each in notes[first : min(first + 200, count)]])
            index = UserIndex()
            index.load(taken)
            return tracemalloc.get_traced_memory()[1], index.nbytes
        finally:
            tracemalloc.stop()

    rng = random.Random(1)
    words = [f"word{n}" for n in range(3_000)]
    notes = [
        Note(f"n{n}", 1, "", tuple(rng.sample(words, 50)), b"\1" * 50, bytes([NARROW, *range(50)]))
        for n in range(16_000)
    ]
    few, many = measured(8_000), measured(16_000)
    # What each further note adds; many times that if all records were kept until the end.
    assert (many[0] - few[0]) / (many[1] - few[1]) < 2.5


def test_each_word_of_a_term_has_the_form_that_came_first() -> None:
    notes = [
        note("a", "", "DATABASES"),
        note("b", "", "Database and databases"),  # both words occur: the form is that of one of them
        note("c", "", "Database"),
        note("d", "", "See `Databasing`."),  # no word of it is heard
    ]
    both = [index_of(*notes), loaded(*notes)]
    for index in both:
        number = index.vocabulary.number("databas")
        shown = [index.vocabulary.form(number, int(index.forward.variants_of(doc)[0])) for doc in range(3)]
        assert shown == ["DATABASES", "Database", "Database"]
        quiet = index.analyser.variant(("databas", "databasing"))
        assert index.vocabulary.form(number, quiet) == "Databasing"
