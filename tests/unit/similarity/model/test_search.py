"""Full-text search: what matches, in which order, page by page, and what is shown of it."""

import pytest

from services.similarity_service.model import search, snippets
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine.index import UserIndex
from tests.support.similarity_collections import index_of
from tests.support.similarity_fakes import note

SHELF = [
    note("a", "Vector clocks", "Vector clocks order events. Lamport wrote about clocks.", tags=["time", "two words"]),
    note("b", "Clock", "A clock shows the time.", tags=["time"]),
    note("c", "Alarm", "An alarm clock in vector graphics.", tags=["home"]),
    note("d", "To be or not to be", "to be or not to be"),
    note("e", "Computers", "computing, computed, computer"),
]
INDEX = index_of(*SHELF)


def hits(query: str, *tags: str, index: UserIndex = INDEX) -> list[str]:
    return [hit.node_id for hit in search.search(index, search.parse(index, query, tags), 10).hits]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("clock", {"a", "b", "c"}),
        ("CLOCKS", {"a", "b", "c"}),
        ('"vector clocks"', {"a"}),
        ('"clocks vector"', set()),
        ('"vector nothing"', set()),
        ("vec*", {"a", "c"}),
        ("comput*", {"e"}),
        ("computers*", {"e"}),
        ("lamport alarm", {"a", "c"}),
        ("clock -alarm", {"a", "b"}),
        ("clock tag:time", {"a", "b"}),
        ('tag:"two words"', {"a"}),
        ("tag:home tag:time", set()),
        ("nothing", set()),
        ('"to be or not to be"', {"d"}),
        ("*", set()),
    ],
)
def test_what_matches(query: str, found: set[str]) -> None:
    assert set(hits(query)) == found


def test_order() -> None:
    assert hits("vector clocks")[0] == "a"
    assert hits("clock")[-1] == "c"


def test_of_many_notes_with_one_score_a_page_has_the_first_by_id() -> None:
    index = index_of(*(note(f"n{i:03}", "", f"w{i}", tags=["x"]) for i in reversed(range(300))))
    found: list[str] = []
    after: tuple[float, str] | None = None
    while True:
        page = search.search(index, search.parse(index, "", ["x"]), 7, after)
        assert page.total == 300
        found += [hit.node_id for hit in page.hits]
        if not page.more:
            break
        after = page.hits[-1].score, page.hits[-1].node_id
    assert found == [f"n{i:03}" for i in range(300)]


def test_tags_of_the_request() -> None:
    assert set(hits("", "time")) == {"a", "b"}


def test_pages_show_everything_once() -> None:
    index = index_of(*(note(f"n{i:03}", "", "sea " * (1 + i % 5) + f"w{i}") for i in range(200)))
    parsed = search.parse(index, "sea")
    seen: list[tuple[float, str]] = []
    after = None
    while True:
        page = search.search(index, parsed, 7, after)
        assert page.total == 200
        seen += [(-hit.score, hit.node_id) for hit in page.hits]
        if not page.more:
            break
        after = (page.hits[-1].score, page.hits[-1].node_id)
    assert len(seen) == 200
    assert seen == sorted(seen)


def test_removed_notes_are_not_found() -> None:
    index = index_of(*SHELF)
    index.remove("b")
    assert set(hits("clock", index=index)) == {"a", "c"}
    assert set(hits("", "time", index=index)) == {"a"}


def cut(text: str, *terms: str, length: int = 60) -> snippets.Snippet:
    return snippets.snippet(analyser("english"), text, lambda term: term in terms, length)


def test_a_snippet_shows_the_matches() -> None:
    text = "filler " * 50 + "the vector clock of Lamport " + "filler " * 50
    found = cut(text, "vector", "clock")
    assert found.text.startswith("…")
    assert found.text.endswith("…")
    assert [found.text[start:end] for start, end in found.highlights] == ["vector", "clock"]
    assert len(found.text) <= 62


def test_a_snippet_of_a_text_without_matches_is_its_beginning() -> None:
    assert cut("one two three", "x") == snippets.Snippet("one two three", ())
    assert cut("", "x") == snippets.Snippet("", ())


def test_highlights_are_in_characters() -> None:
    found = cut("zuerst: Zürich e\u0301te\u0301 日本語", "zurich", "日本", "本語")
    assert [found.text[start:end] for start, end in found.highlights] == ["Zürich", "日本語"]
