"""The durable queue of relinking, in Brain2-Main.

USER#u / SIM#SETTLE#<owner>   since, until (ms), open, added (ids of notes that other processes have added)
    DeletionQueue             SETTLE#<shard> / TIMESTAMP#<until ms>#USER#u#<owner>
An entry is in the user's own partition, so that erasing the user removes it; DeletionQueue finds entries by time.
"""

import asyncio
from collections.abc import Awaitable, Collection, Sequence

from protos import table
from services.similarity_service.ports import PendingRelink
from shared.dynamo import (
    Condition,
    ConditionFailed,
    Delete,
    Item,
    Op,
    Put,
    Table,
    TransactionCancelled,
    Update,
)

_AT_ONCE = 50
# The owner writes an entry only as long as nobody has added notes: it must have them in memory first.
_NOTHING_ADDED = Condition("attribute_not_exists(added)")
_THERE = Condition("attribute_exists(PK) AND attribute_not_exists(added)")


class DynamoPendingRelinks:
    """ports.PendingRelinkStore."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def put(self, mine: PendingRelink) -> bool:
        return await _held(self._table.put(_item(mine), condition=_NOTHING_ADDED))

    async def renew(self, mine: PendingRelink) -> bool:
        return await _held(self._table.put(_item(mine), condition=_THERE))

    async def remove(self, user_id: str, owner: str) -> bool:
        return await _held(self._table.delete(table.relink_key(user_id, owner), condition=_NOTHING_ADDED))

    async def get(self, user_id: str, owner: str) -> PendingRelink | None:
        item = await self._table.get(table.relink_key(user_id, owner), consistent=True)
        return None if item is None else _pending_relink(item)

    async def remove_added(self, mine: PendingRelink) -> bool:
        unchanged = Condition("#s = :s AND added = :ids", {"#s": "since"}, {":s": mine.since_ms, ":ids": mine.added})
        key = table.relink_key(mine.user_id, mine.owner)
        return await _held(self._table.update(Update(key, "REMOVE added", condition=unchanged)))

    async def of_user(self, user_id: str) -> Sequence[PendingRelink]:
        page = await self._table.query(
            table.user_partition(user_id), begins_with=table.RELINKS, limit=_AT_ONCE, consistent=True
        )
        return [_pending_relink(item) for item in page.items]

    async def add(self, theirs: PendingRelink, since_ms: int, node_ids: Collection[str], now_ms: int) -> bool:
        return await _held(self._table.update(_addition(theirs, since_ms, node_ids, now_ms)))

    async def hand_over(self, mine: PendingRelink, theirs: PendingRelink, now_ms: int) -> bool:
        removal = Delete(table.relink_key(mine.user_id, mine.owner), _NOTHING_ADDED)
        return await self._transact([removal, _addition(theirs, mine.since_ms, mine.added, now_ms)])

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
        names, values = {"#u": "until", "#s": "since"}, {":u": theirs.until_ms, ":s": theirs.since_ms}
        if theirs.added:
            unchanged = Condition("#u = :u AND #s = :s AND added = :ids", names, {**values, ":ids": theirs.added})
        else:
            unchanged = Condition("#u = :u AND #s = :s AND attribute_not_exists(added)", names, values)
        removal = Delete(table.relink_key(theirs.user_id, theirs.owner), unchanged)
        return await self._transact([removal, Put(_item(mine), _NOTHING_ADDED)])

    async def _transact(self, ops: Sequence[Op]) -> bool:
        """Whether the conditions held. TransactionCancelled when something else was the cause."""
        try:
            await self._table.transact(ops)
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                return False
            raise
        return True


async def _held(write: Awaitable[object]) -> bool:
    """Whether the condition of a write held, and it was done."""
    try:
        await write
    except ConditionFailed:
        return False
    return True


def _addition(theirs: PendingRelink, since_ms: int, node_ids: Collection[str], now_ms: int) -> Update:
    return Update(
        table.relink_key(theirs.user_id, theirs.owner),
        "SET #s = :s ADD added :ids",
        {"#s": "since", "#u": "until", "#o": "open"},
        {":s": min(since_ms, theirs.since_ms), ":ids": set(node_ids), ":t": theirs.since_ms, ":n": now_ms, ":o": True},
        Condition("#s = :t AND #u > :n AND #o = :o"),
    )


def _item(entry: PendingRelink) -> Item:
    pk, sk = table.relink_key(entry.user_id, entry.owner)
    return {
        "PK": pk,
        "SK": sk,
        "since": entry.since_ms,
        "until": entry.until_ms,
        "open": True,
        "GSI2PK": table.relink_partition(table.relink_shard(entry.user_id)),
        "GSI2SK": table.relink_sort_key(entry.until_ms, entry.user_id, entry.owner),
    }


def _pending_relink(item: Item) -> PendingRelink:
    return PendingRelink(
        table.user_of(item["PK"]),
        table.relink_owner(item["SK"]),
        item["since"],
        item["until"],
        frozenset(item.get("added", ())),
        bool(item.get("open", False)),
    )
