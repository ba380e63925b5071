"""Rejected links of earlier releases, which were items of their own: GRAPH#SUPPRESSED#<a>#<b>[#<type>].

They are converted to suppressed edges before the first edges of a user are created: then the condition of the edge's
own items is enough. While old and new replicas run side by side an old one may still write such an item, so a user is
looked at again from time to time.
"""

from collections import OrderedDict

from protos import table
from services.graph_service.adapters import items
from services.graph_service.model.edge import edge_key, suppression
from shared.dynamo import ABSENT, Delete, Item, Put, Table, TransactionCancelled
from shared.ids import Clock

# Seconds for which a user counts as converted, and how many users are kept in mind.
_SECONDS = 600.0
_USERS = 10_000


class OldSuppressions:
    """Converts the items of a user; one small query for each active user in ten minutes."""

    def __init__(self, items_table: Table, clock: Clock) -> None:
        self._table = items_table
        self._clock = clock
        # user_id -> when it was converted (monotonic seconds), the earliest first.
        self._done: OrderedDict[str, float] = OrderedDict()

    async def convert(self, user_id: str) -> None:
        """Return when no rejection of the user is stored in the old form."""
        now = self._clock.monotonic()
        if now - self._done.get(user_id, float("-inf")) < _SECONDS:
            return
        partition = table.user_partition(user_id)
        async for page in self._table.query_pages(partition, begins_with=table.SUPPRESSED):
            for item in page:
                await self._convert(user_id, item)
        self._done[user_id] = now
        self._done.move_to_end(user_id)
        if len(self._done) > _USERS:
            self._done.popitem(last=False)

    async def _convert(self, user_id: str, item: Item) -> None:
        key = edge_key(*table.suppressed_of(item["SK"]))
        edge = suppression(user_id, key, None, int(item["ct"]))
        old = item["PK"], item["SK"]
        try:
            await self._table.transact([*(Put(each, ABSENT) for each in items.edge_items(edge)), Delete(old)])
        except TransactionCancelled as error:
            if not any(reason.failed for reason in error.reasons):
                raise
            # There is an edge, so a person has created it since, which ends the rejection.
            await self._table.delete(old)
