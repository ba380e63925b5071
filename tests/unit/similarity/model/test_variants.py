"""Words of one term: which of them mention each other, and which are shown."""

import pytest

from services.similarity_service.model import query, score
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.variants import ANY, mentioning, variant_of
from tests.support.similarity_collections import index_of, loaded
from tests.support.similarity_fakes import note


def variant(word: str, language: str = "english") -> int:
    return analyser(language).variant(analyser(language).pairs(word)[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("program", "programs"),
        ("Class", "classes"),
        ("theory", "theories"),
        ("movie", "movies"),
        ("box", "boxes"),
        ("cache", "caches"),
        ("compiler", "Compilers"),
        ("note", "notes"),
        ("key", "keys"),
        ("API", "APIs"),
        ("e-mail", "email"),
        ("café", "cafes"),
    ],
)
def test_a_plural_mentions_its_singular(one: str, other: str) -> None:
    assert mentioning("english", variant(one)) & variant(other)
    assert mentioning("english", variant(other)) & variant(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("program", "programming"),
        ("program", "programmed"),
        ("compile", "compiler"),
        ("compiling", "compilers"),
        ("compiler", "compilation"),
        ("network", "networking"),
        ("general", "generally"),
        ("organize", "organization"),
    ],
)
def test_another_ending_is_another_word(one: str, other: str) -> None:
    assert not mentioning("english", variant(one)) & variant(other)
    assert not mentioning("english", variant(other)) & variant(one)


def test_in_other_languages_all_words_of_a_term_mention_each_other() -> None:
    assert mentioning("german", variant("Programme", "german")) == ANY
    assert variant_of("german", "programm", "programme") != variant_of("german", "programm", "programms")


def mentions(index: UserIndex, one: str, other: str) -> float:
    return score.compare(index, index.doc(one), index.doc(other)).mentions


NAMES = [
    note("program", "Program", "Instructions, one after the other."),
    note("programming", "Programming", "The work of a day."),
    note("plural", "Shelf", "Two programs lie here, in a drawer."),
    note("singular", "Table", "A program lies here, in the sun."),
    note("work", "Monday", "Programming until lunch."),
    note("both", "Tuesday", "Programming one more of the programs."),
    note("network", "Neural network", "Layers of weights."),
    note("networks", "Reading list", "A book on neural networks."),
    note("networking", "Party", "Neural networking over drinks."),
]


def test_a_mention_is_of_the_word_and_not_of_its_stem() -> None:
    for index in (index_of(*NAMES), loaded(*NAMES)):
        found = {
            name: {each.node_id for each in NAMES if each.node_id != name and mentions(index, each.node_id, name)}
            for name in ("program", "programming", "network")
        }
        assert found == {
            "program": {"plural", "singular", "both"},
            "programming": {"work", "both"},
            "network": {"networks"},
        }
        # From the other side, and for a text that is not in the index, the same.
        back = score.compare(index, index.doc("program"), index.doc("work"))
        assert (back.mentions, back.mentioned_by) == (0.0, 0.0)
        text = query.of_note(index, note("", "", "All this programming"))
        assert {index.id(match.doc) for match in score.find(index, text, 9) if match.mentions} == {"programming"}
        text = query.of_note(index, note("", "Programs", "and more of them"))
        assert {index.id(match.doc) for match in score.find(index, text, 9) if match.mentioned_by} == {
            "program",
            *("plural", "singular", "both"),
        }


def test_names_of_one_stem_do_not_take_weight_from_each_other() -> None:
    one = index_of(*[each for each in NAMES if each.node_id != "programming"])
    both = index_of(*NAMES)
    assert mentions(both, "plural", "program") == pytest.approx(mentions(one, "plural", "program"), rel=0.1)


def test_words_still_count_as_alike_whatever_their_endings() -> None:
    index = index_of(*NAMES)
    assert score.compare(index, index.doc("work"), index.doc("program")).likeness > 0


COMPILERS = [
    note("old", "Compiler", "The compiler of 1959"),
    note("a", "Translation", "Compiled code runs; compiled programs too"),
    note("b", "Build", "What is compiled is a program that runs"),
    note("c", "Notes", "They compile programs, and compile again"),
    note("d", "More", "Compile, compile; run a program"),
]


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("a", "b", {"compiled"}),
        ("c", "d", {"compile"}),
        ("a", "c", {"compiled", "compile"}),
        ("old", "a", {"compiler", "compiled"}),
    ],
)
def test_a_reason_stands_in_one_of_the_two_notes(one: str, other: str, shown: set[str]) -> None:
    for index in (index_of(*COMPILERS), loaded(*COMPILERS)):
        for here, there in ((one, other), (other, one)):
            asked = query.of_doc(index, index.doc(here))
            parts = score.explain(index, asked, score.compare(index, index.doc(here), index.doc(there)))
            words = {each.keyword.lower() for each in parts}
            assert len({word for word in words if word.startswith("compil")} & shown) == 1
            assert len({word for word in words if word.startswith("compil")}) == 1
