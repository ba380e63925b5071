"""Read your own write: a request waits until the index has the notes that an earlier write has changed."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.similarity_service.ports import Records
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.validation import check_ids
from shared import written_versions
from shared.errors import Unavailable
from shared.ids import Clock
from shared.resilience.retry import Sleep

# A request waits at most this long, and ends so long before its deadline that the caller still gets the answer.
_MOST_SECONDS = 5.0
_SPARE_SECONDS = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25


@dataclass(frozen=True, slots=True)
class WaitForIndex:
    """Waits for the versions in consistency tokens.

    remaining: gives the seconds until the deadline of the current call; None means that it has no deadline.
    """

    records: Records
    cache: IndexCache
    clock: Clock
    remaining: Callable[[], float | None]
    sleep: Sleep = asyncio.sleep

    async def __call__(self, user_id: str, token: str) -> Mapping[str, int]:
        """Return the versions of the token, by node id, once the index has them; at once for "".

        InvalidArgument (CONSISTENCY_TOKEN_INVALID); Unavailable (INDEX_BEHIND) when the index is not so far in time.
        """
        check_ids(user_id)
        versions = written_versions.decode(token)
        left = self.remaining()
        end = self.clock.monotonic() + min(_MOST_SECONDS, _MOST_SECONDS if left is None else left - _SPARE_SECONDS)
        pause = _FIRST_PAUSE
        while behind := await self._behind(user_id, versions):
            if self.clock.monotonic() + pause > end:
                raise Unavailable(
                    "the index does not have the write yet",
                    reason="INDEX_BEHIND",
                    retry_after=1.0,
                    metadata={"node_ids": ",".join(behind)},
                )
            await self.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return versions

    async def _behind(self, user_id: str, versions: Mapping[str, int]) -> list[str]:
        """The notes that the index does not have at their versions or later."""
        if not versions:
            return []
        stamps = await self.cache.query(user_id, lambda index: {each: index.stamp(each) for each in versions})
        old = [each for each, stamp in stamps.items() if stamp is None or stamp[1] < versions[each]]
        if not old:
            return []
        records = await self.records.get_many(user_id, old)
        # A note that was deleted since is in no answer, as it should be.
        return [
            each
            for each in old
            if each not in records
            or records[each].shown is not None
            or max(records[each].version, records[each].state_version) < versions[each]
        ]
