"""Keywords: telling, and readable."""

from services.similarity_service.model import keywords
from services.similarity_service.model.engine.index import UserIndex
from tests.support.similarity_collections import index_of
from tests.support.similarity_fakes import note

LONG = note("x", "", " ".join(f"word{n}" for n in range(99)))
OTHERS = [note(f"o{i}", f"Note {i}", f"the system has a part number {i} and a common thing") for i in range(20)]


def test_rare_words_tell_most() -> None:
    index = index_of(*OTHERS)
    found = keywords.keywords(index, note("x", "Ferns", "The common fern grows by spores; ferns have a system"), 3)
    assert found[0].form == "ferns"
    assert found[0].weight == 1
    assert "spores" in {each.form for each in found}
    assert not {"the", "a", "common", "system"} & {each.form for each in found}


def test_weights_fall_and_counts_are_the_users() -> None:
    index = index_of(*OTHERS)
    found = keywords.keywords(index, note("x", "System", "system fern"), 10)
    assert [each.weight for each in found] == sorted((each.weight for each in found), reverse=True)
    assert {each.form: each.df for each in found} == {"fern": 0, "system": 20}


def test_words_that_stand_together_are_one_keyword() -> None:
    found = keywords.keywords(UserIndex(), note("x", "", "Vector clocks. Vector clocks order; vector clocks count"), 5)
    assert found[0].form.lower() == "vector clocks"


def test_bigrams_are_joined_for_reading() -> None:
    found = keywords.keywords(UserIndex(), note("x", "", "日本語。日本語。日本語"), 5)
    assert found[0].form == "日本語"


def test_numbers_and_stop_words_are_none() -> None:
    assert keywords.keywords(UserIndex(), note("x", "", "the 1984 and 3.14 of it"), 5) == []


def test_single_letters_that_are_names() -> None:
    assert [each.form for each in keywords.keywords(UserIndex(), note("x", "", "C x"), 5)] == ["C"]


def test_listed_terms_are_numbers_of_the_note() -> None:
    found = note("x", "Ferns", "The fern grows by spores")
    listed = keywords.salient(UserIndex(), found)
    assert found.terms[listed[0][0]] == "fern"
    assert all(1 <= weight <= 255 for _, weight in listed)
    assert len(keywords.salient(UserIndex(), LONG)) == keywords.SALIENT


def test_a_title_is_a_phrase_unless_its_words_stand_apart_in_the_text() -> None:
    apart = note("x", "Prime sieve", "The sieve of Eratosthenes finds prime numbers.")
    assert {each.form for each in keywords.keywords(UserIndex(), apart, 9)} >= {"prime", "sieve", "Eratosthenes"}
    never = note("x", "Prime sieve", "Cross out every multiple.")
    assert keywords.keywords(UserIndex(), never, 9)[0].form == "Prime sieve"
