"""Small collections of notes, and indexes of them."""

from typing import Any

import pytest
from hypothesis import strategies as st

from services.similarity_service.model import query, score
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.loading import Loading
from services.similarity_service.model.engine.vocabulary import PHRASE, TAG
from services.similarity_service.model.note import Note
from tests.support.similarity_fakes import note

WORDS = ["graph", "tree", "sea", "river", "stone", "bread", "the", "of", "C++", "TCP/IP", "日本語", "Graph tree"]
WORDS += ["Foo Bar (FB)"]
texts = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
collections = st.lists(st.tuples(texts, texts), min_size=1, max_size=8).map(
    lambda pairs: [note(f"n{i}", title, text, tags=["t", "a tag"][: i % 3]) for i, (title, text) in enumerate(pairs)]
)


def index_of(*notes: Note) -> UserIndex:
    index = UserIndex()
    for each in notes:
        index.add(each)
    return index


def loaded(*notes: Note) -> UserIndex:
    index = UserIndex()
    index.load(loading(*notes))
    return index


def loading(*notes: Note) -> Loading:
    taken = Loading()
    for first in range(0, len(notes), 3):
        taken.take([codec.packed(each) for each in notes[first : first + 3]])
    return taken


def state(index: UserIndex) -> Any:
    """All that answers are made from, by names instead of numbers."""
    vocabulary = index.vocabulary
    # A phrase that was once a title goes on being counted, and matters again only if it is one again.
    counted = [n for n in range(len(vocabulary)) if vocabulary.df.data[n] and _matters(index, n)]
    df = {vocabulary.word(n): int(vocabulary.df.data[n]) for n in counted}
    listed = {vocabulary.word(n): int(c) for n, c in enumerate(vocabulary.salient.view) if c}
    scores = {}
    for node_id in sorted(index.ids()):
        found = score.find(index, query.of_doc(index, index.doc(node_id)), 20)
        scores[node_id] = [(index.id(match.doc), pytest.approx(match.score, abs=1e-6)) for match in found]
    titles = {node_id: (index.title(index.doc(node_id)), tags_of(index, index.doc(node_id))) for node_id in index.ids()}
    return df, listed, scores, titles, index.live, index.total_length


def tags_of(index: UserIndex, doc: int) -> list[str]:
    """The tags of a note."""
    terms = index.forward.terms[doc]
    tags = terms[(index.vocabulary.flags.data[terms] & TAG) != 0]
    return [index.vocabulary.word(number)[1:] for number in tags.tolist()]


def _matters(index: UserIndex, number: int) -> bool:
    return not index.vocabulary.flags.data[number] & PHRASE or bool(index.titles.titled(number))


SHELF = [
    note("postgres", "PostgreSQL", "PostgreSQL is a relational database with transactions, written in C."),
    note("sqlite", "SQLite", "A small relational database in one file, where PostgreSQL would be too much."),
    note("relational", "Relational database", "Tables, keys and joins: Codd's model."),
    note("database", "Database", "Stored facts that one can ask."),
    note("bread", "Sourdough", "Flour, water, salt and patience; the dough rests overnight."),
    note("pizza", "Pizza", "A thin sourdough with tomatoes and cheese; the dough rests overnight."),
]
