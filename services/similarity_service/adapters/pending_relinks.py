"""The durable queue of relinking, in Brain2-Main.

USER#u / SIM#SETTLE#<owner>   since, until (ms)
    DeletionQueue             SETTLE#<shard> / TIMESTAMP#<until ms>#USER#u#<owner>
An entry is in the user's own partition, so that erasing the user removes it; DeletionQueue finds entries by time.
"""

import asyncio
from collections.abc import Sequence

from protos import table
from services.similarity_service.ports import PendingRelink
from shared.dynamo import PRESENT, Condition, ConditionFailed, Delete, Item, Put, Table, TransactionCancelled

_AT_ONCE = 50


class DynamoPendingRelinks:
    """ports.PendingRelinkStore."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def put(self, mine: PendingRelink) -> None:
        await self._table.put(_item(mine))

    async def renew(self, mine: PendingRelink) -> bool:
        try:
            await self._table.put(_item(mine), condition=PRESENT)
        except ConditionFailed:
            return False
        return True

    async def remove(self, user_id: str, owner: str) -> None:
        await self._table.delete(table.relink_key(user_id, owner))

    async def expired(self, now_ms: int) -> Sequence[PendingRelink]:
        before = table.time_bound(now_ms)
        pages = await asyncio.gather(
            *(
                self._table.query(
                    table.relink_partition(shard), index=table.DELETION_QUEUE, before=before, limit=_AT_ONCE
                )
                for shard in range(table.RELINK_SHARDS)
            )
        )
        keys = [(item["PK"], item["SK"]) for page in pages for item in page.items]
        # The index holds keys only and is eventually consistent: the entries themselves are read.
        items = await self._table.batch_get(keys, consistent=True) if keys else {}
        found = [_pending_relink(item) for item in items.values()]
        return [each for each in found if each.until_ms < now_ms]

    async def take(self, theirs: PendingRelink, mine: PendingRelink) -> bool:
        unchanged = Condition("#u = :u", {"#u": "until"}, {":u": theirs.until_ms})
        try:
            await self._table.transact(
                [Delete(table.relink_key(theirs.user_id, theirs.owner), unchanged), Put(_item(mine))]
            )
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                return False
            raise
        return True


def _item(entry: PendingRelink) -> Item:
    pk, sk = table.relink_key(entry.user_id, entry.owner)
    return {
        "PK": pk,
        "SK": sk,
        "since": entry.since_ms,
        "until": entry.until_ms,
        "GSI2PK": table.relink_partition(table.relink_shard(entry.user_id)),
        "GSI2SK": table.relink_sort_key(entry.until_ms, entry.user_id, entry.owner),
    }


def _pending_relink(item: Item) -> PendingRelink:
    return PendingRelink(table.user_of(item["PK"]), table.relink_owner(item["SK"]), item["since"], item["until"])
