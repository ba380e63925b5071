"""Small collections of notes, and indexes of them."""

from hypothesis import strategies as st

from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.loading import Loading
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


SHELF = [
    note("postgres", "PostgreSQL", "PostgreSQL is a relational database with transactions, written in C."),
    note("sqlite", "SQLite", "A small relational database in one file, where PostgreSQL would be too much."),
    note("relational", "Relational database", "Tables, keys and joins: Codd's model."),
    note("database", "Database", "Stored facts that one can ask."),
    note("bread", "Sourdough", "Flour, water, salt and patience; the dough rests overnight."),
    note("pizza", "Pizza", "A thin sourdough with tomatoes and cheese; the dough rests overnight."),
]
