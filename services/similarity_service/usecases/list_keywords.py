"""ListKeywords: the keywords of all notes, most frequent first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.similarity_service.model.checkpoint import EVERY, checkpoint
from services.similarity_service.model.engine.index import UserIndex
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.validation import check_ids
from shared.pages import page_size
from shared.tokens import PAGE, Integer, Text, TokenCodec, fingerprint

# Above this many terms of an index, the keywords are counted in a thread.
_MANY_TERMS = 10_000
# The count and term of the last keyword of a page.
_TOKENS: TokenCodec[tuple[int, str]] = TokenCodec(PAGE, lambda c, t: (c, t), {"c": Integer(0, 2**53), "t": Text(512)})


@dataclass(frozen=True, slots=True)
class ListKeywords:
    """Lists keywords; reads only."""

    cache: IndexCache

    async def __call__(self, user_id: str, prefix: str, size: int, token: str) -> tuple[Sequence[tuple[str, int]], str]:
        """(keyword, notes that have it among theirs) of a page, and the token of the next page."""
        check_ids(user_id)
        wanted = page_size("page_size", size, default=100, maximum=1000)
        query_hash = fingerprint("ListKeywords", user_id, prefix)
        after = _TOKENS.decode(query_hash, token)
        counts = await self.cache.query(
            user_id,
            lambda index: _counts(index, prefix, wanted + 1, after),
            long=lambda index: len(index.vocabulary) > _MANY_TERMS,
        )
        shown = counts[:wanted]
        more = len(counts) > wanted
        next_token = _TOKENS.encode(query_hash, int(shown[-1][1]), shown[-1][2]) if more else ""
        return [(form, count) for form, count, _ in shown], next_token


def _counts(index: UserIndex, prefix: str, most: int, after: tuple[int, str] | None) -> list[tuple[str, int, str]]:
    """(form, count, term), most frequent first, then by term. after: count and term of the last one before."""
    begins = prefix.casefold()
    vocabulary = index.vocabulary
    counts = vocabulary.salient.view
    numbers = np.flatnonzero(counts > 0)
    order = numbers[np.argsort(-counts[numbers], kind="stable")]
    found: list[tuple[str, int, str]] = []
    last = 0
    for place, number in enumerate(order.tolist(), 1):
        if not place % EVERY:
            checkpoint()
        count = int(counts[number])
        if len(found) >= most and count < last:
            break  # all keywords of one count are collected before they are sorted
        if after is not None and count > after[0]:
            continue
        term = vocabulary.word(number)
        form = vocabulary.form(number)
        if begins and not form.casefold().startswith(begins) and not term.startswith(begins):
            continue
        if after is not None and (-count, term) <= (-after[0], after[1]):
            continue
        found.append((form, count, term))
        last = count
    found.sort(key=lambda item: (-item[1], item[2]))
    return found[:most]
