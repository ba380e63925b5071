"""What a user would pick instead, on the same notes with the same questions: tantivy, bm25s, SQLite FTS5, scikit-learn.

Runs in an environment of its own: `.venv-bench/bin/python -m tests.bench.similarity.peers FILE SIZE NAME`; prints JSON.
Each finds the 10 best notes for all words of a note, as ours does (find), and for its 32 rarest ones (find_32), by
which one would spare it work. It need not know titles from text, explain anything or tell twins; ours does.
"""

import gc
import json
import random
import re
import resource
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from tests.bench.similarity.corpus import Sample, read, samples

_ASKED = 200
_CHANGED = 50
_WORDS = 32
_SECONDS = 60.0  # a tool that takes longer for its questions is asked fewer
_WORD = re.compile(r"[a-z0-9]+")


class Peer(Protocol):
    """One tool with one user's notes."""

    def build(self, notes: Sequence[Sample]) -> None: ...
    def find(self, words: Sequence[str]) -> int: ...
    def add(self, note: Sample) -> None: ...
    def remove(self, note: Sample) -> None: ...


class Tantivy:
    """tantivy-py, in memory; an added note is found after commit and reload, as ours is at once."""

    def build(self, notes: Sequence[Sample]) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("id", stored=True, tokenizer_name="raw")
        builder.add_text_field("body", tokenizer_name="en_stem")
        self._tantivy = tantivy
        self._index = tantivy.Index(builder.build())
        self._writer = self._index.writer(64_000_000, 1)
        for note in notes:
            self._writer.add_document(tantivy.Document(id=note.node_id, body=f"{note.title}. {note.text}"))
        self._commit()

    def find(self, words: Sequence[str]) -> int:
        asked = self._index.parse_query(" ".join(words), ["body"])
        searcher = self._index.searcher()
        return len([searcher.doc(place)["id"] for _, place in searcher.search(asked, 10).hits])

    def add(self, note: Sample) -> None:
        self._writer.add_document(self._tantivy.Document(id=note.node_id, body=f"{note.title}. {note.text}"))
        self._commit()

    def remove(self, note: Sample) -> None:
        self._writer.delete_documents("id", note.node_id)
        self._commit()

    def _commit(self) -> None:
        self._writer.commit()
        self._index.reload()


class Bm25s:
    """bm25s with numba: a static index, so a change builds it again."""

    def build(self, notes: Sequence[Sample]) -> None:
        import bm25s

        self._bm25s = bm25s
        self._notes = list(notes)
        self._tokens = [_WORD.findall(f"{note.title}. {note.text}".lower()) for note in notes]
        self._index()

    def find(self, words: Sequence[str]) -> int:
        found, _ = self._retriever.retrieve([list(words)], k=10, show_progress=False, n_threads=1)
        return len(found[0])

    def add(self, note: Sample) -> None:
        self._tokens.append(_WORD.findall(f"{note.title}. {note.text}".lower()))
        self._index()

    def remove(self, note: Sample) -> None:
        self._tokens.pop()
        self._index()

    def _index(self) -> None:
        self._retriever = self._bm25s.BM25(backend="numba")
        self._retriever.index(self._tokens, show_progress=False)


class Fts5:
    """SQLite's full-text search, in memory, Porter stems."""

    def build(self, notes: Sequence[Sample]) -> None:
        self._db = sqlite3.connect(":memory:")
        self._db.execute("CREATE VIRTUAL TABLE notes USING fts5(id UNINDEXED, body, tokenize='porter unicode61')")
        rows = ((note.node_id, f"{note.title}. {note.text}") for note in notes)
        self._db.executemany("INSERT INTO notes VALUES (?, ?)", rows)
        self._db.commit()

    def find(self, words: Sequence[str]) -> int:
        asked = " OR ".join(f'"{word}"' for word in words)
        rows = self._db.execute("SELECT id FROM notes WHERE notes MATCH ? ORDER BY rank LIMIT 10", (asked,))
        return len(rows.fetchall())

    def add(self, note: Sample) -> None:
        self._db.execute("INSERT INTO notes VALUES (?, ?)", (note.node_id, f"{note.title}. {note.text}"))
        self._db.commit()

    def remove(self, note: Sample) -> None:
        self._db.execute("DELETE FROM notes WHERE rowid = (SELECT max(rowid) FROM notes)")
        self._db.commit()


