"""Scores: in [0, 1], the same from both sides, explained to the last part."""

import numpy as np
import pytest
from hypothesis import given, settings

from services.similarity_service.model import query, score
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.note import Note, analyse
from tests.support.similarity_collections import SHELF, collections, index_of
from tests.support.similarity_fakes import note


def find(index: UserIndex, node_id: str, limit: int = 10) -> dict[str, score.Match]:
    found = score.find(index, query.of_doc(index, index.doc(node_id)), limit)
    return {index.id(match.doc): match for match in found}


@settings(max_examples=60)
@given(collections)
def test_symmetric_bounded_and_explained(notes: list[Note]) -> None:
    index = index_of(*notes)
    for one in notes:
        asked = query.of_doc(index, index.doc(one.node_id))
        for node_id, match in find(index, one.node_id).items():
            assert 0 < match.score <= 1
            back = score.compare(index, index.doc(node_id), index.doc(one.node_id))
            assert back.score == pytest.approx(match.score, abs=1e-6)
            parts = score.explain(index, asked, match)
            assert sum(part.amount for part in parts) == pytest.approx(match.score, abs=1e-5)
            assert all(part.amount > 0 for part in parts)


@settings(max_examples=40)
@given(collections)
def test_weights_that_are_kept_are_those_that_are_computed(notes: list[Note]) -> None:
    # Their first sentence is boilerplate, which has no weight.
    template = [note(f"t{n}", f"Form {n}", f"Please fill in all fields of this form.\nAnswer {n}") for n in range(6)]
    index = index_of(*notes, *template)
    docs = np.arange(index.size)
    asked = [query.of_doc(index, doc) for doc in docs.tolist()]
    computed = [score.likenesses(index, each, docs).tolist() for each in asked]
    score.keep_weights(index)
    assert index.computed.weights is not None
    assert [score.likenesses(index, each, docs).tolist() for each in asked] == computed
    index.remove(notes[0].node_id)
    assert index.computed.weights is None, "the index has changed"


def test_what_belongs_together() -> None:
    index = index_of(*SHELF)
    assert set(list(find(index, "postgres"))[:2]) == {"sqlite", "relational"}
    assert list(find(index, "bread")) == ["pizza"]


def test_a_mention_of_the_title_counts_most() -> None:
    index = index_of(*SHELF)
    match = find(index, "sqlite")["postgres"]
    assert match.mentions > 0
    assert match.mentioned_by == 0
    assert find(index, "postgres")["sqlite"].mentioned_by == pytest.approx(match.mentions)
    asked = query.of_doc(index, index.doc("sqlite"))
    assert score.mentioned_name(index, asked, index.doc("postgres")) == "PostgreSQL"
    back = query.of_doc(index, index.doc("postgres"))
    assert score.mentioning_name(index, back, index.doc("sqlite")) == "PostgreSQL"
    assert score.mentioned_name(index, back, index.doc("bread")) == ""


def test_a_mention_is_told_by_the_title_as_it_is_written() -> None:
    index = index_of(
        note("python", "Python", "a language of typed values and dynamic typing"),
        note("types", "Dynamic Typing (DT)", "checked while a program runs"),
        note("lisp", "Lisp", "the first with DT"),
    )
    python, lisp = (query.of_doc(index, index.doc(node_id)) for node_id in ("python", "lisp"))
    assert score.mentioned_name(index, python, index.doc("types")) == "Dynamic Typing"
    assert score.mentioned_name(index, lisp, index.doc("types")) == "DT"
    parts = score.explain(index, python, find(index, "python")["types"])
    assert parts[0].keyword == "Dynamic Typing"
    text = query.of_note(index, note("", "Typed values", "are everywhere"))
    assert score.mentioning_name(index, text, index.doc("python")) == "Typed values"


def test_within_a_longer_title_a_mention_counts_less() -> None:
    index = index_of(*SHELF)
    whole = find(index, "sqlite")["relational"].mentions
    within = find(index, "sqlite")["database"].mentions
    assert 0 < within < whole
    # From the other side the same.
    assert find(index, "database")["sqlite"].mentioned_by == pytest.approx(within)


