"""The index in this process: one user with so many notes, one thread, no gRPC."""

import gc
import random
from collections.abc import Sequence
from time import perf_counter

import numpy as np

from services.similarity_service.model import query, score, search
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.codec import Packed
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.model.engine.loading import Loading
from services.similarity_service.model.note import Note, analyse
from shared.lifecycle import tune_garbage_collection
from tests.bench.similarity.corpus import Sample

ASKED = 1_000
CHANGED = 500
# Records that the service reads at once.
_PAGE = 200


def timed(samples: Sequence[float], name: str) -> dict[str, float]:
    """Seconds as milliseconds: the median and the 99th percentile."""
    return {
        f"{name}_p50_ms": round(float(np.percentile(samples, 50)) * 1e3, 4),
        f"{name}_p99_ms": round(float(np.percentile(samples, 99)) * 1e3, 4),
    }


def measure(samples: Sequence[Sample]) -> dict[str, float]:
    """The last CHANGED samples are added and removed again; the others are loaded from their records."""
    english = analyser("english")
    begun = perf_counter()
    notes = [analyse(english, node_id=each.node_id, version=1, title=each.title, text=each.text) for each in samples]
    analysed = (perf_counter() - begun) / len(notes)
    kept, extra = notes[:-CHANGED], notes[-CHANGED:]
    records = [codec.pack(note) for note in kept]
    node_ids = [note.node_id for note in kept]
    record_bytes = sum(map(len, records)) / len(records)
    del notes, kept
    tune_garbage_collection()

    begun = perf_counter()
    loading = Loading()
    for first in range(0, len(records), _PAGE):
        page = slice(first, first + _PAGE)
        loading.take([_inflate(*each) for each in zip(node_ids[page], records[page], strict=True)])
    index = UserIndex()
    index.load(loading)
    loaded = perf_counter() - begun
    del records
    gc.collect()
    gc.freeze()

    found = {
        "cold_load_s": round(loaded, 3),
        "analyse_ms": round(analysed * 1e3, 4),
        "record_bytes": round(record_bytes, 1),
        "bytes_per_note": round(index.nbytes / len(index), 1),
    }
    rng = random.Random(1)
    docs = [rng.randrange(len(index)) for _ in range(ASKED)]
    found |= timed([_find(index, doc) for doc in docs], "find")
    found |= timed([_search(index, index.title(doc)) for doc in docs], "search")
    adds = [_add(index, note) for note in extra]
    removals = [_remove(index, note.node_id) for note in extra]
    found |= {"add_ms": round(float(np.mean(adds)) * 1e3, 4), "delete_ms": round(float(np.mean(removals)) * 1e3, 4)}
    gc.unfreeze()
    return found | timed(adds, "add") | timed(removals, "delete")


def _inflate(node_id: str, record: bytes) -> Packed:
    return codec.inflate(record, node_id=node_id, incarnation=0, version=1)


def _find(index: UserIndex, doc: int) -> float:
    begun = perf_counter()
    score.find(index, query.of_doc(index, doc), 10)
    return perf_counter() - begun


def _search(index: UserIndex, text: str) -> float:
    begun = perf_counter()
    search.search(index, search.parse(index, text), 10)
    return perf_counter() - begun


def _add(index: UserIndex, note: Note) -> float:
    begun = perf_counter()
    index.add(note)
    return perf_counter() - begun


def _remove(index: UserIndex, node_id: str) -> float:
    begun = perf_counter()
    index.remove(node_id)
    return perf_counter() - begun
