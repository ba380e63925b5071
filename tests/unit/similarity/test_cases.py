"""What real vaults showed: notes of such a kind are not linked for such reasons, and such a query finds this note.

The notes of each case are in cases/, as they are imported. Beside each case stand variants of the same kind.
"""

import json
from pathlib import Path

import pytest

from services.similarity_service.model import keywords, score, search
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.links import Link, Linker
from services.similarity_service.model.note import Note
from services.similarity_service.model.user_settings import UserSettings
from tests.support.similarity_collections import index_of, loaded
from tests.support.similarity_fakes import note

CASES = Path(__file__).parent / "cases"


def notes_of(case: str) -> list[Note]:
    """The notes of a case, analysed."""
    lines = [json.loads(line) for line in (CASES / f"{case}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [note(line["id"], line["title"], line["text"], tags=line.get("tags", ())) for line in lines]


def links_of(*notes: Note) -> dict[str, Link]:
    """All automatic links, by their ends; the same from an index that was added to and one that was loaded."""
    found = []
    for index in (index_of(*notes), loaded(*notes)):
        linker = Linker(index, UserSettings())
        links: dict[str, Link] = {}
        for node_id in sorted(index.ids()):
            links |= {"-".join(sorted([node_id, link.node_id])): link for link in linker.links(node_id)}
        found.append(links)
    assert found[0].keys() == found[1].keys()
    return found[0]


def first(index: UserIndex, text: str, limit: int = 10) -> list[str]:
    """The ids of what a query finds, best first."""
    return [hit.node_id for hit in search.search(index, search.parse(index, text), limit).hits]


def test_long_notes_do_not_take_away_the_link_of_others() -> None:
    pair, books = notes_of("false-boilerplate-1-pair"), notes_of("false-boilerplate-2-long")
    alone, among = links_of(*pair), links_of(*pair, *books)
    assert alone.keys() == {"bow-sunday"}
    assert {names for names in among if "book" not in names} == {"bow-sunday"}
    assert {part.keyword for part in among["bow-sunday"].contributions} >= {"bow", "cello", "horsehair", "rosin"}
    assert among["bow-sunday"].score == pytest.approx(alone["bow-sunday"].score, abs=0.03)


@pytest.mark.parametrize(
    "case", ["date-titles", "meeting-template", "html", "code", "image-names", "generic-titles", "short-notes"]
)
def test_what_is_no_reason_links_nothing(case: str) -> None:
    assert not links_of(*notes_of(case))


@pytest.mark.parametrize(
    "texts", [("打电话给妈妈", "打电话给牙医"), ("牛乳を買う", "ランプを買う"), ("Milch kaufen", "Brot kaufen")]
)
def test_one_verb_that_tiny_notes_share_links_nothing_in_any_script(texts: tuple[str, str]) -> None:
    assert not links_of(*(note(f"n{number}", "", text) for number, text in enumerate(texts)))
    assert not links_of(*(note(f"n{number}", text, "") for number, text in enumerate(texts)))


def test_template_headings_link_nothing() -> None:
    assert links_of(*notes_of("template-headings")).keys() == {"d15-ski"}


def test_an_exact_title_is_first() -> None:
    index = index_of(*notes_of("exact-title"))
    assert first(index, "friendship")[0] == "f"
    assert first(index, "FRIENDSHIP ")[0] == "f"


@pytest.mark.parametrize(
    ("case", "query", "expected"),
    [
        *[("stop-word-queries", *pair) for pair in [("to be", "b"), ("the who", "w"), ("seeing", "s"), ("mine", "m")]],
        ("stop-word-queries", "will", "x"),
        ("stop-word-queries", '"mine"', "m"),
        *[("one-character", *pair) for pair in [("书", "z"), ("看", "z"), ("茶", "j"), ("大", "z"), ("れ", "j")]],
        *[("strokes-and-ligatures", *pair) for pair in [("lodz", "p"), ("smorrebrod", "d"), ("aeroskobing", "d")]],
        *[("strokes-and-ligatures", *pair) for pair in [("coeur", "f"), ("soeur", "f"), ("łódź", "p"), ("Cœur", "f")]],
        *[("tags", query, "a") for query in ["tag:project/alpha", "tag:to-do", "tag:project", "tag:PROJECT/ALPHA"]],
        *[("small-letters", query, "a") for query in ["i/o", "I/O", "a/b", "A/B"]],
        *[("e-mail", query, "a") for query in ["jane", "doe", "jane doe", "example.org", "jane.doe@example.org"]],
        ("inline-image", "sieve", "p1"),
    ],
)
def test_a_query_finds(case: str, query: str, expected: str) -> None:
    for index in (index_of(*notes_of(case)), loaded(*notes_of(case))):
        assert first(index, query)[:1] == [expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("2024-05", {"a", "b"}),
        ("2024-05*", {"a", "b"}),
        ("2024", {"a", "b"}),
        ("2024-05-01", {"a"}),
        ("2023", {"c"}),
        ("2024/05", {"a", "b"}),
    ],
)
def test_parts_of_dates(query: str, expected: set[str]) -> None:
    assert set(first(index_of(*notes_of("date-parts")), query)) == expected


def test_an_encoded_image_gives_no_keyword() -> None:
    notes = notes_of("inline-image")
    found = [each.form for each in keywords.keywords(index_of(*notes), notes[0], 20)]
    assert found == ["prime", "sieve", "Eratosthenes", "finds", "numbers"]


PROPERTIES = [
    note("ana", "Ana Quartz", "Writes about rivers."),
    note("book", "Low water", "author:: Ana Quartz\nstatus:: reading slowly\nA summer of drought."),
    note("other", "Upland", "status:: reading slowly\nmood:: glad\nSheep, and more sheep."),
    note("glad", "Glad", "A short word."),
]


def test_the_value_of_a_property_may_name_a_note_and_is_no_other_reason() -> None:
    for index in (index_of(*PROPERTIES), loaded(*PROPERTIES)):
        assert score.compare(index, index.doc("book"), index.doc("ana")).mentions > 0
        assert score.compare(index, index.doc("ana"), index.doc("book")).mentioned_by > 0
        # The value that two notes share, and the name of one word, are none.
        assert score.compare(index, index.doc("book"), index.doc("other")).score == 0
        for one, another in (("other", "glad"), ("glad", "other")):
            assert score.compare(index, index.doc(one), index.doc(another)).score == 0
    assert links_of(*PROPERTIES).keys() == {"ana-book"}


def test_pairs_with_a_particle_are_no_likeness_but_parts_of_names() -> None:
    notes = [
        note("a", "山", "你的茶, 喝了"),
        note("b", "河", "我的茶, 来了"),
        note("c", "目的地图", "路"),
        note("d", "旅行", "目的地图在这里"),
    ]
    for index in (index_of(*notes), loaded(*notes)):
        assert score.compare(index, index.doc("a"), index.doc("b")).score == 0
        assert score.compare(index, index.doc("d"), index.doc("c")).mentions > 0
        assert "a" in first(index, "你的")


@pytest.mark.parametrize("language", ["chinese", "japanese", "korean", "thai"])
def test_a_language_without_spaces_reads_other_words_as_english(language: str) -> None:
    chosen = analyser(language)
    assert chosen.terms("the networks 书籍") == analyser("english").terms("the networks 书籍")
    assert chosen.stop_terms == analyser("english").stop_terms
