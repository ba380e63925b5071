"""Erasures in DynamoDB.

CLEANUP#ERASURE / <id>    the erasure; when it is done, its receipt
    DeletionQueue         ERASURE#OPEN / TIMESTAMP#<queue time in ms>#<id>, until it is done
USER#u / CLEAN#ERASURE    marks that the user is being erased, and by which erasure
"""

from dataclasses import replace

from services.cleanup_service.adapters.user_partition import ERASING
from services.cleanup_service.model.erasure import Erasure, Phase
from services.cleanup_service.model.saga import Lease
from services.cleanup_service.ports import WriteConflict
from shared.dynamo import ABSENT, Condition, ConditionFailed, Delete, Item, Key, Put, Table, TransactionCancelled
from shared.ids import IdFactory, time_key
from shared.resilience.retry import retry

_OPEN = "ERASURE#OPEN"
_AT_ONCE = 100
_PLAIN = (
    "erasure_id",
    "user_id",
    "user_digest",
    "start_ms",
    "due_ms",
    "done",
    "end_ms",
    "round",
    "found",
    "quiet_since_ms",
    "attempts",
    "error",
    "revision",
)


class DynamoErasures:
    """ports.erase_user.ErasureStore and ports.ErasureStatus."""

    def __init__(self, table: Table, ids: IdFactory) -> None:
        self._table = table
        self._ids = ids

    async def begin(self, erasure: Erasure) -> Erasure:
        fresh = replace(erasure, revision=self._ids.new_id())
        pk, sk = _marker(erasure.user_id)
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
        item = await self._table.get(_key(erasure_id), consistent=True)
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
            await self._table.transact([put, Delete(_marker(running.user_id))])
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                raise _write_conflict() from None
            raise
        return saved

    async def due(self, now_ms: int) -> list[str]:
        page = await self._table.query(
            _OPEN, index="DeletionQueue", before=f"TIMESTAMP#{time_key(now_ms)}#~", limit=_AT_ONCE
        )
        return [item["SK"] for item in page.items]

    async def is_erasing(self, user_id: str) -> bool:
        return await self._table.get(_marker(user_id), consistent=True, attributes=("PK",)) is not None

    def _put(self, erasure: Erasure) -> tuple[Erasure, Put]:
        saved = replace(erasure, revision=self._ids.new_id())
        return saved, Put(_item_of(saved), Condition("#r = :r", {"#r": "revision"}, {":r": erasure.revision}))


def _write_conflict() -> WriteConflict:
    return WriteConflict("the erasure was written by another replica", reason="ERASURE_CHANGED")


def _key(erasure_id: str) -> Key:
    return "CLEANUP#ERASURE", erasure_id


def _marker(user_id: str) -> Key:
    return f"USER#{user_id}", ERASING


def _item_of(erasure: Erasure) -> Item:
    pk, sk = _key(erasure.erasure_id)
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
        item |= {"GSI2PK": _OPEN, "GSI2SK": f"TIMESTAMP#{time_key(erasure.queue_time_ms)}#{erasure.erasure_id}"}
    return item


def _erasure_of(item: Item) -> Erasure:
    lease = item.get("lease")
    return Erasure(
        phase=Phase(item["phase"]),
        removed=item["removed"],
        lease=Lease(*lease) if lease else None,
        **{name: item[name] for name in _PLAIN},
    )
