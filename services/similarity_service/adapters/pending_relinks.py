"""The durable queue of relinking, in Brain2-Main.

USER#u / SIM#SETTLE#<owner>   since, until (ms)
    DeletionQueue             SETTLE#<shard> / TIMESTAMP#<until ms>#USER#u#<owner>
An entry is in the user's own partition, so that erasing the user removes it; DeletionQueue finds entries by time.
"""

import asyncio
import zlib
from collections.abc import Sequence

from services.similarity_service.ports import PendingRelink
from shared.dynamo import PRESENT, Condition, ConditionFailed, Delete, Item, Key, Put, Table, TransactionCancelled
from shared.ids import time_key

_ENTRY = "SIM#SETTLE#"
# Each active user causes two writes a minute. The shards spread them over partitions.
SHARDS = 4
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
        await self._table.delete(_key(user_id, owner))

    async def expired(self, now_ms: int) -> Sequence[PendingRelink]:
        before = f"TIMESTAMP#{time_key(now_ms)}"
        pages = await asyncio.gather(
            *(
                self._table.query(f"SETTLE#{shard}", index="DeletionQueue", before=before, limit=_AT_ONCE)
                for shard in range(SHARDS)
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
            await self._table.transact([Delete(_key(theirs.user_id, theirs.owner), unchanged), Put(_item(mine))])
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                return False
            raise
        return True


def _key(user_id: str, owner: str) -> Key:
    return f"USER#{user_id}", f"{_ENTRY}{owner}"


def _item(entry: PendingRelink) -> Item:
    pk, sk = _key(entry.user_id, entry.owner)
    return {
        "PK": pk,
        "SK": sk,
        "since": entry.since_ms,
        "until": entry.until_ms,
        "GSI2PK": f"SETTLE#{zlib.crc32(entry.user_id.encode()) % SHARDS}",
        "GSI2SK": f"TIMESTAMP#{time_key(entry.until_ms)}#{pk}#{entry.owner}",
    }


def _pending_relink(item: Item) -> PendingRelink:
    return PendingRelink(
        item["PK"].removeprefix("USER#"), item["SK"].removeprefix(_ENTRY), item["since"], item["until"]
    )
