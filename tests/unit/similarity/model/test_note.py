"""Notes as the index sees them, and their records."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.similarity_service.model import search
from services.similarity_service.model.engine import codec
from services.similarity_service.model.note import KINDS, SENTENCE, Note
from tests.support.similarity_collections import index_of, loaded
from tests.support.similarity_fakes import note


def test_the_title_counts_twice() -> None:
    found = note("a", "Graph", "A graph and a tree")
    counts = dict(zip(found.terms, found.codes, strict=True))
    assert counts["graph"] == 3
    assert counts["tree"] == 1


def test_properties_and_the_name_of_the_file_are_quiet() -> None:
    found = note("a", "Deep work", "A text", properties=("Ana Quartz",), path="books/Focus first.md")
    counts = dict(zip(found.terms, found.codes, strict=True))
    assert [counts[term] for term in ("ana", "quartz", "focus", "first", "text")] == [0, 0, 0, 0, 1]
    assert "book" not in counts
    for index in (index_of(found), loaded(found)):
        for query in ("quartz", '"ana quartz"', "focus"):
            assert [hit.node_id for hit in search.search(index, search.parse(index, query), 5).hits] == ["a"]


@pytest.mark.parametrize(
    ("title", "text", "aliases"),
    [
        ("Foo Bar (FB)", "", [("foo", "bar"), ("fb",)]),
        ("Transmission Control Protocol", "(TCP) A protocol", [("tcp",)]),
        ("Transmission Control Protocol", "A protocol (of IETF) and (UDP)", []),
        ("Unix", "(UX) a system", []),
        ("Graphics Interchange Format", 'known as "GIF" to all', [("gif",)]),
    ],
)
def test_aliases(title: str, text: str, aliases: list[tuple[str, ...]]) -> None:
    assert list(note("a", title, text).aliases) == aliases


def test_a_title_that_is_a_sentence_is_no_name() -> None:
    assert note("a", "What I thought about databases on the train", "x").names == []
    assert note("a", "Relational database").names == [("relat", "databas")]


words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Z"]), max_size=60)


@given(words, words, st.lists(st.text(min_size=1, max_size=20), max_size=3))
def test_records_come_back_as_they_were(title: str, text: str, tags: list[str]) -> None:
    before = note("a", title, text, version=3, incarnation=7, tags=tags)
    assert codec.unpack(codec.pack(before), node_id="a", incarnation=7, version=3) == before


def test_a_note_of_many_terms() -> None:
    text = " ".join(f"w{n}" for n in range(70_000))
    before = note("a", "long", text)
    assert before.wide
    assert len(before.terms) <= 65_535
    after = codec.unpack(codec.pack(before), node_id="a", incarnation=0, version=1)
    assert after.numbers() == before.numbers()
    assert after.terms == before.terms


def test_an_unknown_layout_is_told() -> None:
    with pytest.raises(codec.UnknownLayout):
        codec.unpack(b"\xff123", node_id="a", incarnation=0, version=1)


def _older(note: Note, layout: int) -> bytes:
    """The record of a note in an earlier layout, which has ten parts and no variants."""
    data = codec.packed(note).data
    lengths = struct.unpack_from("<11I", data)
    return bytes([layout]) + zlib.compress(struct.pack("<10I", *lengths[:10]) + data[44 : len(data) - lengths[10]])


def test_a_record_without_variants_has_every_word() -> None:
    before = note("a", "Title", "One sentence of some words. Another one of others.")
    read = codec.unpack(_older(before, 2), node_id="a", incarnation=0, version=1)
    assert read.variants == b"\xff\xff" * len(before.terms)
    assert replace(read, variants=before.variants) == replace(before, links=read.links)


def test_a_record_of_the_first_layout_is_read() -> None:
    before = note("a", "Title", "One sentence of some words. Another one of others.")
    read = codec.unpack(_older(before, 1), node_id="a", incarnation=0, version=1)
    assert (read.terms, read.sequence, read.sentence_sizes) == (before.terms, before.sequence, before.sentence_sizes)
    hashes = np.frombuffer(read.sentence_hashes, np.uint32)
    assert len(hashes) == 2
    # Any bits stood there: they are no kind.
    assert set((hashes & KINDS).tolist()) == {SENTENCE}
    assert 0 not in hashes


def test_quiet_parts_are_kept_but_not_counted() -> None:
    found: Note = note("a", "Feb 2nd, 2024", "Read `import react` on https://react.dev today")
    counts = dict(zip(found.terms, found.codes, strict=True))
    assert {counts[term] for term in ("feb", "import", "react", "react.dev")} == {0}
    assert counts["read"] == counts["today"] == 1


def test_stamps_compare_incarnations_first() -> None:
    assert note("a", version=9).stamp < note("a", version=1, incarnation=1).stamp


def test_forms() -> None:
    found: Note = note("a", "", "Databases are databases")
    assert [found.form(n) for n in range(len(found.terms))] == ["databases", "are"]


def test_a_form_that_is_only_quiet_is_not_preferred() -> None:
    found = note("a", "", "A database. `Databases` and `Databases` are quiet.")
    assert found.form(found.terms.index("databas")) == "database"
    assert note("a", "", "See `Databases`.").form(1) == "Databases"
