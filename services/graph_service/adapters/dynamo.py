"""EdgeStore on DynamoDB: one transaction a write, consistent reads, no scan."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from services.graph_service import convert
from services.graph_service.adapters import items
from services.graph_service.model.edge import Edge, EdgeKey, edge_key
from services.graph_service.model.neighbors import Neighbor
from services.graph_service.ports import (
    Change,
    Fence,
    Incidence,
    Journal,
    Kind,
    Marker,
    Once,
    Refusal,
    Refused,
    Slice,
    Write,
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
from shared.events.envelope import Event, new_event
from shared.idempotent import IdempotentRequest
from shared.ids import Clock, IdFactory

# How long the marker of a restored note still refuses late news of its deletion.
_SHOWN_SECONDS = 7 * 86400
_PAGE = 1000
_JOURNAL_PAGE = 200


class Outbox(Protocol):
    """What is needed of shared.events.outbox.Outbox."""

    def put(self, event: Event) -> Put: ...

    def announce(self, *events: Event) -> None: ...


class Receipts(Protocol):
    """What is needed of shared.idempotency.Idempotency."""

    async def find(self, request: IdempotentRequest) -> bytes | None: ...

    def record(self, request: IdempotentRequest, answer: bytes) -> Put: ...

    async def begin(self, request: IdempotentRequest) -> bytes | None: ...

    async def complete(self, request: IdempotentRequest, answer: bytes) -> None: ...

    async def abandon(self, request: IdempotentRequest) -> None: ...


class DynamoEdgeStore:
    """See EdgeStore."""

    def __init__(self, table: Table, outbox: Outbox, receipts: Receipts, ids: IdFactory, clock: Clock) -> None:
        self._table = table
        self._outbox = outbox
        self._receipts = receipts
        self._ids = ids
        self._clock = clock

    # ------------------------------------------------------------------ writes
    async def commit(self, write: Write) -> None:
        ops: list[Op] = []
        about: list[Refusal] = []
        for change in write.changes:
            for op in _edge_ops(change):
                ops.append(op)
                about.append(Refusal("edge", change.edge.key))
        for key in write.unless_suppressed:
            ops.append(Check(items.suppressed_key(write.user, key), ABSENT))
            about.append(Refusal("suppressed", key))
        for key in write.suppress:
            pk, sk = items.suppressed_key(write.user, key)
            ops.append(Put({"PK": pk, "SK": sk, "ct": self._clock.now_ms()}))
        ops += [Delete(items.suppressed_key(write.user, key)) for key in write.unsuppress]
        about += [Refusal("other")] * (len(ops) - len(about))
        if write.fence is not None:
            ops.append(_fence_op(write.user, write.fence))
            about.append(Refusal("fence"))
        events = [self._event(change) for change in write.changes if change.kind is not Kind.UPDATED]
        ops += [self._outbox.put(event) for event in events]
        if write.journal is not None:
            ops.append(Put(items.journal_item(write.journal)))
        if write.answered is not None:
            once, answer = write.answered
            ops.append(self._receipts.record(once, answer))
            about += [Refusal("other")] * (len(ops) - 1 - len(about))
            about.append(Refusal("receipt"))
        try:
            await self._table.transact(ops)
        except TransactionCancelled as error:
            refusals = [_refusal(write.user, what, reason) for what, reason in zip(about, error.reasons, strict=False)]
            found = [refusal for refusal in refusals if refusal is not None]
            if not found:
                raise
            raise Refused(found) from None
        self._outbox.announce(*events)

    async def mark(self, user: str, marker: Marker, journal: Journal | None) -> bool:
        pk, sk = items.marker_key(user, marker.note)
        values = {":v": marker.version, ":h": marker.hidden}
        if marker.incarnation:
            newer = "attribute_not_exists(PK) OR inc < :i OR (inc = :i AND v < :v)"
            setting, values = "SET v = :v, hid = :h, inc = :i", {**values, ":i": marker.incarnation}
        else:
            # The caller doesn't know which life of the note it speaks of: the one that we know.
            newer, setting = "attribute_not_exists(PK) OR v < :v", "SET v = :v, hid = :h"
        if marker.hidden:
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

    async def unmark(self, user: str, marker: Marker, journal: Journal | None) -> None:
        condition = Condition("attribute_not_exists(PK) OR v = :v", values={":v": marker.version})
        delete = Delete(items.marker_key(user, marker.note), condition)
        try:
            await self._table.transact([delete] if journal is None else [delete, Put(items.journal_item(journal))])
        except TransactionCancelled as error:
            if not any(reason.failed for reason in error.reasons):
                raise

    def _event(self, change: Change) -> Event:
        edge, created = change.edge, change.kind is Kind.CREATED
        return new_event(
            self._ids,
            self._clock,
            source="brain2.graph",
            type="edge.created" if created else "edge.deleted",
            user_id=edge.user,
            node_id=edge.source,
            version=edge.version,
            data=convert.edge_created(edge) if created else convert.edge_deleted(edge, change.cause),
            carrier=telemetry.inject(),
        )

    # ------------------------------------------------------------------ reads
    async def get(self, user: str, key: EdgeKey) -> Edge | None:
        item = await self._table.get(items.edge_keys(user, key)[0], consistent=True)
        return None if item is None else items.edge_of(user, item)

    async def get_many(self, user: str, keys: Iterable[EdgeKey]) -> Mapping[EdgeKey, Edge]:
        wanted = [items.edge_keys(user, key)[0] for key in dict.fromkeys(keys)]
        found = await self._table.batch_get(wanted, consistent=True)
        edges = [items.edge_of(user, item) for item in found.values()]
        return {edge.key: edge for edge in edges}

    async def suppressed(self, user: str, keys: Iterable[EdgeKey]) -> frozenset[EdgeKey]:
        wanted = {items.suppressed_key(user, key): key for key in keys}
        found = await self._table.batch_get(wanted, consistent=True, attributes=("PK",))
        return frozenset(wanted[key] for key in found)

    async def members(self, user: str, note: str, members: Sequence[str]) -> Mapping[str, Neighbor]:
        wanted: dict[Key, str] = {}
        for member in members:
            other, _, type = member.partition("#")
            wanted[items.partition(user), items.edge_sort_key(note, other, type)] = member
        found = await self._table.batch_get(wanted, consistent=True, attributes=items.NEIGHBOR_ATTRIBUTES)
        return {wanted[key]: items.neighbor_of(item) for key, item in found.items()}

    async def neighbors(self, user: str, note: str, *, after: str | None, limit: int) -> Slice:
        page = await self._table.query(
            items.partition(user),
            begins_with=f"EDGE#{note}#",
            after=after,
            limit=limit,
            consistent=True,
            attributes=items.NEIGHBOR_ATTRIBUTES,
        )
        following = None if page.next_start is None else str(page.next_start["SK"])
        return Slice([items.neighbor_of(item) for item in page.items], following)

    async def edges_at(
        self, user: str, note: str, *, after: str | None, limit: int
    ) -> tuple[Sequence[Edge], str | None]:
        page = await self._table.query(
            items.partition(user), begins_with=f"EDGE#{note}#", after=after, limit=limit, consistent=True
        )
        following = None if page.next_start is None else str(page.next_start["SK"])
        return [items.edge_of(user, item) for item in page.items], following

    async def edges(self, user: str) -> AsyncIterator[Sequence[Edge]]:
        async for page in self._pages(user, items.EDGES, None):
            # Of the two items of an edge the one whose note is the smaller id.
            once = [item for item in page if _is_first(item["SK"])]
            if once:
                yield [items.edge_of(user, item) for item in once]

    async def incidences(self, user: str) -> AsyncIterator[Sequence[Incidence]]:
        async for page in self._pages(user, items.EDGES, items.INCIDENCE_ATTRIBUTES):
            yield [items.incidence_of(item) for item in page]

    async def hidden(self, user: str) -> Sequence[str]:
        markers = [items.marker_of(item) async for page in self._pages(user, items.HIDDEN, None) for item in page]
        return [marker.note for marker in markers if marker.hidden]

    async def marker(self, user: str, note: str) -> Marker | None:
        item = await self._table.get(items.marker_key(user, note), consistent=True)
        return None if item is None else items.marker_of(item)

    def _pages(self, user: str, prefix: str, attributes: Sequence[str] | None) -> AsyncIterator[Sequence[Item]]:
        return self._table.query_pages(items.partition(user), begins_with=prefix, limit=_PAGE, attributes=attributes)

    # ------------------------------------------------------------------ receipts
    async def find(self, once: Once) -> bytes | None:
        return await self._receipts.find(once)

    async def begin(self, once: Once) -> bytes | None:
        return await self._receipts.begin(once)

    async def complete(self, once: Once, answer: bytes) -> None:
        await self._receipts.complete(once, answer)

    async def forget(self, once: Once) -> None:
        await self._receipts.abandon(once)

    # ------------------------------------------------------------------ journal
    async def journal(self, entry: Journal) -> None:
        await self._table.put(items.journal_item(entry))

    async def journaled(self) -> Sequence[Journal]:
        pages = await asyncio.gather(
            *(
                self._table.query(f"GRAPH#JOURNAL#{shard}", limit=_JOURNAL_PAGE, consistent=True)
                for shard in range(items.JOURNAL_SHARDS)
            )
        )
        return [items.journal_of(item) for page in pages for item in page.items]

    async def unjournal(self, entries: Iterable[Journal]) -> None:
        await self._table.batch_write(deletes=[items.journal_key(entry) for entry in entries])


def _edge_ops(change: Change) -> list[Op]:
    before = change.before
    condition = ABSENT
    if before is not None:
        condition = Condition("ver = :v AND ct = :c", values={":v": before.version, ":c": before.create_ms})
    if change.kind is Kind.DELETED:
        return [Delete(key, condition) for key in items.edge_keys(change.edge.user, change.edge.key)]
    return [Put(item, condition) for item in items.edge_items(change.edge)]


def _fence_op(user: str, fence: Fence) -> Op:
    return Check(
        items.marker_key(user, fence.note),
        Condition("attribute_not_exists(PK) OR v <= :v", values={":v": fence.version}),
    )


def _refusal(user: str, what: Refusal, reason: Reason) -> Refusal | None:
    if not reason.failed:
        return None
    if what.what != "edge":
        return what
    found = None if reason.item is None else items.edge_of(user, reason.item)
    return Refusal("edge", what.key if found is None else found.key, found)


def _is_first(sort_key: str) -> bool:
    note, other, type = items.split_sort_key(sort_key)
    return edge_key(note, other, type).a == note
