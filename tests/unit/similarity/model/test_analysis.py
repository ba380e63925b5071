"""What counts as a word, and which words are the same word."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.similarity_service.model.analysis import Analyser, analyser, normalise, surface_forms

ENGLISH = analyser("english")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("C, R and Go", ["c", "r", "and", "go"]),
        ("C++ and C# beat F#", ["c++", "and", "c#", "beat", "f#"]),
        (".NET runs x.NET", [".net", "run", "x.net", "net"]),
        ("TCP/IP", ["tcp/ip", "tcp", "ip"]),
        ("and/or", ["and", "or"]),
        ("OS/2 and I/O", ["os/2", "os", "and", "i/o"]),
        ("AT&T", ["at&t", "AT", "at"]),
        ("e-mail on-line", ["email", "mail", "online", "on", "line"]),
        ("object-oriented", ["object", "orient"]),
        ("Node.js", ["node.js", "node", "js"]),
        ("version 3.14 of 10.0.0.1", ["version", "3.14", "of", "10.0.0.1"]),
        ("the U.S.A.", ["the", "usa"]),
        ("getUserName", ["getusernam", "get", "user", "name"]),
        ("snake_case_name", ["snake_case_name", "snake", "case", "name"]),
        ("JavaScript", ["javascript"]),
        ("CPUs and the CPU's", ["cpu", "and", "the", "cpu"]),
        ("IT is it", ["IT", "it", "is", "it"]),
        ("https://www.foldoc.org/graph-theory?x=1.", ["foldoc.org", "graph", "theori"]),
        ("mail bob@example.org", ["mail", "bob@example.org", "bob", "example.org", "exampl", "org"]),
        ("2024-05-01 2024/5/1 2024.05", ["20240501", "202405", "2024", "20240501", "202405", "2024", "202405", "2024"]),
        ("01.05.2024 5/1/2024", ["20240501", "202405", "2024", "5/1/2024", "2024"]),
        ("2024-05-01T09", ["20240501", "202405", "2024"]),
        ("i/o and he/she", ["i/o", "and", "he", "she"]),
        ("42km 4th 3D", ["42km", "42", "km", "4th", "3d", "3", "d"]),
        ("Łódź smørrebrød Ærø cœur Straße ısı", ["lodz", "smorrebrod", "aero", "coeur", "strass", "isi"]),  # noqa: RUF001
        ("a" * 70 + " b", ["b"]),
        ("#todo not# ", ["#todo", "todo", "not#"]),
        ("@bob said", ["bob", "said"]),
        ("# Heading", ["head"]),
        ("[[Wiki links]] **bold**", ["wiki", "link", "bold"]),
        ("don't", ["dont"]),
        ("日本語", ["日本", "本語"]),
        ("字", ["字"]),
        ("Python用", ["python", "用"]),
        ("한국어", ["한국", "국어"]),
        ("café CAFÉ cafe\u0301", ["cafe", "cafe", "cafe"]),
        ("\uff21\uff22\uff23 \ufb01le", ["abc", "file"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("👍🏽 👍 ❤️", ["👍", "👍", "❤"]),
        ("", []),
        ("  \n\t ...", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert ENGLISH.terms(text) == terms


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("english", "databases", "database"),
        ("german", "Häuser", "Haus"),
        ("french", "continuellement", "continuelle"),
        ("spanish", "canciones", "canción"),
        ("russian", "книги", "книга"),
        ("none", "Databases", "databases"),
    ],
)
def test_forms_of_a_word_are_one_term(language: str, one: str, other: str) -> None:
    assert analyser(language).terms(one) == analyser(language).terms(other)


def test_no_stemming() -> None:
    assert analyser("none").terms("databases") == ["databases"]


def test_french_elisions_are_words_of_their_own() -> None:
    assert analyser("french").terms("l'eau d\u2019or")[1::2] == ["eau", "or"]


def test_unknown_language() -> None:
    with pytest.raises(ValueError, match="klingon"):
        Analyser("klingon")


def test_long_runs_are_no_words() -> None:
    assert ENGLISH.terms("a" * 65 + " b") == ["b"]


def test_no_term_holds_a_space() -> None:
    # NFKC unfolds this letter into four words.
    assert all(not any(c.isspace() for c in term) for term in ENGLISH.terms("\ufdfa"))
    assert ENGLISH.terms("\ufdfa")


@pytest.mark.parametrize("text", ["Zürich's C++, 日本語と e-mail! naïve_name https://a.b/c", "e\u0301te\u0301 über"])
def test_spans_are_where_the_terms_come_from(text: str) -> None:
    text = normalise(text)
    spans = list(ENGLISH.spans(text))
    assert [span.term for span in spans] == ENGLISH.terms(text)
    for span in spans:
        assert span.term in ENGLISH.terms(text[span.start : span.end])


def test_readable_forms() -> None:
    pairs = ENGLISH.pairs("Databases. A database and databases; DATABASES! NASA")
    forms = surface_forms(Counter(pairs))
    assert forms["databas"] == "databases"
    assert forms["nasa"] == "NASA"


def test_readable_forms_keep_their_apostrophe() -> None:
    forms = surface_forms(Counter(ENGLISH.pairs("O'Reilly's rock\u2019n\u2019roll and the dog's bone")))
    assert [forms[term] for term in ("oreilli", "rocknrol", "dog")] == ["O'Reilly", "rock\u2019n\u2019roll", "dog"]


def test_threads_share_an_analyser() -> None:
    shared = Analyser("english")
    texts = [" ".join(f"{stem}{chr(97 + number % 26)}{ending}" for number in range(400)) for stem, ending in PAIRS]
    alone = [Analyser("english").terms(text) for text in texts]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(shared.terms, texts)) == alone
    finally:
        sys.setswitchinterval(before)


PAIRS = [(stem, ending) for stem in ("relat", "conform", "gener", "oper") for ending in ("ational", "ingly", "fulness")]


@given(st.text("ab C1'\u2019._+-é\u0301漢字 😀", max_size=60))
def test_a_text_without_marks_of_names_has_the_tokens_that_it_has_beside_them(text: str) -> None:
    marked = f"{text}\n#name"
    assert ENGLISH.pairs(marked) == [*ENGLISH.pairs(text), ("#name", "#name"), ("name", "name")]


def test_a_long_text_has_the_terms_of_its_parts() -> None:
    part = "The C# compiler, e-mail@example.org and naïve Users' O'Reilly_books. "
    assert ENGLISH.pairs(part * 200) == ENGLISH.pairs(part) * 200
