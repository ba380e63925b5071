"""Terms numbered from their bytes are numbered as a dict would, wherever the pieces end in which that is done."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.similarity_service.model.engine.arrays import distinct, order_of
from services.similarity_service.model.engine.loading import Words

words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=8)
rows = st.lists(st.lists(words, max_size=8, unique=True), max_size=8)


def numbered(terms: list[list[str]], forms: list[list[str]], at_once: int = 1_000) -> Words:
    """After checking the numbers against those that a dict gives. at_once: so many rows are handed over together."""
    made = Words()
    numbers: list[int] = []
    for first in range(0, len(terms), at_once):
        some, shown = terms[first : first + at_once], forms[first : first + at_once]
        found = made.number(
            " ".join([" ".join(row) for row in some if row]).encode(),
            np.array([len(row) for row in some]),
            "\x1e".join(["\x1e".join(row) for row in shown if row]).encode(),
            np.array([len("\x1e".join(row).encode()) for row in shown]),
        )
        numbers += found.tolist()
    known: dict[str, int] = {}
    reading: dict[tuple[int, str], None] = {}
    plain: set[int] = set()
    for row, reads in zip(terms, forms, strict=True):
        for place, term in enumerate(row):
            if term not in known:
                known[term] = len(known)
            if place < len(reads) and reads[place]:
                reading[known[term], reads[place]] = None
            elif place < len(reads) or not reads:
                plain.add(known[term])
    assert numbers == [known[term] for row in terms for term in row]
    assert made.words == list(known)
    assert made.forms == list(reading)
    assert set(np.flatnonzero(made.plain.view).tolist()) == plain
    return made


@settings(deadline=None)
@given(rows, st.data())
def test_as_a_dict_would(terms: list[list[str]], data: st.DataObject) -> None:
    forms = [data.draw(st.lists(words | st.just(""), max_size=len(row))) for row in terms]
    numbered(terms, [row if any(row) else [] for row in forms], data.draw(st.integers(1, 4)))


def test_many_words_in_several_pieces() -> None:
    rng = random.Random(3)
    # Anagrams and prefixes of each other, most of them.
    terms = [list(dict.fromkeys("".join(rng.choices("abé", k=rng.randrange(1, 12))) for _ in range(40)))
             for _ in range(3_000)]  # fmt: skip
    terms.append([f"long{n}" for n in range(60_000)])
    made = numbered(terms, [[term.upper() for term in row] if n % 3 else [] for n, row in enumerate(terms)])
    assert len(made.words) > 90_000


@given(st.lists(st.integers(0, 1 << 20)))
def test_orders(values: list[int]) -> None:
    numbers = np.array(values, np.int32)
    assert order_of(numbers).tolist() == np.argsort(numbers, kind="stable").tolist()
    assert distinct(numbers).tolist() == sorted(set(values))
