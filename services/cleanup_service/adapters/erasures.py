"""Erasures in DynamoDB.

CLEANUP#ERASURE / <id>    the erasure; when it is done, its receipt
    DeletionQueue         ERASURE#OPEN / TIMESTAMP#<queue time in ms>#<id>, until it is done
USER#u / CLEAN#ERASURE    marks that the user is being erased, and by which erasure
"""

from dataclasses import fields, replace

from protos import table
from services.cleanup_service.model.erasure import Erasure, Phase
from services.cleanup_service.model.saga import Lease
from services.cleanup_service.ports import WriteConflict
from shared.dynamo import ABSENT, Condition, ConditionFailed, Delete, Item, Put, Table, TransactionCancelled
from shared.ids import IdFactory
from shared.resilience.retry import retry

_AT_ONCE = 100
# The fields that are stored under their own names: renaming one needs a migration.
_PLAIN = tuple({field.name for field in fields(Erasure)} - {"phase", "removed", "lease"})


class DynamoErasures:
    """ports.erase_user.ErasureStore and ports.ErasureStatus."""

    def __init__(self, items: Table, ids: IdFactory) -> None:
        self._table = items
        self._ids = ids

    async def begin(self, erasure: Erasure) -> Erasure:
        fresh = replace(erasure, revision=self._ids.new_id())
        pk, sk = table.erasing_key(erasure.user_id)
        marker = Put({"PK": pk, "SK": sk, "erasure_id": fresh.erasure_id}, ABSENT)

        async def attempt() -> Erasure:
            try:
                await self._table.transact([Put(_item_of(fresh), ABSENT), marker])
                return fresh
            except TransactionCancelled as error:
                if not any(reason.failed for reason in error.reasons):
                    raise
            found = await self._table.get((pk, sk), consistent=True)
            running = await self.get(found["erasure_id"]) if found else None
            if running is None:  # it ended between the transaction and the read
                raise _write_conflict()
            return running

        return await retry(attempt, on=(WriteConflict,))

    async def get(self, erasure_id: str) -> Erasure | None:
        item = await self._table.get(table.erasure_key(erasure_id), consistent=True)
        return _erasure_of(item) if item else None

    async def save(self, erasure: Erasure) -> Erasure:
        saved, put = self._put(erasure)
        try:
            await self._table.put(put.item, condition=put.condition)
        except ConditionFailed:
            raise _write_conflict() from None
        return saved

    async def finish(self, erasure: Erasure) -> Erasure:
        running = await self.get(erasure.erasure_id)
        if running is None or running.revision != erasure.revision:
            raise _write_conflict()
        saved, put = self._put(erasure)
        try:
            await self._table.transact([put, Delete(table.erasing_key(running.user_id))])
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                raise _write_conflict() from None
            raise
        return saved

    async def due(self, now_ms: int) -> list[str]:
        page = await self._table.query(
            table.OPEN_ERASURES, index=table.DELETION_QUEUE, before=table.time_end(now_ms), limit=_AT_ONCE
        )
        return [item["SK"] for item in page.items]

    async def is_erasing(self, user_id: str) -> bool:
        return await self._table.get(table.erasing_key(user_id), consistent=True, attributes=("PK",)) is not None

    def _put(self, erasure: Erasure) -> tuple[Erasure, Put]:
        saved = replace(erasure, revision=self._ids.new_id())
        return saved, Put(_item_of(saved), Condition("#r = :r", {"#r": "revision"}, {":r": erasure.revision}))


def _write_conflict() -> WriteConflict:
    return WriteConflict("the erasure was written by another replica", reason="ERASURE_CHANGED")


def _item_of(erasure: Erasure) -> Item:
    pk, sk = table.erasure_key(erasure.erasure_id)
    item: Item = {
        "PK": pk,
        "SK": sk,
        "phase": str(erasure.phase),
        "removed": dict(erasure.removed),
        **{name: getattr(erasure, name) for name in _PLAIN},
    }
    if erasure.lease:
        item["lease"] = [erasure.lease.owner, erasure.lease.until_ms]
    if not erasure.done:
        item |= {
            "GSI2PK": table.OPEN_ERASURES,
            "GSI2SK": table.erasure_sort_key(erasure.queue_time_ms, erasure.erasure_id),
        }
    return item


def _erasure_of(item: Item) -> Erasure:
    lease = item.get("lease")
    return Erasure(
        phase=Phase(item["phase"]),
        removed=item["removed"],
        lease=Lease(*lease) if lease else None,
        # An item of an earlier release lacks newer fields.
        **{name: item[name] for name in _PLAIN if name in item},
    )