def test_a_title_that_comes_later_finds_who_mentioned_it() -> None:
    index = index_of(note("a", "Diary", "today I read about vector clocks and slept"))
    assert not find(index, "a")
    index.add(note("b", "Vector clocks", "Lamport"))
    assert find(index, "a")["b"].mentions > 0
    index.remove("b")
    assert not find(index, "a")


def test_aliases_are_mentioned_too() -> None:
    index = index_of(
        note("tcp", "Transmission Control Protocol (TCP)", "reliable streams"), note("x", "Notes", "we used TCP a lot")
    )
    assert find(index, "x")["tcp"].mentions > 0


def test_a_name_that_many_bear_points_to_none() -> None:
    one = index_of(note("x", "Diary", "see minutes"), note("m0", "Minutes", "a0"))
    many = index_of(note("x", "Diary", "see minutes"), *(note(f"m{n}", "Minutes", f"a{n}") for n in range(5)))
    assert find(many, "x")["m0"].mentions < find(one, "x")["m0"].mentions / 4


def test_a_text_scores_like_the_note_it_would_be() -> None:
    index = index_of(*SHELF)
    asked = query.of_note(index, analyse(analyser("english"), node_id="", version=0, title="Relational database",
                                         text="Tables, keys and joins: Codd's model."))  # fmt: skip
    found = score.find(index, asked, 3)
    assert index.id(found[0].doc) == "relational"
    # As that of the note with itself: the added terms are on both sides.
    assert found[0].likeness == pytest.approx(asked.square / (asked.square + asked.added), abs=1e-5)
    assert score.is_duplicate(index, asked, found[0])


def test_a_text_with_a_title_that_no_note_bears_is_mentioned() -> None:
    index = index_of(*SHELF)
    asked = query.of_note(index, note("", "Rests overnight", ""))
    assert {index.id(m.doc) for m in score.find(index, asked, 9) if m.mentioned_by} == {"bread", "pizza"}


def test_near_duplicates() -> None:
    text = " ".join(f"w{n}" for n in range(30))
    index = index_of(note("a", "A", text), note("b", "B", text + " more"), note("c", "C", " ".join(text.split()[::-1])))
    asked = query.of_doc(index, index.doc("a"))
    matches = find(index, "a")
    assert score.is_duplicate(index, asked, matches["b"])
    assert matches["c"].likeness > 0.7
    assert not score.is_duplicate(index, asked, matches["c"])  # the same words in another order


def test_boilerplate_carries_no_weight() -> None:
    footer = "\nSent from my telephone with love and kisses."
    index = index_of(*(note(f"n{i}", f"Note {i}", f"about topic{i} and thing{i}.{footer}") for i in range(8)))
    # Only "Note" and "about" are left in common.
    parts = score.explain(index, query.of_doc(index, 0), find(index, "n0")["n1"])
    assert not {"telephone", "kisses", "love"} & {part.keyword for part in parts}
    few = index_of(*(note(f"n{i}", f"Note {i}", f"about topic{i} and thing{i}.{footer}") for i in range(3)))
    parts = score.explain(few, query.of_doc(few, 0), find(few, "n0")["n1"])
    assert {"telephone", "kisses", "love"} <= {part.keyword for part in parts}


def test_limits() -> None:
    index = index_of(*SHELF)
    assert len(find(index, "postgres", 1)) == 1
    assert find(index, "postgres", 0) == {}
    assert score.find(UserIndex(), query.of_note(UserIndex(), note("", "x", "y")), 5) == []
    asked = query.of_doc(index, index.doc("postgres"))
    assert all(match.score >= 0.2 for match in score.find(index, asked, 10, 0.2))


def test_equal_scores_come_by_id() -> None:
    index = index_of(note("q", "", "sea stone"), *(note(n, "", "sea stone wood") for n in "zax"))
    assert list(find(index, "q")) == ["a", "x", "z"]


def test_the_best_of_many_are_found() -> None:
    # More notes than candidates: the estimate must not lose the exact winner.
    many = [note(f"n{i}", "", f"sea filler{i} other{i} sand") for i in range(500)]
    index = index_of(note("q", "", "sea sand shell"), *many, note("best", "", "sea sand shell"))
    assert next(iter(find(index, "q", 3))) == "best"