class ScikitLearn:
    """TfidfVectorizer and a sparse product; a change fits it again (an IDF that is frozen finds worse)."""

    def build(self, notes: Sequence[Sample]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._make: Callable[[], Any] = lambda: TfidfVectorizer(sublinear_tf=True, stop_words="english")
        self._texts = [f"{note.title}. {note.text}" for note in notes]
        self._fit()

    def find(self, words: Sequence[str]) -> int:
        import numpy as np

        scores = (self._matrix @ self._vectorizer.transform([" ".join(words)]).T).toarray().ravel()
        best = np.argpartition(-scores, 10)[:10]
        return len(best[np.argsort(-scores[best])])

    def add(self, note: Sample) -> None:
        self._texts.append(f"{note.title}. {note.text}")
        self._fit()

    def remove(self, note: Sample) -> None:
        self._texts.pop()
        self._fit()

    def _fit(self) -> None:
        self._vectorizer = self._make()
        self._matrix = self._vectorizer.fit_transform(self._texts).tocsr()


PEERS: dict[str, Callable[[], Peer]] = {
    "tantivy": Tantivy,
    "bm25s": Bm25s,
    "sqlite-fts5": Fts5,
    "scikit-learn": ScikitLearn,
}


def measure(peer: Peer, notes: Sequence[Sample]) -> dict[str, float]:
    """As core.measure(), as far as the tool has a counterpart. bytes_per_note: growth of the process."""
    kept, extra = notes[:-_CHANGED], notes[-_CHANGED:]
    df = Counter(word for note in kept for word in set(_WORD.findall(note.text.lower())))
    rng = random.Random(1)
    questions: list[Sequence[str]] = []
    for _ in range(_ASKED):
        note = kept[rng.randrange(len(kept))]
        words = set(_WORD.findall(f"{note.title} {note.text}".lower())) - {"and", "or", "not"}
        questions.append(sorted(words, key=lambda word: (df[word], word)) or ["nothing"])
    gc.collect()
    before = _memory()
    begun = perf_counter()
    peer.build(kept)
    built = perf_counter() - begun
    grown = _memory() - before
    peer.find(questions[0])  # compiles, where something is compiled
    finds = _while(peer.find, questions)
    pruned = _while(peer.find, [words[:_WORDS] for words in questions])
    adds = _while(peer.add, extra)
    removals = _while(peer.remove, list(reversed(extra))[: len(adds)])
    return {
        "build_s": round(built, 3),
        "bytes_per_note": round(grown / len(kept), 1),
        "find_p50_ms": _percentile(finds, 50),
        "find_p99_ms": _percentile(finds, 99),
        "find_32_p50_ms": _percentile(pruned, 50),
        "find_32_p99_ms": _percentile(pruned, 99),
        "add_ms": round(sum(adds) / len(adds) * 1e3, 3),
        "delete_ms": round(sum(removals) / len(removals) * 1e3, 3),
    }


def _while(work: Callable[[Any], object], inputs: Sequence[Any]) -> list[float]:
    taken: list[float] = []
    for each in inputs:
        begun = perf_counter()
        work(each)
        taken.append(perf_counter() - begun)
        if sum(taken) > _SECONDS:
            break
    return taken


def _percentile(taken: Sequence[float], percent: int) -> float:
    ordered = sorted(taken)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1e3, 4)


def _memory() -> int:
    """What the process holds, bytes; where there is no /proc, the most that it has held so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: Sequence[str]) -> int:
    """FILE SIZE NAME"""
    path, size, name = arguments
    print(json.dumps(measure(PEERS[name](), samples(read(Path(path)), int(size) + _CHANGED))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
