"""EdgeStore in DynamoDB: one transaction for each write, consistent reads, no scan."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from protos import table
from services.graph_service import convert
from services.graph_service.adapters import items
from services.graph_service.adapters.old_suppressions import OldSuppressions
from services.graph_service.model.edge import Edge, EdgeKey, edge_key
from services.graph_service.model.neighbors import Neighbor
from services.graph_service.ports import (
    ChangeType,
    EdgeChange,
    Fence,
    Incidence,
    JournalEntry,
    Rejection,
    Slice,
    VisibilityRecord,
    Write,
    WriteRejected,
)
from shared import telemetry
from shared.dynamo import (
    ABSENT,
    Check,
    Condition,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Op,
    Put,
    Reason,
    Table,
    TransactionCancelled,
    Update,
)
from shared.errors import Amounts
from shared.events.envelope import Event, new_event
from shared.idempotency import Idempotency
from shared.idempotent import IdempotentRequest
from shared.ids import Clock, IdFactory
from shared.quotas import Quotas
from shared.resilience.slices import in_slices

# How long the visibility record of a restored note is kept, to refuse late events of its deletion: as long as a queue
# keeps an event.
_SHOWN_SECONDS = 14 * 86400
_PAGE = 1000
_JOURNAL_PAGE = 200


class Outbox(Protocol):
    """The part of shared.events.outbox.Outbox that is used."""

    def put(self, event: Event) -> Put: ...

    def announce(self, *events: Event) -> None: ...


class DynamoEdgeStore:
    """See EdgeStore. quotas: None = there are none."""

    def __init__(
        self,
        table: Table,
        outbox: Outbox,
        idempotency: Idempotency,
        ids: IdFactory,
        clock: Clock,
        quotas: Quotas | None = None,
    ) -> None:
        self._table = table
        self._quotas = quotas
        self._outbox = outbox
        self._idempotency = idempotency
        self._ids = ids
        self._clock = clock
        self._old_suppressions = OldSuppressions(table, clock)

    # ------------------------------------------------------------------ writes
    async def commit(self, write: Write) -> None:
        if any(_needs_old_suppressions(change) for change in write.changes):
            await self._old_suppressions.convert(write.user_id)
        ops: list[Op] = []
        conditions: list[Rejection] = []
        for change, made in zip(write.changes, await in_slices(_edge_ops, write.changes), strict=True):
            ops += made
            conditions += [Rejection("edge", change.edge.key)] * len(made)
        if write.fence is not None:
            ops.append(_fence_op(write.user_id, write.fence))
            conditions.append(Rejection("fence"))
        events = await self._events(write.changes)
        ops += [self._outbox.put(event) for event in events]
        if write.journal is not None:
            ops.append(Put(items.journal_item(write.journal)))
        if write.response is not None:
            request, response = write.response
            ops.append(self._idempotency.record(request, response))
            conditions += [Rejection("other")] * (len(ops) - 1 - len(conditions))
            conditions.append(Rejection("request"))
        try:
            if self._quotas is None:
                await self._table.transact(ops)
            else:
                added = sum(_added(change) for change in write.changes)
                await self._quotas.transact(write.user_id, ops, {"edges": added})
        except TransactionCancelled as error:
            rejections = [_rejection(write.user_id, *pair) for pair in zip(conditions, error.reasons, strict=False)]
            found = [rejection for rejection in rejections if rejection is not None]
            if not found:
                raise
            raise WriteRejected(found) from None
        self._outbox.announce(*events)

    async def set_visibility(self, user_id: str, record: VisibilityRecord, journal: JournalEntry | None) -> bool:
        pk, sk = table.hidden_key(user_id, record.node_id)
        values = {":v": record.version, ":h": record.hidden}
        if record.incarnation:
            # A stored record without an incarnation is taken to be of the same.
            newer = "attribute_not_exists(PK) OR inc < :i OR ((inc = :i OR attribute_not_exists(inc)) AND v < :v)"
            setting, values = "SET v = :v, hid = :h, inc = :i", {**values, ":i": record.incarnation}
        else:
            # The caller doesn't know the incarnation: it is taken to be the stored one.
            newer, setting = "attribute_not_exists(PK) OR v < :v", "SET v = :v, hid = :h"
        if record.hidden:
            setting += " REMOVE expires_at"
        else:
            setting += ", expires_at = :e"
            values[":e"] = self._clock.now_ms() // 1000 + _SHOWN_SECONDS
        update = Update((pk, sk), setting, values=values, condition=Condition(newer))
        try:
            if journal is None:
                await self._table.update(update)
            else:
                await self._table.transact([update, Put(items.journal_item(journal))])
        except ConditionFailed:
            return False
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                return False
            raise
        return True

    async def delete_visibility(self, user_id: str, record: VisibilityRecord, journal: JournalEntry | None) -> None:
        condition = Condition("attribute_not_exists(PK) OR v = :v", values={":v": record.version})
        delete = Delete(table.hidden_key(user_id, record.node_id), condition)
        try:
            await self._table.transact([delete] if journal is None else [delete, Put(items.journal_item(journal))])
        except TransactionCancelled as error:
            if not any(reason.failed for reason in error.reasons):
                raise

    async def _events(self, changes: Sequence[EdgeChange]) -> list[Event]:
        """One event of all edges that are created, and one for each cause of all that are deleted."""
        created = [change.edge for change in changes if change.change_type is ChangeType.CREATED]
        deleted: dict[str, list[Edge]] = {}
        for change in changes:
            if change.change_type is ChangeType.DELETED and change.shown is not None:
                deleted.setdefault(change.cause, []).append(change.shown)
        events = []
        if created:
            shown = await in_slices(convert.event_edge, created)
            events.append(self._event("edge.created", created, convert.edge_event(shown)))
        for cause, edges in deleted.items():
            shown = await in_slices(convert.event_edge, edges)
            events.append(self._event("edge.deleted", edges, convert.edge_event(shown, cause)))
        return events

    def _event(self, type: str, edges: Sequence[Edge], data: Mapping[str, Any]) -> Event:
        return new_event(
            self._ids,
            self._clock,
            source="brain2.graph",
            type=type,
            user_id=edges[0].user_id,
            node_id=edges[0].source,
            version=edges[0].version,
            data=data,
            carrier=telemetry.inject(),
        )

    # ------------------------------------------------------------------ reads
    async def get(self, user_id: str, key: EdgeKey) -> Edge | None:
        item = await self._table.get(items.edge_keys(user_id, key)[0], consistent=True)
        return None if item is None else items.edge_of(user_id, item)

    async def get_many(self, user_id: str, keys: Iterable[EdgeKey]) -> Mapping[EdgeKey, Edge]:
        wanted = [items.edge_keys(user_id, key)[0] for key in dict.fromkeys(keys)]
        found = await self._table.batch_get(wanted, consistent=True)
        edges = await in_slices(partial(items.edge_of, user_id), found.values())
        return {edge.key: edge for edge in edges}

    async def between(self, user_id: str, a: str, b: str) -> Sequence[Edge]:
        partition, bounds = table.user_partition(user_id), table.edges_between(a, b)
        found = self._table.query_all(partition, between=bounds, consistent=True)
        return [items.edge_of(user_id, item) async for item in found if not items.is_suppressed(item)]

    async def members(self, user_id: str, node_id: str, members: Sequence[str]) -> Mapping[str, Neighbor]:
        wanted: dict[Key, str] = {}
        for member in members:
            other, _, type = member.partition("#")
            wanted[table.edge_key(user_id, node_id, other, type)] = member
        found = await self._table.batch_get(wanted, consistent=True, attributes=items.NEIGHBOR_ATTRIBUTES)
        return {wanted[key]: items.neighbor_of(item) for key, item in found.items() if not items.is_suppressed(item)}

    async def neighbors(self, user_id: str, node_id: str, *, after: str | None, limit: int) -> Slice:
        found, following = await self._items_at(user_id, node_id, after, limit, items.NEIGHBOR_ATTRIBUTES)
        return Slice([items.neighbor_of(item) for item in found if not items.is_suppressed(item)], following)

    async def count_between(self, user_id: str, node_ids: Sequence[str], limit: int) -> int:
        partition, bounds = table.user_partition(user_id), table.edges_of_notes(node_ids)
        page = await self._table.query(partition, between=bounds, limit=limit, count=True)
        return limit if page.next_start is not None else page.count

    async def neighbors_between(
        self, user_id: str, node_ids: Sequence[str], limit: int
    ) -> Mapping[str, Sequence[Neighbor]]:
        page = await self._table.query(
            table.user_partition(user_id),
            between=table.edges_of_notes(node_ids),
            limit=limit,
            consistent=True,
            attributes=items.NEIGHBOR_ATTRIBUTES,
        )
        if page.next_start is not None:
            return {}
        found: dict[str, list[Neighbor]] = {node_id: [] for node_id in node_ids}
        for item in page.items:
            node_id = table.edge_of(item["SK"])[0]
            if node_id in found and not items.is_suppressed(item):
                found[node_id].append(items.neighbor_of(item))
        return found

    async def edges_at(
        self, user_id: str, node_id: str, *, after: str | None, limit: int, with_suppressed: bool = False
    ) -> tuple[Sequence[Edge], str | None]:
        found, following = await self._items_at(user_id, node_id, after, limit)
        shown = [item for item in found if with_suppressed or not items.is_suppressed(item)]
        return [items.edge_of(user_id, item) for item in shown], following

    async def edges(self, user_id: str, *, with_suppressed: bool = False) -> AsyncIterator[Sequence[Edge]]:
        async for page in self._pages(user_id, table.EDGES, None):
            # Of the two items of an edge only the one with the smaller id first.
            first = [item for item in page if _is_first(item["SK"])]
            shown = [item for item in first if with_suppressed or not items.is_suppressed(item)]
            if shown:
                yield await in_slices(partial(items.edge_of, user_id), shown)

    async def incidences(self, user_id: str) -> AsyncIterator[Sequence[Incidence]]:
        async for page in self._pages(user_id, table.EDGES, items.INCIDENCE_ATTRIBUTES):
            yield [items.incidence_of(item) for item in page if not items.is_suppressed(item)]

    async def visibilities(self, user_id: str) -> Sequence[VisibilityRecord]:
        return [items.visibility_of(item) async for page in self._pages(user_id, table.HIDDEN, None) for item in page]

    async def visibility(self, user_id: str, node_id: str) -> VisibilityRecord | None:
        item = await self._table.get(table.hidden_key(user_id, node_id), consistent=True)
        return None if item is None else items.visibility_of(item)

    async def _items_at(
        self, user_id: str, node_id: str, after: str | None, limit: int, attributes: Sequence[str] | None = None
    ) -> tuple[Sequence[Item], str | None]:
        """One page of the items of a note's edges, and the position to go on after."""
        page = await self._table.query(
            table.user_partition(user_id),
            begins_with=table.edges_prefix(node_id),
            after=after,
            limit=limit,
            consistent=True,
            attributes=attributes,
        )
        return page.items, None if page.next_start is None else str(page.next_start["SK"])

    def _pages(self, user_id: str, prefix: str, attributes: Sequence[str] | None) -> AsyncIterator[Sequence[Item]]:
        return self._table.query_pages(
            table.user_partition(user_id), begins_with=prefix, limit=_PAGE, attributes=attributes
        )

    # ------------------------------------------------------------------ idempotency records
    async def find_response(self, request: IdempotentRequest) -> bytes | None:
        return await self._idempotency.find(request)

    async def begin_request(self, request: IdempotentRequest) -> bytes | None:
        return await self._idempotency.begin(request)

    async def complete_request(self, request: IdempotentRequest, response: bytes) -> None:
        await self._idempotency.complete(request, response)

    async def release_request(self, request: IdempotentRequest) -> None:
        await self._idempotency.abandon(request)

    # ------------------------------------------------------------------ journal
    async def add_journal_entry(self, entry: JournalEntry) -> None:
        await self._table.put(items.journal_item(entry))

    async def journal_entries(self, *, consistent: bool = True) -> Sequence[JournalEntry]:
        pages = await asyncio.gather(
            *(
                self._table.query(table.journal_partition(shard), limit=_JOURNAL_PAGE, consistent=consistent)
                for shard in range(table.JOURNAL_SHARDS)
            )
        )
        return [items.journal_of(item) for page in pages for item in page.items]

    async def delete_journal_entries(self, entries: Iterable[JournalEntry]) -> None:
        await self._table.batch_write(deletes=[table.journal_key(entry.id) for entry in entries])


