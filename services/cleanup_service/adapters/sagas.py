"""Sagas in DynamoDB, and the queues that order them.

    USER#u / CLEANUP#n     the saga
        DeletionQueue      SAGA#<state>#<shard> / TIMESTAMP#<queue time in ms>#USER#u#NODE#n
        UserTimeIndex      USER#u#CLEANUP / TIMESTAMP#<delete ms>#n
    CLEANUP#SHARDS / <nn>  the lease of the replica that polls a shard

DynamoDeletionQueue reads the deleted notes of the node service, which are in DeletionQueue under DELETED#<shard>;
cleanup never writes them.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from protos import table
from services.cleanup_service.model.saga import Cascade, HistoryEntry, Lease, Saga, State, Step
from services.cleanup_service.ports import ALWAYS, NodeKey, QueueEntry, TimeRange, WriteConflict
from shared.dynamo import Condition, ConditionFailed, Item, Put, Table, TransactionCancelled, Update
from shared.events.envelope import Event
from shared.events.outbox import Outbox
from shared.ids import IdFactory

# The fields that are stored under their own names: renaming one needs a migration.
_PLAIN = tuple({field.name for field in fields(Saga)} - {"state", "step", "cascade", "history", "lease"})


class DynamoSagas:
    """ports.SagaStore. completed: makes the event of a saga that is done."""

    shards = table.DELETION_SHARDS

    def __init__(self, items: Table, outbox: Outbox, ids: IdFactory, completed: Callable[[Saga], Event]) -> None:
        self._table = items
        self._outbox = outbox
        self._ids = ids
        self._completed = completed

    async def get(self, user_id: str, node_id: str) -> Saga | None:
        item = await self._table.get(table.saga_key(user_id, node_id), consistent=True)
        return saga_of(item) if item else None

    async def get_many(self, keys: Sequence[NodeKey]) -> dict[NodeKey, Saga]:
        found = await self._table.batch_get([table.saga_key(*key) for key in keys])
        sagas = [saga_of(item) for item in found.values()]
        return {(saga.user_id, saga.node_id): saga for saga in sagas}

    async def save(self, saga: Saga) -> Saga:
        saved, put = self._put(saga)
        try:
            await self._table.put(put.item, condition=put.condition)
        except ConditionFailed:
            raise _write_conflict(saga) from None
        return saved

    async def finish(self, saga: Saga) -> Saga:
        saved, put = self._put(saga)
        event = self._completed(saved)
        try:
            await self._table.transact([put, self._outbox.put(event)])
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                raise _write_conflict(saga) from None
            raise
        self._outbox.announce(event)
        return saved

    async def list_by_state(
        self, state: State, shard: int, until_ms: int | None, after: str, limit: int
    ) -> list[QueueEntry]:
        return await _entries(self._table, table.saga_partition(state, shard), until_ms, after, limit)

    async def list_by_user(self, user_id: str, after: str, limit: int, times: TimeRange = ALWAYS) -> list[QueueEntry]:
        page = await self._table.query(
            table.saga_time_partition(user_id),
            index=table.USER_TIME_INDEX,
            after=max(after, table.time_bound(times.start_ms)),
            before=table.time_bound(times.end_ms),
            limit=limit,
        )
        return [
            QueueEntry(user_id, table.time_node(item["GSI3SK"]), item["GSI3SK"])
            for item in page.items
            if "GSI3SK" in item
        ]

    def _put(self, saga: Saga) -> tuple[Saga, Put]:
        saved = replace(saga, revision=self._ids.new_id())
        if saga.revision:
            condition = Condition("#r = :r", {"#r": "revision"}, {":r": saga.revision})
        else:
            condition = Condition("attribute_not_exists(PK)")
        return saved, Put(item_of(saved), condition)


class DynamoDeletionQueue:
    """ports.DeletionQueue."""

    shards = table.DELETION_SHARDS

    def __init__(self, items: Table) -> None:
        self._table = items

    async def due(self, shard: int, until_ms: int, after: str, limit: int) -> list[QueueEntry]:
        return await _entries(self._table, table.deleted_partition(shard), until_ms, after, limit)


class DynamoShardLeases:
    """ports.ShardLeases. A lease is renewed after half of its duration, so that frequent polls don't write often."""

    def __init__(self, items: Table) -> None:
        self._table = items
        self._held: dict[int, int] = {}

    async def acquire(self, shard: int, owner: str, now_ms: int, lease_ms: int) -> bool:
        if self._held.get(shard, 0) - now_ms > lease_ms // 2:
            return True
        self._held.pop(shard, None)
        update = Update(
            table.shard_lease_key(shard),
            "SET #o = :o, #u = :u",
            {"#o": "owner", "#u": "until"},
            {":o": owner, ":u": now_ms + lease_ms},
            Condition("attribute_not_exists(PK) OR #o = :o OR #u <= :now", values={":now": now_ms}),
        )
        try:
            await self._table.update(update)
        except ConditionFailed:
            return False
        self._held[shard] = now_ms + lease_ms
        return True

    @property
    def held(self) -> list[int]:
        """The shards that this replica polls."""
        return list(self._held)

    async def release(self, owner: str) -> None:
        """Releases all shards, so that other replicas needn't wait until the leases run out."""
        mine = Condition("#o = :o", {"#o": "owner"}, {":o": owner})
        held, self._held = list(self._held), {}
        for shard in held:
            try:
                await self._table.delete(table.shard_lease_key(shard), condition=mine)
            except ConditionFailed:
                pass  # it ran out, and another replica holds it


def item_of(saga: Saga) -> Item:
    key = (saga.user_id, saga.node_id)
    pk, sk = table.saga_key(*key)
    item: Item = {
        "PK": pk,
        "SK": sk,
        "GSI2PK": table.saga_partition(saga.state, table.deletion_shard(*key)),
        "GSI2SK": table.due_sort_key(saga.queue_time_ms, *key),
        "GSI3PK": table.saga_time_partition(saga.user_id),
        "GSI3SK": table.node_time_sort_key(saga.delete_ms, saga.node_id),
        "history": [[entry.time_ms, str(entry.state), str(entry.step), entry.message] for entry in saga.history],
        "state": str(saga.state),
        "step": str(saga.step),
        "cascade": str(saga.cascade),
        **{name: getattr(saga, name) for name in _PLAIN},
    }
    if saga.lease:
        item["lease"] = [saga.lease.owner, saga.lease.until_ms]
    if saga.expires_ms is not None:
        item["expires_at"] = saga.expires_ms // 1000
    return item


def saga_of(item: Item) -> Saga:
    plain: dict[str, Any] = {name: item[name] for name in _PLAIN if name in item}
    lease = item.get("lease")
    return Saga(
        state=State(item["state"]),
        step=Step(item["step"]),
        cascade=Cascade(item["cascade"]),
        history=tuple(
            HistoryEntry(time, State(state), Step(step), text) for time, state, step, text in item["history"]
        ),
        lease=Lease(*lease) if lease else None,
        **plain,
    )


async def _entries(items: Table, partition: str, until_ms: int | None, after: str, limit: int) -> list[QueueEntry]:
    page = await items.query(
        partition,
        index=table.DELETION_QUEUE,
        after=after or table.TIME,
        before=table.time_end(until_ms),
        limit=limit,
    )
    return [QueueEntry(*table.due_node(item["GSI2SK"]), item["GSI2SK"]) for item in page.items]


def _write_conflict(saga: Saga) -> WriteConflict:
    return WriteConflict(f"the deletion of {saga.node_id} was written by another replica", reason="DELETION_CHANGED")
