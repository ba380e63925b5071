"""Read your own write: a request waits until the index has the notes that an earlier write has changed."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.similarity_service.model.stored import Stored
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.validation import check_ids
from shared import revisions
from shared.errors import Unavailable
from shared.ids import Clock
from shared.resilience import foreground
from shared.resilience.retry import Sleep
from shared.revisions import Revision

# A request waits at most this long, and ends so long before its deadline that the caller still gets the answer.
_MOST_SECONDS = 5.0
_SPARE_SECONDS = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25


@dataclass(frozen=True, slots=True)
class WaitForIndex:
    """Waits for the revisions in consistency tokens.

    remaining: gives the seconds until the deadline of the current call; None means that it has no deadline.
    """

    cache: IndexCache
    clock: Clock
    remaining: Callable[[], float | None]
    sleep: Sleep = asyncio.sleep

    async def __call__(self, user_id: str, token: str) -> Mapping[str, Revision]:
        """Return the revisions of the token, by node id, once the index has them; at once for "".

        InvalidArgument (CONSISTENCY_TOKEN_INVALID); Unavailable (INDEX_BEHIND) when the index is not so far in time.
        """
        check_ids(user_id)
        wanted = revisions.decode(token)
        left = self.remaining()
        end = self.clock.monotonic() + min(_MOST_SECONDS, _MOST_SECONDS if left is None else left - _SPARE_SECONDS)
        pause = _FIRST_PAUSE
        while behind := await self._behind(user_id, wanted):
            if self.clock.monotonic() + pause > end:
                raise Unavailable(
                    "the index does not have the write yet",
                    reason="INDEX_BEHIND",
                    retry_after=1.0,
                    metadata={"node_ids": ",".join(behind)},
                )
            with foreground.stand_back():  # otherwise the indexing would wait until this call ends
                await self.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return wanted

    async def _behind(self, user_id: str, wanted: Mapping[str, Revision]) -> list[str]:
        """The notes that the index does not have at these revisions or later ones."""
        if not wanted:
            return []
        stamps = await self.cache.query(user_id, lambda index: {each: index.stamp(each) for each in wanted})
        old = [each for each, stamp in stamps.items() if stamp is None or stamp < wanted[each]]
        records = await self.cache.records(user_id, old) if old else {}
        return [each for each in old if not _is_hidden_since(records.get(each), wanted[each])]


def _is_hidden_since(stored: Stored | None, revision: Revision) -> bool:
    """Whether a note was deleted after a revision: then no answer has it, as it should be."""
    if stored is None or stored.shown is not None:
        return False
    return (stored.incarnation, max(stored.version, stored.state_version)) >= revision
