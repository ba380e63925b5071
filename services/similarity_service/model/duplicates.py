"""Near-duplicates: pasted notes, double imports, a draft and its copy. They are shown as such and never linked."""

import numpy as np

from services.similarity_service.model.engine.arrays import Ints

# Only pairs of at least this likeness are compared.
LEAST_LIKENESS = 0.8
# Share of runs of three terms that both have, of all that either has (Jaccard).
_LEAST_OVERLAP = 0.8
_RUN = 3


def same_text(one: Ints, other: Ints) -> bool:
    """Whether two notes, as sequences of terms (title, -1, text), are nearly word for word the same."""
    first, second = _runs(one), _runs(other)
    both = len(first & second)
    return both >= _LEAST_OVERLAP * (len(first) + len(second) - both) and both > 0


def _runs(terms: Ints) -> set[tuple[int, ...]]:
    # Texts decide; a note that has only a title is its title.
    cut = int(np.argmax(terms < 0)) + 1 if len(terms) else 0
    sequence = (terms[cut:] if len(terms) - cut >= _RUN else terms).tolist()
    if len(sequence) < _RUN:
        return {tuple(sequence)} if sequence else set()
    return set(zip(*(sequence[shift:] for shift in range(_RUN)), strict=False))
