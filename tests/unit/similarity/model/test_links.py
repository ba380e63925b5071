"""The rule that decides about automatic links."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as examples

from services.similarity_service.model.links import EVIDENCE, STRONG_WORD, Linker, default_threshold, threshold
from services.similarity_service.model.note import Note
from services.similarity_service.model.score import Match
from services.similarity_service.model.user_settings import MOST_LINKS, UserSettings
from tests.support.similarity_collections import SHELF, collections, index_of
from tests.support.similarity_fakes import note


def pairs(notes: Sequence[Note], settings: UserSettings) -> set[tuple[str, str]]:
    linker = Linker(index_of(*notes), settings)
    return {(each.node_id, link.node_id) for each in notes for link in linker.links(each.node_id)}


def test_the_shelf() -> None:
    found = pairs(SHELF, UserSettings())
    assert ("bread", "pizza") in found
    assert ("sqlite", "postgres") in found
    assert not {("bread", "sqlite"), ("pizza", "database")} & found


@examples(max_examples=40)
@given(collections)
def test_both_sides_agree(notes: list[Note]) -> None:
    found = pairs(notes, UserSettings(max_links=2, link_threshold=0.05))
    assert found == {(b, a) for a, b in found}


def test_the_best_from_ones_own_side_are_part_of_all() -> None:
    linker = Linker(index_of(*SHELF), UserSettings(max_links=1))
    for each in SHELF:
        best = {link.node_id for link in linker.best(each.node_id)}
        assert best <= {link.node_id for link in linker.links(each.node_id)}
        assert len(best) <= 1


def test_near_duplicates_are_not_linked() -> None:
    text = " ".join(f"word{n}" for n in range(20))
    assert pairs([note("a", "A", text), note("b", "B", text)], UserSettings()) == set()


def test_settings() -> None:
    assert pairs(SHELF, UserSettings(auto_link=False)) == set()
    assert pairs(SHELF, UserSettings(link_threshold=1.0)) == set()
    assert len(pairs(SHELF, UserSettings(link_threshold=0.01, max_links=5))) > len(pairs(SHELF, UserSettings()))


def test_a_hub_keeps_its_best() -> None:
    spokes = [
        note(f"s{i:03}", f"Spoke {i}", f"hub own{i} one{i} two{i} " * (1 + i % 3) + "of a wheel that turns around")
        for i in range(80)
    ]
    linker = Linker(index_of(note("hub", "Hub", "middle"), *spokes), UserSettings(link_threshold=0.01, max_links=1))
    links = linker.links("hub")
    assert 0 < len(links) <= MOST_LINKS
    assert {link.node_id for link in links} == {
        each.node_id for each in spokes if "hub" in {link.node_id for link in linker.links(each.node_id)}
    }


def test_links_say_why() -> None:
    link = Linker(index_of(*SHELF), UserSettings()).links("bread")[0]
    assert link.node_id == "pizza"
    assert link.score >= default_threshold(len(SHELF)) + min(EVIDENCE)
    assert "sourdough" in {each.keyword for each in link.contributions}
    assert sum(each.amount for each in link.contributions) <= link.score + 1e-6


def test_the_default_threshold_rises_with_the_number_of_notes() -> None:
    found = [default_threshold(notes) for notes in (0, 10, 300, 10_000, 1_000_000)]
    assert found == sorted(found)
    assert 0.2 < found[0] < found[-1] < 0.35


def test_the_threshold_follows_the_evidence() -> None:
    both = Match(0, 0.5, 0.5, 0.3, 0.3, 1)
    phrase = Match(0, 0.5, 0.5, 0.3, 0.0, 2)
    strong = Match(0, 0.5, 0.5, STRONG_WORD, 0.0, 1)
    weak = Match(0, 0.5, 0.5, 0.0, STRONG_WORD - 0.1, 1)
    none = Match(0, 0.5, 0.5, 0.0, 0.0)
    for notes in (300, 10_000):
        found = [
            threshold(UserSettings(), notes, match) - default_threshold(notes) for match in (both, strong, weak, none)
        ]
        assert found == pytest.approx([-0.10, -0.02, 0.06, 0.12], abs=0.003)
        assert threshold(UserSettings(), notes, phrase) == threshold(UserSettings(), notes, both)
    # Among a few notes a shared word is not yet chance.
    assert threshold(UserSettings(), 10, none) == default_threshold(10)
    assert {threshold(UserSettings(link_threshold=0.5), 300, match) for match in (both, none)} == {0.5}


def test_one_word_of_tiny_notes_links_nothing() -> None:
    settings = UserSettings(link_threshold=0.05)
    tiny = [note("a", "", "repair shed"), note("b", "", "repair bike")]
    assert pairs(tiny, settings) == set()
    assert pairs([note("a", "", "repair red shed door"), note("b", "", "repair red shed roof")], settings)
    assert pairs([note("a", "Sourdough", "flour and water"), note("b", "Pizza", "sourdough with tomatoes")], settings)


def test_an_unknown_note_has_no_links() -> None:
    linker = Linker(index_of(*SHELF), UserSettings())
    assert linker.links("nobody") == []
    assert linker.best("nobody") == []


def test_many_notes_that_are_ranked_share_the_weights_of_all() -> None:
    notes = [note(f"n{number}", f"Name {number}", "tide moon sea") for number in range(40)]
    index = index_of(*notes)
    linker = Linker(index, UserSettings())
    linker.best("n0")
    assert index.computed.weights is None
    for each in notes:
        linker.best(each.node_id)
    assert index.computed.weights is not None