class StoredEdges:
    """Counts the edges of a user that the quota counts."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def __call__(self, user_id: str) -> Amounts:
        count = 0
        pages = self._table.query_pages(
            table.user_partition(user_id), begins_with=table.EDGES, attributes=items.INCIDENCE_ATTRIBUTES
        )
        async for page in pages:
            count += sum(_is_first(item["SK"]) and not item.get("auto", False) for item in page)
        return {"edges": count}


def _needs_old_suppressions(change: EdgeChange) -> bool:
    """Whether a rejection that an earlier release has stored could forbid this change, or must end with it."""
    return change.before is None and change.change_type is ChangeType.CREATED


def _is_stored_after(change: EdgeChange) -> bool:
    before = change.before
    stays_suppressed = change.edge.suppressed and (before is None or not before.suppressed)
    return change.change_type is not ChangeType.DELETED or stays_suppressed


def _added(change: EdgeChange) -> int:
    """What a change adds to the edges that the quota counts: those that aren't automatic, and the suppressed ones."""
    before = change.before is not None and not change.before.metadata.auto
    after = _is_stored_after(change) and not change.edge.metadata.auto
    return int(after) - int(before)


def _edge_ops(change: EdgeChange) -> list[Op]:
    before = change.before
    condition = ABSENT
    if before is not None:
        condition = Condition("ver = :v AND ct = :c", values={":v": before.version, ":c": before.create_ms})
    if not _is_stored_after(change):
        return [Delete(key, condition) for key in items.edge_keys(change.edge.user_id, change.edge.key)]
    return [Put(item, condition) for item in items.edge_items(change.edge)]


def _fence_op(user_id: str, fence: Fence) -> Op:
    return Check(
        table.hidden_key(user_id, fence.node_id),
        Condition("attribute_not_exists(PK) OR v <= :v", values={":v": fence.version}),
    )


def _rejection(user_id: str, condition: Rejection, reason: Reason) -> Rejection | None:
    if not reason.failed:
        return None
    if condition.condition != "edge":
        return condition
    found = None if reason.item is None else items.edge_of(user_id, reason.item)
    return Rejection("edge", condition.key if found is None else found.key, found)


def _is_first(sort_key: str) -> bool:
    node_id, other, type = table.edge_of(sort_key)
    return edge_key(node_id, other, type).a == node_id
