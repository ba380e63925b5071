"""How good the links are: `make eval`, on any collection with known links, through the code that links notes.

FILE is JSON lines (gzipped or not): id, title, text, links (ids), and if it is there text_hard, the text without the
words that the known links hang on. Leave-one-out: each note that has a known link (undirected; a note with more than 50
gives none) asks for the 10 best others, over the index of all notes. links: what production would link by default, over
text.

    python -m tests.bench.eval FILE [--sample N] [--language LANGUAGE] [--out docs/bench/similarity-quality.json]
"""

import argparse
import gzip
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.similarity_service.model import query, score, search
from services.similarity_service.model.analysis import analyser, fold_title
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.loading import Loading
from services.similarity_service.model.links import Linker
from services.similarity_service.model.note import analyse
from services.similarity_service.model.user_settings import UserSettings
from tests.bench.similarity import corpus

OUT = Path("docs/bench/similarity-quality.json")
_MOST_LINKS = 50
_SHORTEST = 5
_BEST = 10
_AT_ONCE = 200
_DISCOUNT = 1 / np.log2(np.arange(2, _BEST + 2))


@dataclass(frozen=True)
class Collection:
    """Notes as read, the known links of each both ways, and the notes that ask."""

    notes: Sequence[Mapping[str, Any]]
    known: Mapping[str, frozenset[str]]
    asking: Sequence[str]


def read(path: Path) -> Collection:
    """A collection in the format above. ValueError when the file isn't one."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    notes = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not notes or not all({"id", "title", "text", "links"} <= note.keys() for note in notes):
        raise ValueError(f"{path}: each line needs id, title, text and links")
    known: dict[str, set[str]] = {note["id"]: set() for note in notes}
    for note in notes:
        if len(note["links"]) <= _MOST_LINKS:
            for other in note["links"]:
                if other in known and other != note["id"]:
                    known[note["id"]].add(other)
                    known[other].add(note["id"])
    asking = [
        note["id"]
        for note in notes
        if known[note["id"]] and len(note.get("text_hard", note["text"]).split()) >= _SHORTEST
    ]
    return Collection(notes, {node_id: frozenset(others) for node_id, others in known.items()}, asking)


def index_of(collection: Collection, field: str, language: str = "english") -> UserIndex:
    """The index that the service would hold of these notes."""
    chosen = analyser(language)
    loading = Loading()
    for first in range(0, len(collection.notes), _AT_ONCE):
        analysed = [
            analyse(chosen, node_id=note["id"], version=1, title=note["title"], text=note[field])
            for note in collection.notes[first : first + _AT_ONCE]
        ]
        loading.take([codec.packed(note) for note in analysed])
    index = UserIndex(language)
    index.load(loading)
    return index


def ranking(index: UserIndex, collection: Collection, asking: Sequence[str]) -> dict[str, float]:
    """nDCG@10, precision at 5, recall at 10 and mean reciprocal rank (within 10) of the notes found."""
    sums = np.zeros(4)
    for node_id in asking:
        found = score.find(index, query.of_doc(index, index.doc(node_id)), _BEST)
        gold = collection.known[node_id]
        hits = np.zeros(_BEST)
        hits[: len(found)] = [index.id(match.doc) in gold for match in found]
        ideal = _DISCOUNT[: min(_BEST, len(gold))].sum()
        first = np.flatnonzero(hits)
        sums += (
            (hits * _DISCOUNT).sum() / ideal,
            hits[:5].mean(),
            hits.sum() / len(gold),
            1 / (first[0] + 1) if len(first) else 0.0,
        )
    ndcg10, p5, r10, mrr = (sums / max(1, len(asking))).round(4).tolist()
    return {"ndcg10": ndcg10, "p5": p5, "r10": r10, "mrr": mrr}


def linking(index: UserIndex, collection: Collection) -> dict[str, float]:
    """The automatic links of all notes against the known ones. per_note: links at a note, on average."""
    linker = Linker(index, UserSettings())
    made = {frozenset((node_id, link.node_id)) for node_id in sorted(index.ids()) for link in linker.links(node_id)}
    gold = {frozenset((one, other)) for one, others in collection.known.items() for other in others}
    # A note without any known link can't be judged: nobody looked for its links.
    judged = {pair for pair in made if any(collection.known[node_id] for node_id in pair)}
    right = len(made & gold)
    return {
        "precision": round(right / max(1, len(judged)), 4),
        "recall": round(right / max(1, len(gold)), 4),
        "per_note": round(2 * len(made) / max(1, len(index)), 3),
    }


def titles(index: UserIndex, collection: Collection) -> dict[str, float]:
    """How often a note is the first hit of a search for its title; of several notes of one title any."""
    asked = [note["title"] for note in collection.notes if note["title"].strip()]
    found = 0
    for title in asked:
        hits = search.search(index, search.parse(index, title), 1).hits
        found += bool(hits) and fold_title(index.title(hits[0].doc)) == fold_title(title)
    return {"recall1": round(found / max(1, len(asked)), 4)}


def main(arguments: Sequence[str]) -> int:
    """Evaluate, print, write. 0 when done."""
    parser = argparse.ArgumentParser(prog="make eval", description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="default: FOLDOC where it lies, else the shipped sample")
    parser.add_argument("--sample", type=int, default=0, help="ask for so many notes only, chosen at random")
    parser.add_argument("--language", default="english", help="of the notes, as in the user's settings")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    path = options.file or corpus.collection()
    collection = read(path)
    asking = list(collection.asking)
    if options.sample:
        asking = random.Random(1).sample(asking, min(options.sample, len(asking)))
    report: dict[str, Any] = {
        "collection": path.name,
        "notes": len(collection.notes),
        "asked": len(asking),
        "method": score.METHOD,
    }
    for field in ("text", "text_hard"):
        if not all(field in note for note in collection.notes):
            continue
        begun = time.monotonic()
        index = index_of(collection, field, options.language)
        report[field] = ranking(index, collection, asking)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in report[field].items())
        print(f"{field:10} {shown}   ({time.monotonic() - begun:.0f} s)", flush=True)
        if field == "text":
            report["links"] = linking(index, collection)
            shown = "  ".join(f"{name} {value:.4f}" for name, value in report["links"].items())
            print(f"{'links':10} {shown}", flush=True)
            report["titles"] = titles(index, collection)
            print(f"{'titles':10} recall1 {report['titles']['recall1']:.4f}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
