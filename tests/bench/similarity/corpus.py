"""Notes for measuring: FOLDOC as it is, then copies of it in which words, names and titles change.

Plain repetition would flatter an index (its vocabulary would stop growing, every note would have twins). In a copy
three words in ten are drawn anew from the collection's own distribution, half of the rare words are new ones, and
titles are mixed from two. Documents stay about as long and common words as common, and the vocabulary goes on growing.
"""

import gzip
import json
import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

_REDRAWN = 0.3
_RENAMED = 0.5
_RARE = 3
_COLLECTIONS = (Path("../shared/data/foldoc.jsonl.gz"), Path("deploy/local/sample/notes.jsonl"))
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Sample:
    """A note to be measured with."""

    node_id: str
    title: str
    text: str


def collection() -> Path:
    """FOLDOC where it lies beside the checkout, else the sample that the project ships."""
    return next((each for each in _COLLECTIONS if each.exists()), _COLLECTIONS[-1])


def read(path: Path) -> list[Sample]:
    """The notes of a JSON lines file (id, title, text), gzipped or not."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    notes = [json.loads(line) for line in text.split("\n") if line.strip()]
    return [Sample(note["id"], note["title"], note["text"]) for note in notes]


def samples(base: Sequence[Sample], count: int, seed: int = 1) -> list[Sample]:
    """So many notes: the base itself, then its perturbed copies; the same for the same seed."""
    return list(islice(_endless(base, seed), count))


def _endless(base: Sequence[Sample], seed: int) -> Iterator[Sample]:
    yield from base
    rng = random.Random(seed)
    counts = Counter(word for note in base for word in note.text.split())
    words = list(counts)
    steps = list(accumulate(counts.values()))
    copy = 0
    while True:
        copy += 1
        mark = _name(copy)
        for note in base:
            text = []
            for word in note.text.split():
                if rng.random() < _REDRAWN:
                    text.append(words[bisect(steps, rng.random() * steps[-1])])
                elif counts[word] <= _RARE and rng.random() < _RENAMED:
                    text.append(word.rstrip(".,;:") + mark)
                else:
                    text.append(word)
            first, second = note.title.split(), base[rng.randrange(len(base))].title.split()
            title = " ".join([*first[: (len(first) + 1) // 2], *second[len(second) // 2 :]])
            yield Sample(f"{note.node_id}-{copy}", title, " ".join(text))


def _name(number: int) -> str:
    name = ""
    while number:
        number, letter = divmod(number - 1, len(_LETTERS))
        name = _LETTERS[letter] + name
    return name
