"""The index of one user's notes: postings of terms, and of each note what scoring and phrases need.

It is a pure function of the set of notes that are in it: weights come from counts at the time of asking, so neither the
order of adding nor what was removed since changes an answer. Adding or removing a note costs what the note is long.
Not thread-safe: one owner at a time.

A note's number ("doc") is the order of its arrival in this process; it means nothing outside.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.similarity_service.model.analysis import Analyser, analyser
from services.similarity_service.model.arrays import Floats, Growing, Ints, Postings, Rows
from services.similarity_service.model.note import NARROW, WIDE, Note
from services.similarity_service.model.repeats import Repeats
from services.similarity_service.model.titles import Titles
from services.similarity_service.model.vocabulary import TAG, TAG_PREFIX, Vocabulary

# Weight of a term that occurs so often: logarithmic, since the tenth time says less than the second.
LOG_TF = np.concatenate([[0.0], 1.0 + np.log(np.arange(1, 256))]).astype(np.float32)
_SQUARES = LOG_TF * LOG_TF
# Bytes of a node id: a str in a list and in a dict, and its number.
_ID_BYTES = 49 + 32


class UserIndex:
    """Everything that is asked about one user's notes, in memory."""

    def __init__(self, language: str = "english") -> None:
        self.analyser: Analyser = analyser(language)
        self.vocabulary = Vocabulary(self.analyser.stop_terms)
        self.postings = Postings()
        self.titles = Titles(self)
        self.repeats = Repeats()
        self.docs: dict[str, int] = {}
        self.ids: list[str] = []
        # 0 for removed notes, so that they score nothing.
        self.inverse_norm = Growing(np.float32)
        # Occurrences in title and text.
        self.lengths = Growing(np.int32)
        self.stamps = Growing(np.int64)
        self.terms = Rows(np.int32)
        # Beside terms.values, place by place.
        self.codes = Growing(np.uint8, room=1024)
        self.salient_terms = Rows(np.int32)
        # Sequences of local numbers; those of two bytes are in _wide, and their row here is empty.
        self.narrow = Rows(np.uint8)
        self._wide: dict[int, NDArray[np.uint16]] = {}
        self._titles = Rows(np.uint8)
        self.live = 0
        self.total_length = 0
        # Raised at each change.
        self.epoch = 0
        self._id_bytes = 0
        self._scratch = np.zeros(0, np.float32)

    def __len__(self) -> int:
        return self.live

    def __contains__(self, node_id: str) -> bool:
        return node_id in self.docs

    @property
    def nbytes(self) -> int:
        """Memory in bytes: arrays as they are, Python objects as CPython 3.11 on 64 bits makes them."""
        parts = (
            self.vocabulary, self.postings, self.titles, self.repeats, self.inverse_norm, self.lengths, self.stamps,
            self.terms, self.codes, self.salient_terms, self.narrow, self._titles,
        )  # fmt: skip
        wide = sum(array.nbytes + 112 for array in self._wide.values()) + self._wide.__sizeof__()
        return (
            sum(part.nbytes for part in parts) + wide + self.docs.__sizeof__() + self.ids.__sizeof__() + self._id_bytes
        )

    @property
    def waste(self) -> float:
        """The share of places whose note was removed since the last rebuild."""
        return 1 - self.live / len(self.ids) if self.ids else 0.0

    def scratch(self, size: int) -> Floats:
        """A table of zeros over all terms; whoever writes into it puts the zeros back."""
        if len(self._scratch) < size:
            self._scratch = np.zeros(size + size // 4, np.float32)
        return self._scratch

    def title(self, doc: int) -> str:
        return self._titles[doc].tobytes().decode()

    def stamp(self, node_id: str) -> tuple[int, int] | None:
        """(incarnation, version) of a note that is in, else None."""
        doc = self.docs.get(node_id)
        return None if doc is None else (int(self.stamps.data[2 * doc]), int(self.stamps.data[2 * doc + 1]))

    def is_live(self, doc: int) -> bool:
        return bool(self.ids[doc])

    def is_wide(self, doc: int) -> bool:
        """Whether its sequence is kept apart (over 255 different terms)."""
        return doc in self._wide

    def codes_of(self, doc: int) -> NDArray[np.uint8]:
        return self.codes.data[self.terms.span(doc)]

    def tags_of(self, doc: int) -> list[str]:
        terms = self.terms[doc]
        tags = terms[(self.vocabulary.flags.data[terms] & TAG) != 0]
        return [self.vocabulary.words[n][1:] for n in tags.tolist()]

    def sequence(self, doc: int) -> Ints:
        """The numbers of a note's terms in order, -1 between title and text."""
        wide = self._wide.get(doc)
        local: NDArray[np.int64] = (self.narrow[doc] if wide is None else wide).astype(np.int64)
        row = self.terms[doc]
        if not len(row):
            return np.full(len(local), -1, np.int32)
        between = local == (NARROW if wide is None else WIDE)
        local[between] = 0
        found = row[local]
        found[between] = -1
        return found

    def add(self, note: Note) -> int:
        """Put a visible note in, in place of what was known of it. Returns its number."""
        if note.node_id in self.docs:
            self.remove(note.node_id)
        self.repeats.reserve(self.live + 1)
        numbers = np.array(self._numbers_of(note), np.int32)
        codes = np.zeros(len(numbers), np.uint8)
        codes[: len(note.codes)] = np.frombuffer(note.codes, np.uint8)
        doc = self._place(note)
        self.terms.append(numbers)
        self.codes.extend(codes)
        weight = float(_SQUARES[codes].sum())
        self.inverse_norm.append(weight**-0.5 if weight else 0.0)
        salient = numbers[[number for number, _ in note.salient]]
        self.salient_terms.append(salient)
        self.narrow.append(np.frombuffer(b"" if note.wide else note.sequence, np.uint8))
        self.postings.reach(len(self.vocabulary))
        self.vocabulary.df.data[numbers] += 1
        self.vocabulary.salient.data[salient] += 1
        self.postings.append(numbers, doc, codes)
        self.repeats.add(note.sentences)
        self.titles.add(doc, note)
        return doc

    def remove(self, node_id: str) -> bool:
        """Take a note out; false if it wasn't in. Its postings stay until the next rebuild, without weight."""
        doc = self.docs.pop(node_id, None)
        if doc is None:
            return False
        self.titles.remove(doc)
        self.vocabulary.df.data[self.terms[doc]] -= 1
        self.vocabulary.salient.data[self.salient_terms[doc]] -= 1
        self.repeats.remove(doc)
        self.inverse_norm.data[doc] = 0
        self.live -= 1
        self.total_length -= int(self.lengths.data[doc])
        self._wide.pop(doc, None)
        self.ids[doc] = ""
        self.epoch += 1
        return True

    def load(self, notes: Sequence[Note]) -> None:
        """Put many visible notes with different ids into an empty index at once; the same as adding each, 10 times
        faster.
        """
        if self.ids:
            raise ValueError("load() fills an empty index")
        self.repeats.reserve(len(notes))
        numbers: list[int] = []
        salient: list[int] = []
        codes = bytearray()
        sequences = bytearray()
        sizes, salient_sizes, sequence_sizes = [], [], []
        for note in notes:
            own = self._numbers_of(note)
            self._place(note)
            numbers += own
            codes += note.codes
            codes += bytes(len(own) - len(note.codes))
            sizes.append(len(own))
            salient += [own[number] for number, _ in note.salient]
            salient_sizes.append(len(note.salient))
            if note.wide:
                sequence_sizes.append(0)
            else:
                sequences += note.sequence
                sequence_sizes.append(len(note.sequence))
            self.repeats.add(note.sentences)
        terms = np.array(numbers, np.int32)
        tf = np.frombuffer(bytes(codes), np.uint8)
        docs = np.repeat(np.arange(len(notes), dtype=np.int32), sizes)
        self.terms.load(terms, sizes)
        self.codes.extend(tf)
        self.salient_terms.load(np.array(salient, np.int32), salient_sizes)
        self.narrow.load(np.frombuffer(bytes(sequences), np.uint8), sequence_sizes)
        weights = np.bincount(docs, weights=_SQUARES[tf], minlength=len(notes))
        self.inverse_norm.extend(np.where(weights > 0, np.maximum(weights, 1e-9) ** -0.5, 0))
        count = len(self.vocabulary)
        self.vocabulary.df.data[:count] = np.bincount(terms, minlength=count)
        self.vocabulary.salient.data[:count] = np.bincount(salient, minlength=count) if salient else 0
        self.postings.load(terms, docs, tf, count)
        self.titles.load(notes)

    def _numbers_of(self, note: Note) -> list[int]:
        vocabulary = self.vocabulary
        numbers = vocabulary.number_all(note.terms)
        first = vocabulary.register()
        if first < len(vocabulary):
            for number, form in zip(numbers, note.forms, strict=False):
                if form and number >= first:
                    vocabulary.set_form(number, form)
        if note.tags:
            numbers += vocabulary.number_all(TAG_PREFIX + tag for tag in note.tags)
            vocabulary.register()
        return numbers

    def _place(self, note: Note) -> int:
        doc = len(self.ids)
        self.ids.append(note.node_id)
        self.docs[note.node_id] = doc
        self._id_bytes += _ID_BYTES + len(note.node_id)
        title = note.title.encode()
        self._titles.append(np.frombuffer(title, np.uint8))
        self.stamps.append(note.incarnation)
        self.stamps.append(note.version)
        length = (len(note.sequence) >> note.wide) - 1
        self.lengths.append(length)
        if note.wide:
            self._wide[doc] = np.frombuffer(note.sequence, np.uint16)
        self.live += 1
        self.total_length += length
        self.epoch += 1
        return doc
